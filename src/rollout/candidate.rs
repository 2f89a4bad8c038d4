//! Which version a node goes to where nobody named one.

use super::decision::{Barred, Refusal};
use super::question::{Available, Question, Veto};
use super::waves::{Turn, turn};
use crate::types::{ReleaseTerms, Version};

impl Question<'_> {
    /// The version to go to where nobody named one, with the veto that is on it if all are vetoed.
    ///
    /// It is the newest release that may be gone to from what runs. A release that this node vetoed, or that
    /// its publisher's plan does not let this install have yet, gives way to the one before it. So does one
    /// before which something has to run: nothing above that barrier is gone to, and the barrier itself is.
    pub(super) fn candidate(&self) -> Result<Option<(&Version, Option<&Veto>)>, Refusal> {
        let mut newer: Vec<&Version> = self
            .available
            .iter()
            .filter(|release| self.channel.admits(release.is_prerelease()))
            .map(|release| &release.version)
            .filter(|version| *version > self.running)
            .collect();
        newer.sort_by(|a, b| b.cmp(a));
        let newest = newer.first().copied();
        match self.pin {
            // A pin names its version, so it may be a pre-release.
            Some(pin) if pin > self.running && self.offers(pin) => Ok(Some((pin, self.veto(pin)))),
            Some(pin) if pin > self.running => Err(self.not_offered(pin)),
            Some(pin) => match newest {
                Some(newest) => Err(Refusal::Pinned { version: newest.clone(), to: pin.clone() }),
                None => Ok(None),
            },
            None => Ok(self.best_of(&newer).map(|version| (version, self.veto(version)))),
        }
    }

    /// The best of these, which come newest first.
    fn best_of<'a>(&self, newer: &[&'a Version]) -> Option<&'a Version> {
        let mut ceiling: Option<&Version> = None;
        let (mut waiting, mut blocked) = (None, None);
        for version in newer.iter().copied() {
            if self.veto(version).is_some() || ceiling.is_some_and(|ceiling| version > ceiling) {
                continue;
            }
            let may_come = match self.turn(version) {
                None => true,
                // An operator who asks does not wait for a wave, but for the beginning.
                Some(Turn::From(at)) if at <= self.now || (self.request.is_some() && self.has_begun(version)) => true,
                Some(Turn::From(_)) => false,
                Some(Turn::NotYetIncluded) if self.request.is_some() && self.has_begun(version) => true,
                Some(Turn::Halted | Turn::NotYetIncluded) => continue,
            };
            match (self.needs(version), may_come) {
                (None, true) => return Some(version),
                (None, false) => waiting = waiting.or(Some(version)),
                (Some(_), true) => {
                    blocked = blocked.or(Some(version));
                    ceiling = [ceiling, self.barrier(version)].into_iter().flatten().min();
                }
                (Some(_), false) => {}
            }
        }
        waiting.or(blocked).or(newer.first().copied())
    }

    /// What has to run before `version` can be gone to.
    pub(super) fn needs(&self, version: &Version) -> Option<&Version> {
        self.terms(version)?.first_needs(self.running, version)
    }

    fn barrier(&self, version: &Version) -> Option<&Version> {
        self.terms(version)?.first_barrier(self.running, version)
    }

    /// The refusal because of that.
    pub(super) fn barred(&self, version: &Version) -> Option<Refusal> {
        let needs = self.needs(version)?.clone();
        let (version, running) = (version.clone(), self.running.clone());
        Some(Refusal::Barrier(Barred { offered: self.offers(&needs), version, running, needs }.into()))
    }

    /// When the publisher's plan for `version` lets this install go; `None`: there is no plan.
    pub(super) fn turn(&self, version: &Version) -> Option<Turn> {
        let policy = self.terms(version)?.rollout.as_ref()?;
        Some(turn(policy, self.position, version, self.window))
    }

    /// Whether the publisher's plan for `version` has begun, or there is none.
    pub(super) fn has_begun(&self, version: &Version) -> bool {
        let policy = self.terms(version).and_then(|terms| terms.rollout.as_ref());
        policy.is_none_or(|policy| policy.start() <= self.now)
    }

    pub(super) fn terms(&self, version: &Version) -> Option<&ReleaseTerms> {
        let named = |release: &&Available| release.version == *version;
        self.available.iter().find(named).map(|release| &release.terms)
    }
}
