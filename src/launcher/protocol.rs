//! What launcher and worker say to each other, over the worker's private channel. How it is written is the
//! matter of `wire`.

use serde::{Deserialize, Serialize};

use super::dialect::Dialect;
use crate::install::{Installed, Purpose, StateChange, Verdict};
use crate::types::{Health, Migration, NodeName, Overlap, StateEpochs, Version};

/// From a worker to its launcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToLauncher {
    /// It can serve.
    Ready,
    /// Its main loop is alive.
    Watchdog,
    /// What it does now, for people.
    Status(String),
    /// Whether it may run beside another version: said before it is ready. One that does not say so
    /// may not.
    Overlap(Overlap),
    /// It leaves by its own decision.
    Stopping,
    /// Please try this version.
    Try(Box<TryRequest>),
    /// A trial that is due cannot be begun again.
    GiveUp(GiveUp),
    /// How its job does.
    Vitals(Reported),
    /// It would have more if it were started now: a ledger, or an install that it may change.
    Renew,
    /// It cannot open the job's state as that is: it has to be migrated first, or a newer version has done so.
    State {
        /// The epoch that is there.
        found: u32,
        /// What the worker understands.
        epochs: StateEpochs,
    },
}

/// What a worker tells about its job: again with each sign of life, and at once when its health changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reported {
    /// Requests that the job served or failed since the worker started.
    pub requests: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// Descriptors that the worker has open.
    pub descriptors: Option<u64>,
    /// What the job says of itself, if it ever did.
    pub health: Option<Health>,
    /// Why, for people.
    pub because: String,
}

/// Why a trial that is due will not come about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUp {
    /// The trial.
    pub id: String,
    /// Why, for people.
    pub reason: String,
}

/// A staged and probed candidate that the launcher is asked to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TryRequest {
    /// Names the trial in records and ledger.
    pub id: String,
    /// What to try; it lies among the versions.
    pub candidate: Installed,
    /// Why.
    pub purpose: Purpose,
    /// Whether somebody asked for just this: then a sibling's bad verdict does not stand in its way.
    #[serde(default)]
    pub asked_for: bool,
    /// What the candidate says of itself. One that says nothing is not run beside another.
    #[serde(default)]
    pub overlap: Overlap,
    /// What it does to the job's state; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateChange>,
}

/// From a launcher to one of its workers.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// Always first, with the listeners' descriptors.
    Hello(Hello),
    /// Begin to serve, poll and prune.
    Activate,
    /// Finish what was accepted, then leave.
    Drain {
        /// Whether another worker serves already: then there is no hurry.
        replaced: bool,
    },
    /// The answer to [`ToLauncher::Try`].
    TryReply(TryReply),
    /// A trial ended.
    Verdict(Box<Verdict>),
    /// The launcher is another version by now.
    Launcher(Version),
    /// What became of reloads so far.
    Reloads(Reloads),
}

/// What a worker must know to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest version of the protocol that the launcher speaks; see [`Dialect`].
    pub protocol: u32,
    /// The oldest one that it understands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_protocol: Option<u32>,
    /// The node.
    pub node: NodeName,
    /// The version that the launcher itself is.
    pub launcher: Version,
    /// The digest of what this worker was started from.
    pub running: Installed,
    /// The committed path.
    pub committed: std::path::PathBuf,
    /// Whether this worker is a candidate on trial.
    pub on_trial: bool,
    /// Which descriptors came along, in this order.
    pub listeners: Vec<Listener>,
    /// What became of reloads so far.
    #[serde(default)]
    pub reloads: Reloads,
    /// Whether one more descriptor holds the configuration files, as they were when the launcher read
    /// them: what lies there by now may be half written, or refused.
    #[serde(default)]
    pub files: bool,
    /// The migration of the job's state that this worker may do: what it takes back is on disk. None other may be
    /// done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrate: Option<Migration>,
}

/// How often the configuration was read again since the launcher's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloads {
    /// It took effect.
    pub applied: u64,
    /// It has a mistake, or asks for what only a restart can change: the old one stayed.
    pub refused: u64,
    /// No worker became ready with it: the old worker stayed.
    pub failed: u64,
}

impl Hello {
    /// What the launcher understands.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        Dialect::of_peer(self.protocol, self.oldest_protocol)
    }
}

/// A listening socket that the launcher owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Listener {
    /// The node's HTTP listener.
    Http,
    /// The control socket.
    Control,
    /// The job's, counted from 0.
    Job(u8),
    /// The mirror's.
    Mirror,
    /// One that only another version knows.
    Unknown,
}

impl From<Listener> for String {
    fn from(listener: Listener) -> Self {
        match listener {
            Listener::Http => "http".to_owned(),
            Listener::Control => "control".to_owned(),
            Listener::Job(at) => format!("job-{at}"),
            Listener::Mirror => "mirror".to_owned(),
            Listener::Unknown => "unknown".to_owned(),
        }
    }
}

impl From<String> for Listener {
    fn from(name: String) -> Self {
        match name.as_str() {
            "http" => Self::Http,
            "control" => Self::Control,
            "mirror" => Self::Mirror,
            name => name.strip_prefix("job-").and_then(|at| at.parse().ok()).map_or(Self::Unknown, Self::Job),
        }
    }
}

/// Whether a trial begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TryReply {
    /// It begins now.
    Accepted {
        /// The trial.
        id: String,
    },
    /// A sibling tries a version just now.
    Wait {
        /// The trial.
        id: String,
        /// Which node.
        by: NodeName,
        /// At most so many seconds.
        seconds: u64,
    },
    /// This launcher is in the middle of a trial, or stopping.
    Busy {
        /// The trial.
        id: String,
    },
    /// It cannot begin.
    Refused {
        /// The trial.
        id: String,
        /// Why, for people.
        reason: String,
    },
}

impl TryReply {
    /// The trial that is answered.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Accepted { id } | Self::Wait { id, .. } | Self::Busy { id } | Self::Refused { id, .. } => id,
        }
    }
}
