//! One health check: a process beside the worker that it looks at. It is started from what this
//! launcher knows to be good, and is heard for a bounded time.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::worker::{HIDDEN, Tail};
use crate::config::HealthChecks;
use crate::install::Binary;
use crate::sys::{ChildPid, Exit, Moment, OutputPipe, Piece, Program, kill_marked, nothing_to_read, spawn_command};
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
    pid: ChildPid,
    marker: String,
    output: Option<OutputPipe>,
    tail: Tail,
    patience: Duration,
    deadline: Moment,
    exit: Option<Exit>,
}

/// Marks a check and everything that it starts.
const MARKER: &str = "EXUVIA_INTERNAL_CHECK";
/// What a check that asks an address may take beyond its time to be started and to end.
const MARGIN: Duration = Duration::from_secs(2);
/// Pieces of output that are read at a time: more would keep the launcher from its work.
const PIECES: usize = 16;

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
            let (output, theirs) = OutputPipe::new()?;
            let mut random = [0; 12];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            let id = hex::encode(random);
            let env = [(MARKER, OsString::from(&id))];
            let (pid, patience) = match check {
                Check::Command => (spawn_command(&checks.command, &env, HIDDEN, &theirs)?, checks.timeout),
                Check::Url => {
                    let url = checks.url.clone().unwrap_or_default();
                    let within = checks.timeout.as_millis().to_string();
                    let ask = ["ask-health".to_owned(), url, within].map(OsString::from);
                    let args: Vec<_> = options.iter().cloned().chain(ask).collect();
                    let (handle, name) = (own.file(), own.path().as_os_str());
                    let program = Program { handle, name, args: &args, env: &env, hidden_env: HIDDEN };
                    (program.spawn(nothing_to_read()?, &theirs)?, checks.timeout + MARGIN)
                }
            };
            Ok(Running {
                check,
                pid,
                marker: format!("{MARKER}={id}"),
                output: Some(output),
                tail: Tail::default(),
                patience: checks.timeout,
                deadline: Moment::now().after(patience),
                exit: None,
            })
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
        self.0.as_ref().filter(|running| running.exit.is_none()).map(|running| running.pid)
    }

    /// What it writes.
    pub(super) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().and_then(|running| running.output.as_ref()).map(AsFd::as_fd)
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
        match &mut self.0 {
            Some(running) if running.pid == pid => {
                running.exit = Some(exit);
                true
            }
            _ => false,
        }
    }

    /// Its answer, once it has one. `children` are this launcher's workers.
    pub(super) fn answer(&mut self, now: Moment, children: &[ChildPid]) -> Option<Answer> {
        let running = self.0.as_mut()?;
        running.read();
        let check = running.check;
        let (health, detail) = match running.exit {
            Some(Exit::Code(code)) => {
                let said = running.last_words();
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
            if running.exit.is_none() {
                running.pid.kill_group();
            }
            let _ = kill_marked(&running.marker, children);
        }
    }
}

impl Running {
    fn read(&mut self) {
        let mut piece = [0; 4096];
        for _ in 0..PIECES {
            let Some(output) = &self.output else { return };
            match output.read_now(&mut piece) {
                Piece::Bytes(n) => self.tail.push(&piece[..n]),
                Piece::Nothing => return,
                Piece::End => self.output = None,
            }
        }
    }

    /// The last line that it wrote, for a sentence.
    fn last_words(&self) -> String {
        let text = self.tail.text();
        let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let plain: String = line.trim().chars().filter(|c| !c.is_control()).take(200).collect();
        if plain.is_empty() { plain } else { format!(": {plain}") }
    }
}
