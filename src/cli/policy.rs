//! `pin`, `unpin`, `pause`, `resume`: what operators decide for an install.

use std::process::ExitCode;

use jiff::Timestamp;

use super::args::{Cli, Pause as PauseArgs, Pin};
use super::error::CliError;
use super::session::{for_operator, install};
use crate::console::{say, say_json};
use crate::install::Policy;
use crate::node::App;
use crate::rollout::Pause;

pub(super) fn pin(app: &App, cli: &Cli, Pin { version }: &Pin) -> Result<ExitCode, CliError> {
    change(app, cli, |policy| policy.set_pin(Some(version.clone())))
}

pub(super) fn unpin(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    change(app, cli, |policy| policy.set_pin(None))
}

pub(super) fn pause(app: &App, cli: &Cli, args: &PauseArgs) -> Result<ExitCode, CliError> {
    let after = |span| Timestamp::now().checked_add(span).unwrap_or(Timestamp::MAX);
    let until = args.until.or_else(|| args.span.map(after));
    change(app, cli, |policy| policy.pause = Some(Pause { until }))
}

pub(super) fn resume(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    change(app, cli, |policy| policy.pause = None)
}

fn change(app: &App, cli: &Cli, change: impl FnOnce(&mut Policy)) -> Result<ExitCode, CliError> {
    let settings = for_operator(app, cli)?;
    let policy = install(app, &settings)?.change_policy(change)?;
    if cli.json {
        say_json(&policy);
    } else {
        say(&describe(&policy));
    }
    Ok(ExitCode::SUCCESS)
}

/// The policy in words; it holds for all nodes that share the binary.
pub(super) fn describe(policy: &Policy) -> String {
    let pin = match &policy.pin {
        Some(version) => format!("pinned to {version}, until `unpin`"),
        None => "not pinned".to_owned(),
    };
    let pause = match &policy.pause {
        None => "not paused".to_owned(),
        Some(Pause { until: None }) => "paused, until `resume`".to_owned(),
        Some(Pause { until: Some(until) }) if *until <= Timestamp::now() => {
            format!("not paused (a pause ended {until:.0})")
        }
        Some(Pause { until: Some(until) }) => format!("paused until {until:.0}, or until `resume`"),
    };
    format!("policy     {pin}; {pause} (for all nodes of this install)")
}
