use std::env;
use std::path::PathBuf;

use jiff::Timestamp;
use tracing_subscriber::EnvFilter;

use super::args::Cli;
use super::error::CliError;
use crate::config::{Input, Loaded, LogFormat, Settings, Strictness, load};
use crate::crypto::{Keyring, Release};
use crate::install::Install;
use crate::ledger::Ledger;
use crate::node::App;
use crate::sys::{Loose, PrivateDir, own_program};
use crate::upgrade::Trust;

/// Loads the settings that apply to this command line.
pub(super) fn settings(app: &App, cli: &Cli, strictness: Strictness) -> Result<Loaded, CliError> {
    let mut flags = cli.set.clone();
    if let Some(node) = &cli.node {
        flags.push(("node".to_owned(), node.to_string()));
    }
    let input = Input::gather(app.product()?, cli.config.as_deref(), env::vars_os(), flags)?;
    Ok(load(&input, strictness)?)
}

/// Settings for an operator's verb, where a typo is an error; logs only what is wrong.
pub(super) fn for_operator(app: &App, cli: &Cli) -> Result<Settings, CliError> {
    let settings = settings(app, cli, Strictness::Strict)?.settings;
    log(&settings, "warn");
    Ok(settings)
}

/// Settings for a part of the node, which does not stop over a key that another version knew.
pub(super) fn for_node(app: &App, cli: &Cli) -> Result<Settings, CliError> {
    let Loaded { settings, warnings, .. } = settings(app, cli, Strictness::Lenient)?;
    log(&settings, &settings.log.filter);
    for warning in warnings {
        tracing::warn!(event = "setting_unknown", %warning);
    }
    Ok(settings)
}

fn log(settings: &Settings, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match settings.log.format {
        LogFormat::Text => lines.with_ansi(false).try_init().ok(),
        LogFormat::Json => lines.json().flatten_event(true).try_init().ok(),
    };
}

/// The path of this program: what the service manager starts, unless a launcher took over.
pub(super) fn committed() -> Result<PathBuf, CliError> {
    Ok(own_program()?.1)
}

/// The install folder beside this program, or what stands in for it.
pub(super) fn install(app: &App, settings: &Settings) -> Result<Install, CliError> {
    Ok(Install::open_or_detached(&committed()?, &app.product()?, &data(settings)?)?)
}

/// Refuses a node that never ran from this install where others did: a slip of the pen must not
/// make a node.
pub(super) fn expect_node(app: &App, settings: &Settings) -> Result<(), CliError> {
    // What is wrong with the install is said by whoever needs it.
    let Ok(install) = Install::open(&committed()?, &app.product()?) else { return Ok(()) };
    let known: Vec<_> = install.nodes()?.into_iter().map(|(name, _)| name.to_string()).collect();
    if known.is_empty() || !matches!(install.node(&settings.node), Ok(None)) {
        return Ok(());
    }
    Err(CliError::NoSuchNode { node: settings.node.clone(), known: known.join(", ") })
}

/// What the node believes of this program's keys; `None` where it has not run: looking makes nothing.
pub(super) fn trust(app: &App, settings: &Settings) -> Result<Option<Trust>, CliError> {
    let pinned = app.keyring()?;
    let Ok(data) = PrivateDir::open_existing(&settings.data_dir, Loose::RefuseWritable) else { return Ok(None) };
    if !matches!(data.exists(Ledger::FILE), Ok(true)) {
        return Ok(None);
    }
    Ok(Some(Trust::of(&pinned, &Ledger::open(&data, Timestamp::now())?)?))
}

/// The keys that this program pins, without those that a newer version withdrew on this node.
pub(super) fn trusted(app: &App, settings: &Settings) -> Result<Keyring<Release>, CliError> {
    match trust(app, settings)? {
        Some(trust) => Ok(trust.believed),
        None => Ok(app.keyring()?),
    }
}

/// The node's folder.
pub(super) fn data(settings: &Settings) -> Result<PrivateDir, CliError> {
    Ok(PrivateDir::open_or_create(&settings.data_dir, Loose::RefuseWritable)?)
}
