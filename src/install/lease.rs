use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::binary::Installed;
use super::error::InstallError;
use super::folder::Install;
use super::record;
use crate::sys::{BootClock, BootId};
use crate::types::NodeName;

/// Counts leases and commits of an install; only ever grows. A node whose epoch is not the newest
/// may not commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeaseEpoch(pub(super) u64);

/// The right of one node to try one version, so that a host tries a release once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The node that tries.
    pub owner: NodeName,
    /// What it tries.
    pub candidate: Installed,
    /// Under which boot [`Self::deadline`] counts.
    pub boot: BootId,
    /// When it ends, whatever its owner does.
    pub deadline: BootClock,
    /// Its epoch.
    pub epoch: LeaseEpoch,
}

/// What asking for the lease brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// This node may try.
    Mine(LeaseEpoch),
    /// A sibling is trying.
    Held {
        /// Who.
        by: NodeName,
        /// What.
        candidate: Installed,
        /// For how long at most.
        remaining: Duration,
    },
}

/// No lease is believed for longer: a forged one can only delay, and only for so long.
const LONGEST: Duration = Duration::from_hours(24);

impl Lease {
    /// For how long it still holds; `None`: it does not.
    pub(super) fn remaining(&self, now: BootClock) -> Option<Duration> {
        let remaining = now.until(self.deadline);
        (self.boot == BootId::current() && !remaining.is_zero() && remaining <= LONGEST).then_some(remaining)
    }
}

const FILE: &str = "lease.json";

impl Install {
    /// Asks for the right to try `candidate` for at most `span`.
    pub fn acquire_lease(
        &self,
        node: &NodeName,
        candidate: &Installed,
        span: Duration,
    ) -> Result<LeaseOutcome, InstallError> {
        let _lock = self.lock()?;
        let now = BootClock::now();
        // A damaged lease is no lease; its epoch is made up for by the state's.
        let standing: Option<Lease> = record::read(self.dir(), FILE).unwrap_or(None);
        if let Some(lease) = standing.as_ref().filter(|lease| lease.owner != *node)
            && let Some(remaining) = lease.remaining(now)
        {
            let (by, candidate) = (lease.owner.clone(), lease.candidate.clone());
            return Ok(LeaseOutcome::Held { by, candidate, remaining });
        }
        let mut state = self.state()?;
        let newest = standing.map_or(0, |lease| lease.epoch.0).max(state.epoch);
        // Guards against forged epochs at the end of the number range.
        let epoch = LeaseEpoch(newest.checked_add(1).or(state.epoch.checked_add(1)).unwrap_or(1));
        state.epoch = epoch.0;
        self.write_state(&state)?;
        let deadline = now.after(span.min(LONGEST));
        let lease =
            Lease { owner: node.clone(), candidate: candidate.clone(), boot: BootId::current(), deadline, epoch };
        record::write(self.dir(), FILE, &lease)?;
        Ok(LeaseOutcome::Mine(epoch))
    }

    /// Gives the lease back, if it is still this one.
    pub fn release_lease(&self, epoch: LeaseEpoch) -> Result<(), InstallError> {
        let _lock = self.lock()?;
        if self.lease_is(epoch) {
            self.dir().remove(FILE)?;
            self.dir().sync()?;
        }
        Ok(())
    }

    /// Takes back whatever lease this node still has from before a kill. For its own launcher at its
    /// start: nobody else may try for this node then.
    pub fn drop_leases_of(&self, node: &NodeName) -> Result<(), InstallError> {
        match self.standing_lease() {
            Some(lease) if lease.owner == *node => self.release_lease(lease.epoch),
            _ => Ok(()),
        }
    }

    /// The lease of a sibling that tries a version just now, if one does.
    #[must_use]
    pub fn lease_of_sibling(&self, node: &NodeName) -> Option<Lease> {
        self.standing_lease().filter(|lease| lease.owner != *node && lease.remaining(BootClock::now()).is_some())
    }

    /// The lease that stands, whoever holds it, whether or not it has ended.
    fn standing_lease(&self) -> Option<Lease> {
        record::read(self.dir(), FILE).unwrap_or(None)
    }

    /// Whether the newest lease is the one of that epoch. Call it under the lock.
    pub(super) fn lease_is(&self, epoch: LeaseEpoch) -> bool {
        self.standing_lease().is_some_and(|lease| lease.epoch == epoch)
    }
}
