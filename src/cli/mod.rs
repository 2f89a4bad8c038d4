//! The command line of a node: what an operator types, and what a launcher starts.
//!
//! Guarantees: each failure is one sentence that says what happened, which state that leaves and
//! what to do next, with an exit code that scripts can use; there is no option that skips a
//! verification.

mod args;
mod cache;
mod carry;
mod doctor;
mod error;
mod follow;
mod health;
mod history;
mod keep;
mod manual;
mod node;
mod policy;
mod recover;
mod session;
mod snapshot;
mod snapshot_args;
mod status;
mod untried;
mod upgrade;
mod verify;
mod why;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use crate::console::fail;
use crate::node::App;
use args::{Cli, Verb};
use error::CliError;

/// Runs the program that the command line asks for.
#[must_use]
pub fn main(app: &App) -> ExitCode {
    let command = Cli::command().name(app.product).version(app.version);
    let cli = match command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) if error.kind() == ErrorKind::MissingSubcommand => {
            // Clap's own sentence would also name what only launchers start.
            let command = Cli::command();
            let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
            let verbs: Vec<_> = shown.map(clap::Command::get_name).collect();
            return fail(&CliError::NoVerb(verbs.join(", ")), std::env::args_os().any(|word| word == "--json"));
        }
        Err(error) => {
            // Help and version are no errors; clap knows.
            error.print().ok();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let json = cli.json;
    let outcome = match &cli.verb {
        Verb::Run => node::run(app, &cli),
        Verb::Recover(verb) => recover::recover(app, &cli, verb),
        Verb::Worker => node::worker(app, &cli),
        Verb::SelfDescribe => node::describe(app),
        Verb::Rehearse => node::rehearse(app, &cli),
        Verb::AskHealth(verb) => health::ask(app, &cli, verb),
        Verb::KeepState => keep::keep(app, &cli),
        Verb::RestoreState(verb) => keep::restore(app, &cli, verb),
        Verb::Upgrade(verb) => upgrade::upgrade(app, &cli, verb),
        Verb::Rollback(verb) => upgrade::rollback(app, &cli, verb),
        Verb::Status => status::status(app, &cli),
        Verb::History(verb) => history::history(app, &cli, verb),
        Verb::Why(verb) => why::why(app, &cli, verb),
        Verb::Unveto(verb) => history::unveto(app, &cli, verb),
        Verb::Pin(verb) => policy::pin(app, &cli, verb),
        Verb::Unpin => policy::unpin(app, &cli),
        Verb::Pause(verb) => policy::pause(app, &cli, verb),
        Verb::Resume => policy::resume(app, &cli),
        Verb::Verify(verb) => verify::verify(app, &cli, verb),
        Verb::Cache(verb) => cache::cache(app, &cli, verb),
        Verb::Snapshot(verb) => snapshot::snapshot(app, &cli, verb),
        Verb::Doctor => doctor::doctor(app, &cli),
        Verb::Completions(verb) => manual::completions(app, verb),
        Verb::Man => manual::page(app),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => fail(&error, json),
    }
}
