//! A fresh host with a node and a release, and what must hold on it whatever happened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use exuvia::state::rusqlite::{Connection, OpenFlags};
use rustix::fs::{StatVfsMountFlags, statvfs};
use serde_json::Value;

use super::story::End;
use super::trace::Traced;
use crate::support::host::{digest, names};
use crate::support::{Host, Node, builds, wait_for};

/// The versions that stories go between.
pub const OLD: &str = "1.0.0";
/// The newer one.
pub const NEW: &str = "1.1.0";

/// As short as a healthy version on a busy machine allows.
const TIMES: &[(&str, &str)] = &[
    ("poll.interval", "\"300ms\""),
    ("trial.start", "\"20s\""),
    ("trial.probation", "\"100ms\""),
    ("trial.handoff", "\"50ms\""),
    ("trial.watchdog", "\"10s\""),
    ("trial.probe", "\"20s\""),
    ("trial.drain", "\"3s\""),
    // And so the pause after a trial that ended without a verdict: a state that could not be saved, say.
    ("trial.longest_probation", "\"1s\""),
];

pub struct Stage {
    pub host: Host,
    pub node: Node,
    /// The digest of the newer version.
    new: String,
    /// The epoch of the state that the newer version leaves.
    epoch: u32,
}

/// Where hosts are made: in memory where that has the room and lets programs run. Many at once wait for a disk longer
/// than for anything else, and what is lost with the power is played, whatever lies below.
fn folder() -> PathBuf {
    const ROOM: u64 = 4 << 30;
    let memory = Path::new("/dev/shm");
    let is_fit = statvfs(memory).is_ok_and(|at| {
        at.f_bavail.saturating_mul(at.f_frsize) >= ROOM && !at.f_flag.contains(StatVfsMountFlags::NOEXEC)
    });
    // Who named a folder knows why.
    if is_fit && std::env::var_os("TMPDIR").is_none() { memory.to_owned() } else { std::env::temp_dir() }
}

impl Stage {
    pub fn new() -> Self {
        let mut host = Host::of_in(&folder(), &builds::EXUVIA, OLD);
        for (key, value) in TIMES {
            host.set(key, value);
        }
        let node = host.node("one");
        Self { host, node, new: digest(&builds::exuvia(NEW)), epoch: 1 }
    }

    /// Publishes the newer version, with that fault.
    pub fn publish_bad(&mut self, fault: &str) {
        self.new = self.host.releases().publish_bad(NEW, fault);
        self.epoch = if fault.starts_with("epoch-2-") { 2 } else { 1 };
    }

    /// The folder below which everything lies.
    pub fn root(&self) -> PathBuf {
        // Without the slash at its end.
        self.host.path("").components().collect()
    }

    /// Waits until the story is over, one way or the other, or everything has ended.
    pub fn settle_under(&self, traced: &Traced) -> End {
        wait_for(
            || format!("the story ends\n{}", self.node.log()),
            || match () {
                () if traced.notes().over => Some(End::NotReached),
                () => self.end(),
            },
        )
    }

    /// Waits until the story is over, one way or the other.
    pub fn settle(&self) -> End {
        wait_for(|| format!("the story ends\n{}", self.node.log()), || self.end())
    }

    /// How it ended, once nothing is under way any more.
    fn end(&self) -> Option<End> {
        let status = self.node.status()?;
        let at = |version: &str| {
            status["running"]["version"] == version
                && status["launcher"] == version
                && status["committed"]["version"] == version
                && status["trial"].is_null()
                && status["activity"]["activity"] == "idle"
        };
        if at(NEW) {
            return Some(End::Upgraded);
        }
        if !at(OLD) {
            return None;
        }
        if status["policy"]["pin"] == OLD {
            return Some(End::WentBack);
        }
        let attempts = self.attempts();
        let vetoed = |attempt: &Value| {
            attempt["to"] == NEW && matches!(attempt["outcome"].as_str(), Some("rolled-back" | "refused"))
        };
        attempts.iter().any(vetoed).then_some(End::Vetoed)
    }

    fn epoch_of_state(&self) -> u32 {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(self.host.path("data/one/state.db"), flags).unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        database.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    /// The history, the latest first; nothing where it cannot be told now.
    fn attempts(&self) -> Vec<Value> {
        let output = self.node.cli(&["history", "--json"]);
        let told = (output.code == 0).then(|| output.json()["attempts"].as_array().cloned());
        told.flatten().unwrap_or_default()
    }

    /// At any moment the service manager may start what is committed: the old binary or the new one.
    pub fn assert_startable(&self) {
        let (found, known) = (self.host.committed(), [digest(&builds::exuvia(OLD)), self.new.clone()]);
        assert!(known.contains(&found), "the committed binary is neither old nor new");
    }

    /// What runs is committed, history and policy say what happened, the cache can be used, and nothing
    /// is left over.
    pub fn assert_well(&self, end: End) {
        let (committed, versions, outcome): (_, &[&str], _) = match end {
            End::Upgraded => (NEW, &[OLD, NEW], Some("upgraded")),
            End::WentBack => (OLD, &[OLD, NEW], Some("upgraded")),
            End::Vetoed => (OLD, &[OLD], None),
            End::NotReached => panic!("{end:?} is no state to judge"),
        };
        let (digest, epoch) =
            if committed == NEW { (self.new.clone(), self.epoch) } else { (digest(&builds::exuvia(OLD)), 1) };
        assert_eq!(self.host.committed(), digest, "{committed} is not what is committed");
        assert_eq!(self.epoch_of_state(), epoch, "binary and state match\n{}", self.node.log());
        let told = || {
            let attempts = self.attempts();
            let reached = |attempt: &Value| attempt["to"] == committed && attempt["outcome"] == "upgraded";
            let open = attempts.iter().any(|attempt| attempt["outcome"].is_null());
            (!open && (outcome.is_none() || attempts.iter().any(reached))).then_some(())
        };
        wait_for(|| format!("the history says so: {:?}\n{}", self.attempts(), self.node.log()), told);
        self.host.assert_clean(versions, &[&self.node]);
        let status = self.node.status().expect("it serves");
        let pin = if end == End::WentBack { Value::from(OLD) } else { Value::Null };
        assert_eq!(status["policy"]["pin"], pin, "{}", self.node.log());
        self.node.cli(&["cache", "verify"]).exits(0);
        let places = ["bin/.exuvia/nodes", "data/one"].iter();
        let aside: Vec<_> = places.flat_map(|folder| names(&self.host.path(folder))).collect();
        assert!(!aside.iter().any(|name| name.contains("damaged") || name.contains("corrupt")), "{aside:?}");
        assert!(!self.node.log().contains("panicked"), "{}", self.node.log());
    }
}
