use serde::{Deserialize, Serialize};

use crate::rollout::Pause;
use crate::types::{NodeName, Version};

/// What operators decided for this install. It is shared by the nodes that share the binary:
/// otherwise one node's upgrade would undo another's pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The one version that may be run.
    #[serde(default)]
    pub pin: Option<Version>,
    /// The pin that a downgrade or rollback replaced, for the case that it does not come about.
    #[serde(default)]
    pub(super) pin_before_trial: Option<Version>,
    /// The node whose downgrade or rollback set the pin, until it is known what came of that.
    #[serde(default)]
    pub(super) pinned_by: Option<NodeName>,
    /// No upgrade by itself for now.
    #[serde(default)]
    pub pause: Option<Pause>,
    /// Random, made once: this install's place in every rollout window.
    pub position: String,
}

impl Policy {
    /// What an operator says holds, whatever a trial meant to do.
    pub fn set_pin(&mut self, pin: Option<Version>) {
        self.pin = pin;
        (self.pin_before_trial, self.pinned_by) = (None, None);
    }

    /// Pins the version of a downgrade or rollback, before its trial: once it runs, it must not look
    /// for a newer one at once.
    pub fn pin_for_trial(&mut self, version: Version, node: NodeName) {
        if self.pin.as_ref() != Some(&version) {
            self.pin_before_trial = self.pin.replace(version);
            self.pinned_by = Some(node);
        }
    }

    /// Whether it is open what became of the downgrade or rollback for which that node pinned a version.
    #[must_use]
    pub fn awaits_trial_of(&self, node: &NodeName) -> bool {
        self.pinned_by.as_ref() == Some(node)
    }

    /// No trial of that node is due or under way any more: the pin stays where it arrived. Otherwise
    /// what was pinned before is pinned again, whether the trial failed or a kill came before it.
    pub fn settle_pin_for_trial(&mut self, node: &NodeName, running: &Version) {
        if self.awaits_trial_of(node) {
            let before = self.pin_before_trial.take();
            let pin = if self.pin.as_ref() == Some(running) { self.pin.take() } else { before };
            self.set_pin(pin);
        }
    }

    pub(super) fn new() -> Self {
        let mut random = [0; 16];
        // Without randomness the position is the same everywhere: a worse rollout, not a wrong one.
        getrandom::fill(&mut random).ok();
        Self { pin: None, pin_before_trial: None, pinned_by: None, pause: None, position: hex::encode(random) }
    }
}
