use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::binary::Installed;
use super::error::InstallError;
use super::lease::LeaseEpoch;
use super::pair::{Pair, Restore, StateChange};
use super::vitals::Vitals;
use crate::sys::{Dir, Refusal, SysError};
use crate::types::ByteLimit;

/// Longest record that is read, in bytes. None longer is written: see [`trim`].
pub(super) const LIMIT: ByteLimit = ByteLimit::kib(256);

/// Reads a record. `None` when there is none.
pub(super) fn read<T: for<'de> Deserialize<'de>>(dir: &Dir, name: &str) -> Result<Option<T>, InstallError> {
    let bytes = match dir.read(name, LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        // Nothing here writes such a record: it is as damaged as one that is no JSON.
        Err(error) if matches!(error.refusal(), Some(Refusal::TooLong { .. })) => {
            return Err(InstallError::Record { path: dir.path().join(name), reason: serde::de::Error::custom(error) });
        }
        Err(error) => return Err(error.into()),
    };
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|reason| InstallError::Record { path: dir.path().join(name), reason })
}

/// Replaces a record, atomically and durably.
pub(super) fn write<T: Serialize>(dir: &Dir, name: &str, record: &T) -> Result<(), SysError> {
    let bytes =
        encode(record).map_err(|error| SysError::io("encode", dir.path().join(name), std::io::Error::other(error)))?;
    dir.replace(name, &bytes, 0o600)
}

pub(super) fn encode<T: Serialize>(record: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(record)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Makes a record short enough to be read again. A failed candidate decides what stands in its verdict,
/// and in JSON a byte can take six: the oldest outputs go first, then the oldest verdicts.
pub(super) fn trim(record: &mut NodeRecord) {
    while encode(record).is_ok_and(|bytes| !LIMIT.admits(bytes.len() as u64)) {
        if let Some(verdict) = record.verdicts.iter_mut().find(|verdict| !verdict.output.is_empty()) {
            verdict.output.clear();
        } else if record.verdicts.is_empty() {
            break;
        } else {
            record.verdicts.remove(0);
        }
    }
}

/// What one node runs, and what it is trying. Written by its launcher alone, before each step.
/// Fields that another version added are ignored, so that the version before can read it too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The version that this node runs: proven by its past.
    pub running: Installed,
    /// The version that it ran before; where `rollback` goes.
    pub previous: Option<Installed>,
    /// The epoch of the install when this node last looked: a later change by an operator is adopted.
    pub install_epoch: u64,
    /// The trial that is under way or due.
    pub trial: Option<Trial>,
    /// The last verdicts, oldest first, at most [`NodeRecord::VERDICTS`].
    #[serde(default)]
    pub verdicts: Vec<Verdict>,
    /// What was saved before migrations of the job's state, oldest first, at most [`NodeRecord::PAIRS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Pair>,
    /// The job's state must go back before any worker opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
}

/// Why a version is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// A release from the source.
    Upgrade,
    /// An operator wants an older release from the source.
    Downgrade,
    /// An operator wants a version back that this node ran before.
    Rollback,
}

/// How far a trial has come. Written before the step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Due: the worker begins again at the archive.
    Pending,
    /// The candidate is started and has not said READY.
    Starting,
    /// The candidate serves, under the launcher that is known to be good.
    Probation,
    /// The candidate's launcher takes over, from its own place.
    Handoff,
}

/// One candidate's way to the commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Unique; names this trial in the ledger.
    pub id: String,
    /// What is tried.
    pub candidate: Installed,
    /// Why.
    pub purpose: Purpose,
    /// How far it is.
    pub progress: Progress,
    /// Starts left. One is spent, durably, before each start; an operator's stop gives it back.
    pub tries_left: u32,
    /// The lease under which it runs.
    pub lease: Option<LeaseEpoch>,
    /// When it was asked for.
    pub since: Timestamp,
    /// How the version that served did, right before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Vitals>,
    /// What it does to the job's state; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateChange>,
}

/// In words, as an operator reads it.
impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.progress {
            Progress::Pending => "is due; it begins again at the archive",
            Progress::Starting => "is started beside the running version",
            Progress::Probation => "serves on probation; nothing is committed yet",
            Progress::Handoff => "has its launcher prove itself; nothing is committed yet",
        };
        write!(f, "{} {doing} (tries left: {})", self.candidate, self.tries_left)?;
        self.state.as_ref().map_or(Ok(()), |change| write!(f, "; {change}"))
    }
}

/// What became of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// Committed.
    Good,
    /// The candidate failed; this node does not try it again by itself.
    Bad,
    /// Something else failed; the candidate is not to blame.
    Inconclusive,
}

/// A trial's end, with what is needed to understand it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The trial's id.
    pub trial: String,
    /// What was tried.
    pub candidate: Installed,
    /// What ran before, and runs again after a bad verdict.
    pub from: Installed,
    /// Why it was tried.
    pub purpose: Purpose,
    /// How it ended.
    pub kind: VerdictKind,
    /// Why, as a stable word: `exited`, `not-ready`, `watchdog`, …
    pub reason: String,
    /// Why, for people.
    pub detail: String,
    /// When it was asked for.
    pub since: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// The end of what the candidate wrote, at most 8 KiB.
    pub output: String,
    /// How the version that served did, right before the trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Vitals>,
    /// How the candidate did, at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vitals>,
}

impl Verdict {
    /// The reason of a trial that ended because nobody could tell the candidate's health.
    pub const HEALTH: &str = "health";
    /// The reason of a trial that ended because the job's state could not be saved before it, or not be brought
    /// back.
    pub const STATE: &str = "state";

    /// Whether it claims to have fallen later than `now`, by more than the clocks of a host can differ.
    #[must_use]
    pub fn is_of_the_future(&self, now: Timestamp) -> bool {
        self.at.duration_since(now) > SignedDuration::from_mins(1)
    }

    /// Whether it fell less than `span` before `now`. One from the future is not recent: a forged
    /// date must not make a verdict last.
    #[must_use]
    pub fn is_recent(&self, now: Timestamp, span: Duration) -> bool {
        let age = now.duration_since(self.at);
        Duration::try_from(age).is_ok_and(|age| age <= span)
    }
}

impl NodeRecord {
    /// Verdicts kept.
    pub const VERDICTS: usize = 16;

    /// A node that runs `running` and has no past.
    #[must_use]
    pub fn new(running: Installed, install_epoch: u64) -> Self {
        Self {
            running,
            previous: None,
            install_epoch,
            trial: None,
            verdicts: Vec::new(),
            pairs: Vec::new(),
            restore: None,
        }
    }

    /// Ends the trial with a verdict.
    pub fn conclude(&mut self, verdict: Verdict) {
        self.trial = None;
        self.verdicts.push(verdict);
        let surplus = self.verdicts.len().saturating_sub(Self::VERDICTS);
        self.verdicts.drain(..surplus);
    }

    /// Every version that must stay on disk for this node.
    pub fn keeps(&self) -> impl Iterator<Item = &Installed> {
        [Some(&self.running), self.previous.as_ref(), self.trial.as_ref().map(|trial| &trial.candidate)]
            .into_iter()
            .flatten()
    }
}
