//! One health check: a process beside the worker that it looks at. It is started from what this
//! launcher knows to be good, and is heard for a bounded time.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::beside::Beside;
use super::worker::HIDDEN;
use crate::config::HealthChecks;
use crate::install::Binary;
use crate::sys::{ChildPid, Exit, Moment, Program, nothing_to_read, spawn_command};
use crate::types::Health;

/// What is asked how a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// The configured command.
    Command,
    /// The configured address.
    Url,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "health.command",
            Self::Url => "health.url",
        })
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) check: Check,
    pub(super) health: Health,
    /// Why, for people.
    pub(super) detail: String,
}

/// The check that runs just now, if one does.
#[derive(Debug, Default)]
pub(super) struct Checkup(Option<Running>);

#[derive(Debug)]
struct Running {
    check: Check,
    process: Beside,
    patience: Duration,
    deadline: Moment,
}

/// Marks a check and everything that it starts.
const MARKER: &str = "EXUVIA_INTERNAL_CHECK";
/// What a check that asks an address may take beyond its time to be started and to end.
const MARGIN: Duration = Duration::from_secs(2);

/// The checks that are configured.
pub(super) fn configured(checks: &HealthChecks) -> Vec<Check> {
    let command = (!checks.command.is_empty()).then_some(Check::Command);
    command.into_iter().chain(checks.url.as_ref().map(|_| Check::Url)).collect()
}

impl Checkup {
    /// Starts a check. `own` is a binary that is known to be good: it asks the address, so that this
    /// process speaks to nobody. What cannot be started has its answer at once: nobody can tell.
    pub(super) fn start(
        &mut self,
        check: Check,
        checks: &HealthChecks,
        own: &Binary,
        options: &[OsString],
    ) -> Result<(), Answer> {
        let attempt = || -> io::Result<Running> {
            let mut patience = checks.timeout;
            let process = Beside::start(MARKER, |mark, theirs| match check {
                Check::Command => spawn_command(&checks.command, &[mark], HIDDEN, theirs),
                Check::Url => {
                    patience += MARGIN;
                    let url = checks.url.clone().unwrap_or_default();
                    let within = checks.timeout.as_millis().to_string();
                    let ask = ["ask-health".to_owned(), url, within].map(OsString::from);
                    let args: Vec<_> = options.iter().cloned().chain(ask).collect();
                    let (handle, name) = (own.file(), own.path().as_os_str());
                    let program = Program { handle, name, args: &args, env: &[mark], hidden_env: HIDDEN };
                    program.spawn(nothing_to_read()?, theirs)
                }
            })?;
            Ok(Running { check, process, patience: checks.timeout, deadline: Moment::now().after(patience) })
        };
        match attempt() {
            Ok(running) => {
                self.0 = Some(running);
                Ok(())
            }
            Err(error) => {
                let detail = format!("{check} cannot be started: {error}");
                Err(Answer { check, health: Health::Inconclusive, detail })
            }
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// The process of the check.
    pub(super) fn pid(&self) -> Option<ChildPid> {
        self.0.as_ref().and_then(|running| running.process.pid())
    }

    /// What it writes.
    pub(super) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().and_then(|running| running.process.output())
    }

    /// Until when it must have answered.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.0.as_ref().map(|running| running.deadline)
    }

    /// Nobody had to be on time for so long.
    pub(super) fn forgive(&mut self, late: Duration) {
        if let Some(running) = &mut self.0 {
            running.deadline = running.deadline.after(late);
        }
    }

    /// A child was reaped: whether it was the check.
    pub(super) fn note_exit(&mut self, pid: ChildPid, exit: Exit) -> bool {
        self.0.as_mut().is_some_and(|running| running.process.note_exit(pid, exit))
    }

    /// Its answer, once it has one. `children` are this launcher's workers.
    pub(super) fn answer(&mut self, now: Moment, children: &[ChildPid]) -> Option<Answer> {
        let running = self.0.as_mut()?;
        running.process.read();
        let check = running.check;
        let (health, detail) = match running.process.exit() {
            Some(Exit::Code(code)) => {
                let said = running.process.last_words();
                (Health::of_exit_code(code), format!("{check} ended with exit code {code}{said}"))
            }
            Some(exit @ Exit::Signal(_)) => (Health::Inconclusive, format!("{check} was ended by {exit}")),
            None if running.deadline <= now => {
                (Health::Unhealthy, format!("{check} gave no answer within {:?}", running.patience))
            }
            None => return None,
        };
        self.cancel(children);
        Some(Answer { check, health, detail })
    }

    /// Ends the check with all that it started: its answer is not waited for.
    pub(super) fn cancel(&mut self, children: &[ChildPid]) {
        if let Some(running) = self.0.take() {
            running.process.end(children);
        }
    }
}
