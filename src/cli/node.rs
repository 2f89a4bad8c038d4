//! What launchers, workers and probes start: `run`, `worker`, `self-describe`, `rehearse`.

use std::process::ExitCode;

use super::args::Cli;
use super::doctor;
use super::error::CliError;
use super::session::{committed, data, for_node, settings};
use crate::config::Strictness;
use crate::console::say_json;
use crate::launcher::{self, Dialect, Setup};
use crate::node::{self, App};
use crate::types::Target;
use crate::upgrade::SelfDescription;

pub(super) fn run(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    let settings = for_node(app, cli)?;
    app.keyring()?;
    let committed = committed()?;
    doctor::warn(&committed, &settings);
    let setup = Setup {
        product: app.product()?,
        version: app.version()?,
        node: settings.node.clone(),
        committed,
        data: data(&settings)?,
        listen: settings.listen,
        trial: settings.trial.clone(),
        options: cli.options(),
    };
    launcher::run(setup)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn worker(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    let settings = for_node(app, cli)?;
    node::run(app, settings, cli.options())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn describe(app: &App) -> Result<ExitCode, CliError> {
    say_json(&SelfDescription {
        product: app.product()?,
        version: app.version()?,
        target: Target::of_this_build(),
        protocol: Dialect::OURS.newest,
        oldest_protocol: Some(Dialect::OURS.oldest),
    });
    Ok(ExitCode::SUCCESS)
}

/// Everything that a launcher's start needs, and nothing done: what fails here would fail there.
pub(super) fn rehearse(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    let settings = settings(app, cli, Strictness::Lenient)?.settings;
    app.keyring()?;
    data(&settings)?;
    Ok(ExitCode::SUCCESS)
}
