//! What launcher and worker say to each other: `NAME=value` lines as in `sd_notify(3)`, one datagram
//! each, over the worker's private channel. Structured values are JSON. Unknown names are ignored,
//! so that versions of different age understand each other.

use serde::{Deserialize, Serialize};

use crate::install::{Installed, Purpose, Verdict};
use crate::types::{NodeName, Overlap, Version};

/// The version of this protocol. It grows only when an older peer could misread a message.
pub const PROTOCOL: u32 = 1;

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
    Try(TryRequest),
    /// A trial that is due cannot be begun again.
    GiveUp(GiveUp),
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
    /// The launcher's [`PROTOCOL`].
    pub protocol: u32,
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
    /// One that only another version knows.
    Unknown,
}

impl From<Listener> for String {
    fn from(listener: Listener) -> Self {
        match listener {
            Listener::Http => "http".to_owned(),
            Listener::Control => "control".to_owned(),
            Listener::Job(at) => format!("job-{at}"),
            Listener::Unknown => "unknown".to_owned(),
        }
    }
}

impl From<String> for Listener {
    fn from(name: String) -> Self {
        match name.as_str() {
            "http" => Self::Http,
            "control" => Self::Control,
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

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("these types have only string keys")
}

impl ToLauncher {
    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => "READY=1".to_owned(),
            Self::Watchdog => "WATCHDOG=1".to_owned(),
            // One line: a status may quote an error message.
            Self::Status(text) => format!("STATUS={}", text.replace('\n', " ")),
            Self::Overlap(overlap) => format!("X_OVERLAP={}", json(overlap)),
            Self::Stopping => "STOPPING=1".to_owned(),
            Self::Try(request) => format!("X_TRY={}", json(request)),
            Self::GiveUp(trial) => format!("X_GIVE_UP={}", json(trial)),
        }
        .into_bytes()
    }

    /// Every message of a datagram that is understood.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Vec<Self> {
        lines(bytes)
            .filter_map(|(name, value)| match name {
                "READY" if value == "1" => Some(Self::Ready),
                "WATCHDOG" if value == "1" => Some(Self::Watchdog),
                "STATUS" => Some(Self::Status(value.chars().filter(|c| !c.is_control()).take(200).collect())),
                "X_OVERLAP" => serde_json::from_str(value).ok().map(Self::Overlap),
                "STOPPING" if value == "1" => Some(Self::Stopping),
                "X_TRY" => serde_json::from_str(value).ok().map(Self::Try),
                "X_GIVE_UP" => serde_json::from_str(value).ok().map(Self::GiveUp),
                _ => None,
            })
            .collect()
    }
}

impl ToWorker {
    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(hello) => format!("X_HELLO={}", json(hello)),
            Self::Activate => "X_ACTIVATE=1".to_owned(),
            Self::Drain { replaced: false } => "X_DRAIN=1".to_owned(),
            Self::Drain { replaced: true } => "X_DRAIN=replaced".to_owned(),
            Self::TryReply(reply) => format!("X_TRY_REPLY={}", json(reply)),
            Self::Verdict(verdict) => format!("X_VERDICT={}", json(verdict)),
            Self::Launcher(version) => format!("X_LAUNCHER={version}"),
            Self::Reloads(reloads) => format!("X_RELOADS={}", json(reloads)),
        }
        .into_bytes()
    }

    /// Every message of a datagram that is understood.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Vec<Self> {
        lines(bytes)
            .filter_map(|(name, value)| match name {
                "X_HELLO" => serde_json::from_str(value).ok().map(Self::Hello),
                "X_ACTIVATE" => Some(Self::Activate),
                "X_DRAIN" => Some(Self::Drain { replaced: value == "replaced" }),
                "X_TRY_REPLY" => serde_json::from_str(value).ok().map(Self::TryReply),
                "X_VERDICT" => serde_json::from_str(value).ok().map(Self::Verdict),
                "X_LAUNCHER" => value.parse().ok().map(Self::Launcher),
                "X_RELOADS" => serde_json::from_str(value).ok().map(Self::Reloads),
                _ => None,
            })
            .collect()
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    str::from_utf8(bytes).unwrap_or_default().lines().filter_map(|line| line.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_survive_the_wire_and_unknown_ones_are_passed_over() {
        let request = TryRequest {
            id: "t1".to_owned(),
            candidate: Installed { version: "1.0.0".parse().unwrap(), digest: "ab".repeat(32).parse().unwrap() },
            purpose: Purpose::Upgrade,
            asked_for: false,
            overlap: Overlap::UntilReady,
        };
        for message in [
            ToLauncher::Ready,
            ToLauncher::Watchdog,
            ToLauncher::Status("downloads 1.0.0".to_owned()),
            ToLauncher::Stopping,
            ToLauncher::Overlap(Overlap::UntilReady),
            ToLauncher::Try(request),
        ] {
            assert_eq!(ToLauncher::decode(&message.encode()), vec![message]);
        }
        assert_eq!(ToLauncher::decode(b"MAINPID=1\nREADY=1\nFUTURE=x"), vec![ToLauncher::Ready]);
    }

    #[test]
    fn a_listener_or_a_candidate_of_another_age_is_understood() {
        let names = ["http", "control", "job-0", "job-7", "quic", "job-x"].map(str::to_owned);
        let listeners = names.clone().map(Listener::from);
        assert_eq!(listeners[..4].iter().map(|listener| String::from(*listener)).collect::<Vec<_>>(), names[..4]);
        assert_eq!(listeners[4..], [Listener::Unknown; 2]);

        let (version, digest) = ("1.0.0", "ab".repeat(32));
        let old = format!(
            r#"X_TRY={{"id":"t","candidate":{{"version":"{version}","digest":"{digest}"}},"purpose":"upgrade"}}"#
        );
        let heard = ToLauncher::decode(old.as_bytes());
        let [ToLauncher::Try(request)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(request.overlap, Overlap::StopFirst);
        for replaced in [true, false] {
            let drain = ToWorker::Drain { replaced };
            assert_eq!(ToWorker::decode(&drain.encode()), [drain]);
        }
    }

    proptest! {
        #[test]
        fn no_datagram_makes_a_launcher_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ToLauncher::decode(&bytes);
            let _ = ToWorker::decode(&bytes);
        }
    }
}
