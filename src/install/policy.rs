use serde::{Deserialize, Serialize};

use crate::rollout::Pause;
use crate::types::Version;

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
    /// No upgrade by itself for now.
    #[serde(default)]
    pub pause: Option<Pause>,
    /// Random, made once: this install's place in every rollout window.
    pub position: String,
}

impl Policy {
    /// Pins the version of a downgrade or rollback, before its trial: once it runs, it must not look
    /// for a newer one at once.
    pub fn pin_for_trial(&mut self, version: Version) {
        if self.pin.as_ref() != Some(&version) {
            self.pin_before_trial = self.pin.replace(version);
        }
    }

    /// The trial of that version failed: what was pinned before is pinned again, unless an operator
    /// has decided otherwise meanwhile.
    pub fn undo_pin_for_trial(&mut self, version: &Version) {
        if self.pin.as_ref() == Some(version) {
            self.pin = self.pin_before_trial.take();
        }
    }

    pub(super) fn new() -> Self {
        let mut random = [0; 16];
        // Without randomness the position is the same everywhere: a worse rollout, not a wrong one.
        getrandom::fill(&mut random).ok();
        Self { pin: None, pin_before_trial: None, pause: None, position: hex::encode(random) }
    }
}
