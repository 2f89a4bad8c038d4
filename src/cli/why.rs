//! `why`: every gate before a release, from the running node, or without one.

use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;

use super::args::{Cli, Why as WhyArgs};
use super::error::CliError;
use super::follow::no_node_runs;
use super::session::{committed, data, for_operator};
use crate::config::Settings;
use crate::console::{say, say_json};
use crate::launcher::LauncherError;
use crate::node::{self, App, Event, Explained, Request, connect};
use crate::types::Version;

pub(super) fn why(app: &App, cli: &Cli, args: &WhyArgs) -> Result<ExitCode, CliError> {
    let settings = for_operator(app, cli)?;
    let data = data(&settings)?;
    let explained = match connect(&data, &Request::Why { version: args.version.clone() }) {
        Ok(mut lines) => match lines.next() {
            Some(Ok(Event::Why(explained))) => *explained,
            Some(Ok(Event::Failed(failure))) => return Err(CliError::Node(failure)),
            Some(Err(error)) => return Err(CliError::Talk(error)),
            Some(Ok(_)) | None => return Err(CliError::BrokenOff),
        },
        Err(error) if no_node_runs(&error) => {
            let Some(_lock) = data.try_lock("node.lock")? else {
                let folder = data.path().to_owned();
                return Err(LauncherError::Running { node: settings.node, folder }.into());
            };
            alone(app, cli, settings, args.version.as_ref())?
        }
        Err(error) => return Err(CliError::Talk(error)),
    };
    if cli.json {
        say_json(&explained);
    } else {
        tell(&explained);
    }
    Ok(ExitCode::SUCCESS)
}

fn alone(app: &App, cli: &Cli, settings: Settings, version: Option<&Version>) -> Result<Explained, CliError> {
    let engine = Arc::new(node::engine(app, settings, cli.options(), &committed()?, None)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Talk)?;
    let (why, host) = runtime.block_on(engine.why(version, Timestamp::now()))?;
    Ok(Explained { why, host })
}

fn tell(Explained { why, host }: &Explained) {
    let running = &why.running;
    match &why.version {
        None => say(&format!("the source offers nothing newer than {running} for this node")),
        Some(version) => {
            let shut = why.shut().map(|report| report.gate.name()).or_else(|| host.as_ref().map(|_| "host"));
            say(&match shut {
                None => format!("{version}: nothing stands before it; the next look goes there from {running}"),
                Some(shut) => format!("{version}: not yet, because the gate `{shut}` is shut; {running} runs"),
            });
        }
    }
    for report in &why.gates {
        line(report.gate.name(), report.open, &report.inputs.to_string(), report.changes);
    }
    match host {
        Some(host) => line("host", false, &host.because, Some(host.changes)),
        None if why.version.is_some() => line("host", true, "no sibling tries a version, or found this one bad", None),
        None => {}
    }
    for veto in &why.vetoes {
        let until = veto.until.map_or_else(String::new, |until| format!(" until {until:.0}"));
        say(&format!("also vetoed: {}{until} ({}); `unveto {}` lifts that", veto.version, veto.reason, veto.version));
    }
}

fn line(name: &str, open: bool, inputs: &str, changes: Option<Timestamp>) {
    let state = if open { "open" } else { "shut" };
    let changes = match (open, changes) {
        (_, None) => String::new(),
        (true, Some(at)) => format!("; shuts {at:.0}"),
        (false, Some(at)) => format!("; opens {at:.0}"),
    };
    say(&format!("  {state}  {name:8} {inputs}{changes}"));
}
