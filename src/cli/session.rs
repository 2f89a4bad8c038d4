use std::path::PathBuf;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use super::args::Cli;
use super::error::CliError;
use crate::config::{ConfigFile, Configuration, Loaded, LogFormat, Settings, Strictness};
use crate::install::Install;
use crate::node::App;
use crate::sys::{Loose, PrivateDir, own_program};

/// Loads the settings that apply to this command line.
pub(super) fn settings(app: &App, cli: &Cli, strictness: Strictness) -> Result<Loaded, CliError> {
    Ok(configuration(app, cli)?.read(strictness)?)
}

/// What this command line makes settings from.
pub(super) fn configuration(app: &App, cli: &Cli) -> Result<Configuration, CliError> {
    let mut flags = cli.set.clone();
    if let Some(node) = &cli.node {
        flags.push(("node".to_owned(), node.to_string()));
    }
    Ok(Configuration { product: app.product()?, only: cli.config.clone(), flags })
}

/// Settings for an operator's verb, where a typo is an error; logs only what is wrong.
pub(super) fn for_operator(app: &App, cli: &Cli) -> Result<Settings, CliError> {
    let settings = settings(app, cli, Strictness::Strict)?.settings;
    log(&settings, "warn");
    Ok(settings)
}

/// Settings for a part of the node, which does not stop over a key that another version knew. `files`
/// come from the part that started this one; without them, it reads what lies there.
pub(super) fn for_node(app: &App, cli: &Cli, files: Option<&[ConfigFile]>) -> Result<Loaded, CliError> {
    let configuration = configuration(app, cli)?;
    let loaded = match files {
        Some(files) => configuration.read_from(files.to_vec(), Strictness::Lenient)?,
        None => configuration.read(Strictness::Lenient)?,
    };
    log(&loaded.settings, &loaded.settings.log.filter);
    for warning in &loaded.warnings {
        tracing::warn!(event = "setting_unknown", %warning);
    }
    Ok(loaded)
}

/// Changes what this process logs, once its log has begun.
static FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

fn log(settings: &Settings, filter: &str) {
    let (filter, handle) = reload::Layer::new(directives(filter));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // To say that standard error is gone, it would write there, and panic: a worker whose launcher has died
    // would not leave in order.
    let lines = lines.log_internal_errors(false);
    let begun = tracing_subscriber::registry().with(filter);
    match settings.log.format {
        LogFormat::Text => begun.with(lines.with_ansi(false)).try_init().ok(),
        LogFormat::Json => begun.with(lines.json().flatten_event(true)).try_init().ok(),
    };
    FILTER.set(Box::new(move |filter| drop(handle.reload(filter)))).ok();
}

fn directives(filter: &str) -> EnvFilter {
    EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Has this process log what the settings say now. The lines keep their form.
pub(super) fn follow_log_settings(settings: &Settings) {
    if let Some(change) = FILTER.get() {
        change(directives(&settings.log.filter));
    }
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

/// The node's folder.
pub(super) fn data(settings: &Settings) -> Result<PrivateDir, CliError> {
    Ok(PrivateDir::open_or_create(&settings.data_dir, Loose::RefuseWritable)?)
}
