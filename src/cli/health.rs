//! `ask-health`: what a launcher starts to have an address of its host asked, because it speaks to
//! nobody itself.

use std::process::ExitCode;
use std::time::Duration;

use super::args::{AskHealth, Cli};
use super::error::CliError;
use super::session::settings;
use crate::config::Strictness;
use crate::console::say;
use crate::fetch::{HttpSettings, ask_health};
use crate::node::App;

pub(super) fn ask(app: &App, cli: &Cli, args: &AskHealth) -> Result<ExitCode, CliError> {
    let settings = settings(app, cli, Strictness::Lenient)?.settings;
    let http = HttpSettings { ca_file: settings.source.ca_file, ..HttpSettings::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Talk)?;
    let (health, why) = runtime.block_on(ask_health(&args.url, &http, Duration::from_millis(args.within_ms)));
    say(&why);
    Ok(health.exit_code().into())
}
