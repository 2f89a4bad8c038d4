//! What launcher and worker say to each other: `NAME=value` lines as in `sd_notify(3)`, one datagram
//! each, over the worker's private channel. Structured values are JSON. Unknown names are ignored,
//! so that versions of different age understand each other.

use serde::{Deserialize, Serialize};

use crate::install::{Installed, Purpose, StateChange, Verdict};
use crate::types::{Health, Migration, NodeName, Overlap, StateEpochs, Version};

/// The versions of this protocol, and of the message that a launcher leaves for the next one, that a program
/// understands. New messages and new fields alone make no new version: who does not know them passes them over.
/// A change that an older peer would misread makes one; what still understands older peers says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// The version that it speaks.
    pub newest: u32,
    /// The oldest one that it still understands.
    pub oldest: u32,
}

impl Dialect {
    /// What this program understands.
    pub const OURS: Self = Self { newest: 1, oldest: 1 };

    /// What a peer says of itself; one that names no oldest version understands its own alone.
    #[must_use]
    pub fn of_peer(newest: u32, oldest: Option<u32>) -> Self {
        Self { newest, oldest: oldest.unwrap_or(newest).min(newest) }
    }

    /// Whether there is a version that both understand: the newest one of the older peer.
    #[must_use]
    pub fn understands(self, peer: Self) -> bool {
        let common = self.newest.min(peer.newest);
        self.oldest <= common && peer.oldest <= common
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.newest - self.oldest {
            0 => write!(f, "{}", self.newest),
            _ => write!(f, "{} to {}", self.oldest, self.newest),
        }
    }
}

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
    /// How its job does.
    Vitals(Reported),
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
            Self::Vitals(reported) => format!("X_VITALS={}", json(reported)),
            Self::State { found, epochs } => format!("X_STATE={}", json(&(found, epochs))),
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
                "X_VITALS" => serde_json::from_str(value).ok().map(Self::Vitals),
                "X_STATE" => serde_json::from_str(value).ok().map(|(found, epochs)| Self::State { found, epochs }),
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
            state: Some(StateChange::migrates(1, 2)),
        };
        for message in [
            ToLauncher::Ready,
            ToLauncher::Watchdog,
            ToLauncher::Status("downloads 1.0.0".to_owned()),
            ToLauncher::Stopping,
            ToLauncher::Overlap(Overlap::UntilReady),
            ToLauncher::Try(request),
            ToLauncher::Vitals(Reported { health: Some(Health::Unhealthy), requests: 7, ..Reported::default() }),
            ToLauncher::State { found: 1, epochs: StateEpochs { reads_from: 1, writes: 2 } },
        ] {
            assert_eq!(ToLauncher::decode(&message.encode()), vec![message]);
        }
        let less = ToLauncher::decode(b"X_VITALS={\"errors\":2}");
        assert_eq!(less, [ToLauncher::Vitals(Reported { errors: 2, ..Reported::default() })]);
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

    #[test]
    fn peers_understand_each_other_when_the_older_ones_newest_version_is_known_to_both() {
        let dialect = |oldest, newest| Dialect { newest, oldest };
        for (a, b, understood) in [
            (dialect(1, 1), dialect(1, 1), true),
            (dialect(1, 1), dialect(1, 3), true),
            (dialect(1, 1), dialect(2, 3), false),
            (dialect(2, 2), dialect(1, 3), true),
            (dialect(2, 4), dialect(1, 1), false),
        ] {
            assert_eq!((a.understands(b), b.understands(a)), (understood, understood), "{a} and {b}");
        }
        assert_eq!(Dialect::of_peer(3, None), dialect(3, 3));
        assert_eq!(Dialect::of_peer(3, Some(9)), dialect(3, 3), "nonsense is narrowed");
    }

    /// What version 1 says, as it was said: every later program that understands version 1 must read it.
    #[test]
    fn messages_of_version_1_are_understood_for_as_long_as_that_version_is() {
        let digest = "ab".repeat(32);
        let installed = format!(r#"{{"version":"1.0.0","digest":"{digest}"}}"#);
        let to_launcher = [
            "READY=1".to_owned(),
            "WATCHDOG=1".to_owned(),
            "STATUS=serves".to_owned(),
            "STOPPING=1".to_owned(),
            format!(r#"X_TRY={{"id":"1-a","candidate":{installed},"purpose":"upgrade"}}"#),
            r#"X_GIVE_UP={"id":"1-a","reason":"gone"}"#.to_owned(),
        ];
        for line in to_launcher {
            // Also with what a newer program may add.
            let more = line.replace("}}", r#"},"added":{"later":[1]}}"#) + "\nX_LATER=1";
            assert_eq!(ToLauncher::decode(line.as_bytes()).len(), 1, "{line}");
            assert_eq!(ToLauncher::decode(more.as_bytes()), ToLauncher::decode(line.as_bytes()), "{more}");
        }
        let verdict = format!(
            r#"{{"trial":"1-a","candidate":{installed},"from":{installed},"purpose":"rollback","kind":"bad",
                "reason":"exited","detail":"","since":"2026-01-01T00:00:00Z","at":"2026-01-01T00:00:00Z","output":""}}"#
        )
        .replace('\n', "");
        let to_worker = [
            format!(
                r#"X_HELLO={{"protocol":1,"node":"a","launcher":"1.0.0","running":{installed},"committed":"/opt/exuvia","on_trial":true,"listeners":["http","control"]}}"#
            ),
            "X_ACTIVATE=1".to_owned(),
            "X_DRAIN=1".to_owned(),
            r#"X_TRY_REPLY={"accepted":{"id":"1-a"}}"#.to_owned(),
            r#"X_TRY_REPLY={"wait":{"id":"1-a","by":"b","seconds":3}}"#.to_owned(),
            r#"X_TRY_REPLY={"busy":{"id":"1-a"}}"#.to_owned(),
            r#"X_TRY_REPLY={"refused":{"id":"1-a","reason":"no"}}"#.to_owned(),
            format!("X_VERDICT={verdict}"),
            "X_LAUNCHER=1.1.0".to_owned(),
        ];
        assert_eq!(Dialect::OURS.oldest, 1, "what is tested here is not understood any more");
        for line in to_worker {
            assert_eq!(ToWorker::decode(line.as_bytes()).len(), 1, "{line}");
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
