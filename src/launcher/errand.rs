//! An errand about the job's state: a short process of the version whose state it is, which saves the state or
//! brings it back while no worker has it open. The launcher itself reads no database and no snapshot.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::beside::Beside;
use super::worker::{HIDDEN, NODE};
use crate::config::{ConfigFile, HANDED_FILES, hand_files};
use crate::install::{Binary, Restore};
use crate::sys::{ChildPid, Exit, Moment, Program};
use crate::types::Sha256Digest;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Take a snapshot.
    Save,
    /// Bring one back.
    Restore(Restore),
}

/// What an errand says of itself, one line each on its standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "errand", rename_all = "kebab-case")]
pub enum ErrandSays {
    /// It is getting on.
    Progress {
        /// Bytes so far.
        done: u64,
    },
    /// The snapshot is on disk.
    Saved(Saved),
    /// The state is back.
    Restored,
    /// It was not done.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// A snapshot that an errand took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its name.
    pub snapshot: String,
    /// The digest of the whole snapshot.
    pub digest: Sha256Digest,
    /// The epoch of the state in it.
    pub epoch: u32,
    /// When it was taken.
    pub at: Timestamp,
}

impl ErrandSays {
    const PREFIX: &str = "X_ERRAND=";

    /// The line that says it.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}{}", Self::PREFIX, serde_json::to_string(self).expect("plain data"))
    }

    fn of(line: &str) -> Option<Self> {
        serde_json::from_str(line.strip_prefix(Self::PREFIX)?).ok()
    }
}

/// How an errand ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Saved(Saved),
    Restored,
    Failed(String),
}

/// The errand that is run just now.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) task: Task,
    process: Beside,
    deadline: Moment,
    line: Vec<u8>,
    said: Option<Done>,
}

/// Marks an errand and everything that it starts.
const MARKER: &str = "EXUVIA_INTERNAL_ERRAND";
/// The longest time without any progress.
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest line that is one.
const LONGEST: usize = 4096;

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Save => "save the job's state",
            Self::Restore(_) => "bring the job's state back",
        })
    }
}

impl Errand {
    /// Starts it, from the binary of the version whose state it is about.
    /// `node`: the value by which the next launcher finds what this one left.
    pub(super) fn start(
        task: Task,
        binary: &Binary,
        options: &[OsString],
        files: &[ConfigFile],
        node: OsString,
    ) -> io::Result<Self> {
        let words: Vec<String> = match &task {
            Task::Save => vec!["keep-state".to_owned()],
            Task::Restore(Restore { pair, aside }) => {
                vec!["restore-state".to_owned(), pair.snapshot.clone(), pair.digest.to_string(), aside.clone()]
            }
        };
        let args: Vec<_> = options.iter().cloned().chain(words.into_iter().map(OsString::from)).collect();
        let files = hand_files(files)?;
        let process = Beside::start(MARKER, |mark, theirs| {
            let (handle, name) = (binary.file(), binary.path().as_os_str());
            let env = [mark, (NODE, node), (HANDED_FILES, OsString::from("1"))];
            Program { handle, name, args: &args, env: &env, hidden_env: HIDDEN }.spawn(files, theirs)
        })?;
        Ok(Self { task, process, deadline: Moment::now().after(PATIENCE), line: Vec::new(), said: None })
    }

    pub(super) fn pid(&self) -> Option<ChildPid> {
        self.process.pid()
    }

    pub(super) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.process.output()
    }

    /// Until when it must have got on.
    pub(super) fn deadline(&self) -> Moment {
        self.deadline
    }

    pub(super) fn forgive(&mut self, late: Duration) {
        self.deadline = self.deadline.after(late);
    }

    pub(super) fn note_exit(&mut self, pid: ChildPid, exit: Exit) -> bool {
        self.process.note_exit(pid, exit)
    }

    /// Hears it. Whether it has got on since.
    pub(super) fn hear(&mut self, now: Moment) -> bool {
        let mut got_on = false;
        for byte in self.process.read() {
            if byte != b'\n' {
                if self.line.len() < LONGEST {
                    self.line.push(byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.said = match ErrandSays::of(&String::from_utf8_lossy(&line)) {
                None => continue,
                Some(ErrandSays::Progress { .. }) => {
                    got_on = true;
                    continue;
                }
                Some(ErrandSays::Saved(saved)) => Some(Done::Saved(saved)),
                Some(ErrandSays::Restored) => Some(Done::Restored),
                Some(ErrandSays::Failed { reason }) => Some(Done::Failed(reason)),
            };
        }
        if got_on {
            self.deadline = now.after(PATIENCE);
        }
        got_on
    }

    /// How it ended, once it has. What it said counts only when it ended well, too.
    pub(super) fn done(&self, now: Moment) -> Option<Done> {
        let failed = |how: String| Some(Done::Failed(how));
        match (self.process.exit(), &self.said) {
            (Some(Exit::Code(0)), Some(done @ (Done::Saved(_) | Done::Restored))) => Some(done.clone()),
            (Some(_), Some(Done::Failed(reason))) => failed(reason.clone()),
            (Some(exit), _) => failed(format!("it ended with {exit}{}", self.process.last_words())),
            (None, _) if self.deadline <= now => failed(format!("it did not get on for {PATIENCE:?}")),
            (None, _) => None,
        }
    }

    /// Ends it, with whatever it started.
    pub(super) fn end(self, children: &[ChildPid]) {
        self.process.end(children);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_errand_says_survives_its_line_and_nothing_else_is_taken_for_it() {
        let digest = "ab".repeat(32).parse().unwrap();
        let saved = Saved { snapshot: "s".to_owned(), digest, epoch: 2, at: Timestamp::UNIX_EPOCH };
        for said in [
            ErrandSays::Progress { done: 7 },
            ErrandSays::Saved(saved),
            ErrandSays::Restored,
            ErrandSays::Failed { reason: "no\nroom".to_owned() },
        ] {
            assert_eq!(ErrandSays::of(&said.line()), Some(said.clone()));
            assert!(!said.line().contains('\n'));
        }
        for line in ["", "X_ERRAND=", "X_ERRAND={}", "INFO event=x", r#"X_ERRAND={"errand":"later"}"#] {
            assert_eq!(ErrandSays::of(line), None, "{line}");
        }
    }
}
