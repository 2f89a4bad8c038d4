use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::binary::Installed;
use super::record::NodeRecord;
use crate::types::{Migration, Sha256Digest, StateEpochs};

/// A snapshot of the job's state, and the version whose state that is: what goes back goes back together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The version that wrote the state, and took the snapshot.
    pub binary: Installed,
    /// The snapshot, by its name.
    pub snapshot: String,
    /// The digest of the whole snapshot.
    pub digest: Sha256Digest,
    /// The epoch of the state in it.
    pub epoch: u32,
    /// When it was taken: what is newer than that is not in it.
    pub at: Timestamp,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { binary, snapshot, epoch, at, .. } = self;
        write!(f, "the state of {}, epoch {epoch}, as of {at:.0} (saved as {snapshot})", binary.version)
    }
}

/// What a trial does to the job's state. Then no two versions run at once, and the state is saved first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// The epoch that the state has.
    pub found: u32,
    /// The epoch that the candidate writes.
    pub writes: u32,
    /// What the version that ran before gets back when the trial fails. On disk before the candidate starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Pair>,
    /// What an older candidate gets back before it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<Pair>,
    /// The name under which the state is set aside that makes room for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<String>,
}

impl StateChange {
    /// A candidate that migrates what it finds.
    #[must_use]
    pub fn migrates(found: u32, writes: u32) -> Self {
        Self { found, writes, saved: None, restores: None, aside: None }
    }

    /// The migration that the candidate may do, once it may.
    #[must_use]
    pub fn word(&self) -> Option<Migration> {
        let from = self.restores.as_ref().map_or(self.found, |pair| pair.epoch);
        (from != self.writes).then_some(Migration { from, to: self.writes })
    }
}

impl fmt::Display for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, writes, saved, restores, .. } = self;
        match restores {
            Some(pair) => write!(f, "the state goes back from epoch {found} to {pair}")?,
            None => write!(f, "the state goes from epoch {found} to {writes}")?,
        }
        match saved {
            Some(pair) => write!(f, "; saved before as {}", pair.snapshot),
            None => f.write_str("; it is saved first"),
        }
    }
}

/// A restore that is due: nobody opens the state before it is done, also after a power cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// What comes back.
    pub pair: Pair,
    /// The name in the node's folder under which the state is set aside that is there now. Chosen before, so that
    /// a restore that is begun twice sets aside once.
    pub aside: String,
}

impl Restore {
    /// A restore that is due from now on.
    #[must_use]
    pub fn due(pair: Pair, now: Timestamp) -> Self {
        Self { pair, aside: format!("state.rejected-{}", now.strftime("%Y%m%dT%H%M%S%3fZ")) }
    }
}

impl fmt::Display for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} comes back; what was written since is set aside as {}", self.pair, self.aside)
    }
}

impl NodeRecord {
    /// Pairs kept.
    pub const PAIRS: usize = 4;

    /// Remembers what was saved before a migration.
    pub fn keep_pair(&mut self, pair: Pair) {
        self.pairs.retain(|kept| *kept != pair);
        self.pairs.push(pair);
        let surplus = self.pairs.len().saturating_sub(Self::PAIRS);
        self.pairs.drain(..surplus);
    }

    /// The state is at that pair again: it, and what came after, is no longer something to go back to.
    pub fn drop_pairs_from(&mut self, pair: &Pair) {
        if let Some(at) = self.pairs.iter().position(|kept| kept == pair) {
            self.pairs.truncate(at);
        }
    }

    /// The newest pair whose state a version with these epochs can open.
    #[must_use]
    pub fn pair_for(&self, epochs: StateEpochs) -> Option<&Pair> {
        self.pairs.iter().rev().find(|pair| epochs.opens(pair.epoch))
    }

    /// The snapshots that this record needs: no clean-up may take them.
    pub fn snapshots(&self) -> impl Iterator<Item = &Pair> {
        let change = self.trial.as_ref().and_then(|trial| trial.state.as_ref());
        let of_trial = change.into_iter().flat_map(|change| change.saved.iter().chain(&change.restores));
        self.pairs.iter().chain(of_trial).chain(self.restore.iter().map(|restore| &restore.pair))
    }
}
