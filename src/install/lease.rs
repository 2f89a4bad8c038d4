use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::binary::Installed;
use super::error::InstallError;
use super::folder::Install;
use super::record;
use crate::sys::{BootClock, BootId};
use crate::types::{NodeName, Version};

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
    Mine {
        /// Under this epoch.
        epoch: LeaseEpoch,
        /// The sibling whose lease ended without being given back: it was stopped, or is stuck.
        after: Option<NodeName>,
    },
    /// Siblings are trying.
    Held {
        /// Who.
        by: NodeName,
        /// What.
        candidate: Installed,
        /// For how long at most, until the first of them is through.
        remaining: Duration,
    },
}

/// No lease is believed for longer: a forged one can only delay, and only for so long.
const LONGEST: Duration = Duration::from_hours(24);

impl Lease {
    /// For how long it still holds; `None`: it does not.
    pub(super) fn remaining(&self, now: BootClock) -> Option<Duration> {
        let remaining = now.until(self.deadline);
        (self.is_of_this_boot() && !remaining.is_zero() && remaining <= LONGEST).then_some(remaining)
    }

    /// Whether it claims more time than any lease can have.
    pub(super) fn claims_too_much(&self, now: BootClock) -> bool {
        self.is_of_this_boot() && now.until(self.deadline) > LONGEST
    }

    fn is_of_this_boot(&self) -> bool {
        self.boot == BootId::current()
    }
}

const FILE: &str = "lease.json";

/// The leases that stand: at least one, or there is no file. Several only where siblings follow to
/// what is committed already. Versions that know of one lease read the first.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Standing {
    #[serde(flatten)]
    pub(super) first: Lease,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) beside: Vec<Lease>,
}

impl Install {
    /// Asks for the right to try `candidate` for at most `span`. A version that nobody has proved is
    /// tried by one node alone. Once it is committed, `at_once` nodes may follow to it at a time.
    pub fn acquire_lease(
        &self,
        node: &NodeName,
        candidate: &Installed,
        span: Duration,
        at_once: u8,
    ) -> Result<LeaseOutcome, InstallError> {
        let _lock = self.lock()?;
        let now = BootClock::now();
        let mut state = self.state()?;
        // A damaged lease is no lease; its epoch is made up for by the state's.
        let standing = self.leases().unwrap_or_default();
        let newest = standing.iter().map(|lease| lease.epoch.0).fold(state.epoch, u64::max);
        let (mut held, ended): (Vec<_>, Vec<_>) =
            standing.into_iter().filter(|lease| lease.owner != *node).partition(|lease| lease.remaining(now).is_some());
        let follows = state.committed == *candidate && held.iter().all(|lease| lease.candidate == *candidate);
        if let Some((lease, remaining)) = in_the_way(&held, follows, at_once, now) {
            let (by, candidate) = (lease.owner.clone(), lease.candidate.clone());
            return Ok(LeaseOutcome::Held { by, candidate, remaining });
        }
        // Guards against forged epochs at the end of the number range.
        let epoch = LeaseEpoch(newest.checked_add(1).or(state.epoch.checked_add(1)).unwrap_or(1));
        state.epoch = epoch.0;
        self.write_state(&state)?;
        let deadline = now.after(span.min(LONGEST));
        held.push(Lease {
            owner: node.clone(),
            candidate: candidate.clone(),
            boot: BootId::current(),
            deadline,
            epoch,
        });
        self.write_leases(held)?;
        Ok(LeaseOutcome::Mine { epoch, after: ended.into_iter().next().map(|lease| lease.owner) })
    }

    /// Gives this lease `span` from now. `false`: it is lost, and stays so.
    pub fn extend_lease(&self, epoch: LeaseEpoch, span: Duration) -> Result<bool, InstallError> {
        let _lock = self.lock()?;
        let mut leases = self.leases().unwrap_or_default();
        let Some(lease) = leases.iter_mut().find(|lease| lease.epoch == epoch) else { return Ok(false) };
        lease.deadline = BootClock::now().after(span.min(LONGEST));
        self.write_leases(leases)?;
        Ok(true)
    }

    /// Gives the lease back, if it still stands.
    pub fn release_lease(&self, epoch: LeaseEpoch) -> Result<(), InstallError> {
        let _lock = self.lock()?;
        if self.lease_is(epoch) {
            let mut leases = self.leases().unwrap_or_default();
            leases.retain(|lease| lease.epoch != epoch);
            self.write_leases(leases)?;
        }
        Ok(())
    }

    /// Takes back whatever lease this node still has from before a kill. For its own launcher at its
    /// start: nobody else may try for this node then.
    pub fn drop_leases_of(&self, node: &NodeName) -> Result<(), InstallError> {
        match self.leases().unwrap_or_default().into_iter().find(|lease| lease.owner == *node) {
            Some(lease) => self.release_lease(lease.epoch),
            None => Ok(()),
        }
    }

    /// The lease of a sibling that keeps this node from trying `version` just now, if there is one.
    #[must_use]
    pub fn lease_in_the_way(&self, node: &NodeName, version: &Version, at_once: u8) -> Option<Lease> {
        let held = self.leases_of_siblings(node);
        let committed = self.committed().ok().flatten();
        let follows = committed.is_some_and(|committed| committed.version == *version)
            && held.iter().all(|lease| lease.candidate.version == *version);
        in_the_way(&held, follows, at_once, BootClock::now()).map(|(lease, _)| lease.clone())
    }

    /// The leases that other nodes hold now.
    #[must_use]
    pub fn leases_of_siblings(&self, node: &NodeName) -> Vec<Lease> {
        let now = BootClock::now();
        let mut held = self.leases().unwrap_or_default();
        held.retain(|lease| lease.owner != *node && lease.remaining(now).is_some());
        held
    }

    /// Every lease in the file, whoever holds it, whether or not it has ended.
    pub(super) fn leases(&self) -> Result<Vec<Lease>, InstallError> {
        let standing: Option<Standing> = record::read(self.dir(), FILE)?;
        Ok(standing.into_iter().flat_map(|Standing { first, beside }| std::iter::once(first).chain(beside)).collect())
    }

    fn write_leases(&self, leases: Vec<Lease>) -> Result<(), InstallError> {
        let mut leases = leases.into_iter();
        match leases.next() {
            Some(first) => record::write(self.dir(), FILE, &Standing { first, beside: leases.collect() })?,
            None => {
                self.dir().remove(FILE)?;
                self.dir().sync()?;
            }
        }
        Ok(())
    }

    /// Whether a lease of that epoch stands. Call it under the lock. Only one may stand for a version
    /// that is not committed yet, so that none but its holder can change what is.
    pub(super) fn lease_is(&self, epoch: LeaseEpoch) -> bool {
        self.leases().is_ok_and(|leases| leases.iter().any(|lease| lease.epoch == epoch))
    }
}

/// Of the siblings' leases the first to end, if they leave no room for one more.
fn in_the_way(held: &[Lease], follows: bool, at_once: u8, now: BootClock) -> Option<(&Lease, Duration)> {
    if held.is_empty() || (follows && held.len() < usize::from(at_once)) {
        return None;
    }
    let timed = held.iter().filter_map(|lease| Some((lease, lease.remaining(now)?)));
    timed.min_by_key(|(_, remaining)| *remaining)
}
