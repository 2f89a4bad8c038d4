//! What launchers, workers and probes start: `run`, `worker`, `self-describe`, `rehearse`.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use super::args::Cli;
use super::doctor;
use super::error::CliError;
use super::keep::finish_restore;
use super::session::{committed, configuration, data, follow_log_settings, for_node};
use crate::config::{HANDED_FILES, Loaded, Strictness, take_files};
use crate::console::say_json;
use crate::launcher::{self, Baton, Dialect, LauncherError, Setup};
use crate::node::{self, App, Start};
use crate::sys::SysError;
use crate::types::Target;
use crate::upgrade::SelfDescription;

pub(super) fn run(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    let baton = Baton::take().map_err(LauncherError::System)?;
    let Loaded { settings, files, .. } = for_node(app, cli, baton.as_ref().and_then(Baton::files))?;
    app.keyring()?;
    let committed = committed()?;
    doctor::warn(app, &committed, &settings);
    let setup = Setup {
        product: app.product()?,
        version: app.version()?,
        node: settings.node.clone(),
        committed,
        data: data(&settings)?,
        listen: settings.listen,
        job_listen: settings.job.listen.clone(),
        mirror_listen: settings.mirror.listen,
        trial: settings.trial.clone(),
        health: settings.health.clone(),
        options: cli.options(),
        files,
        configuration: configuration(app, cli)?,
        apply: follow_log_settings,
        mend: finish_restore,
    };
    launcher::run(setup, baton)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn worker(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    let start = Start::take()?;
    let settings = for_node(app, cli, start.files())?.settings;
    node::run(app, start, settings, cli.options())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn describe(app: &App) -> Result<ExitCode, CliError> {
    say_json(&SelfDescription {
        product: app.product()?,
        version: app.version()?,
        target: Target::of_this_build(),
        protocol: Dialect::OURS.newest,
        oldest_protocol: Some(Dialect::OURS.oldest),
        overlap: app.overlap,
        state: app.state.map(|schema| schema.epochs()),
    });
    Ok(ExitCode::SUCCESS)
}

/// Everything that a launcher's start needs, and nothing done: what fails here would fail there.
pub(super) fn rehearse(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    let settings = handed_or_read(app, cli)?.settings;
    app.keyring()?;
    app.state_files()?;
    data(&settings)?;
    Ok(ExitCode::SUCCESS)
}

/// Settings from the configuration files that whoever started this process handed on; without them, from what lies
/// there.
pub(super) fn handed_or_read(app: &App, cli: &Cli) -> Result<Loaded, CliError> {
    let configuration = configuration(app, cli)?;
    if std::env::var_os(HANDED_FILES).is_none() {
        return Ok(configuration.read(Strictness::Lenient)?);
    }
    let files = io::stdin().as_fd().try_clone_to_owned().and_then(take_files);
    let files = files.map_err(|error| SysError::io("read", "standard input", error))?;
    Ok(configuration.read_from(files, Strictness::Lenient)?)
}
