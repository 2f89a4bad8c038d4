//! `keep-state` and `restore-state`: what a launcher starts to have the job's state saved before a migration, and
//! brought back after one. No worker has the state open then.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::args::{Cli, RestoreState};
use super::error::CliError;
use super::node::handed_or_read;
use super::session::data;
use crate::console::say;
use crate::launcher::{ErrandSays, Saved};
use crate::node::App;
use crate::state::{self, Kept, StateError};

/// Between two notes of progress.
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn keep(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    let data = data(&handed_or_read(app, cli)?.settings)?;
    let at = Timestamp::now();
    Ok(tell(
        state::keep(&data, at, progress())
            .map(|Kept { name, digest, epoch }| ErrandSays::Saved(Saved { snapshot: name, digest, epoch, at })),
    ))
}

pub(super) fn restore(app: &App, cli: &Cli, args: &RestoreState) -> Result<ExitCode, CliError> {
    let data = data(&handed_or_read(app, cli)?.settings)?;
    let RestoreState { snapshot, digest, aside } = args;
    Ok(tell(state::bring_back(&data, snapshot, *digest, aside, progress()).map(|()| ErrandSays::Restored)))
}

/// Says how far it is, now and then.
fn progress() -> impl FnMut(u64) {
    let mut last = Instant::now();
    move |done| {
        if last.elapsed() >= EVERY {
            last = Instant::now();
            say(&ErrandSays::Progress { done }.line());
        }
    }
}

fn tell(outcome: Result<ErrandSays, StateError>) -> ExitCode {
    match outcome {
        Ok(said) => {
            say(&said.line());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&ErrandSays::Failed { reason: error.to_string() }.line());
            ExitCode::FAILURE
        }
    }
}
