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
    /// No upgrade by itself for now.
    #[serde(default)]
    pub pause: Option<Pause>,
    /// Random, made once: this install's place in every rollout window.
    pub position: String,
}

impl Policy {
    pub(super) fn new() -> Self {
        let mut random = [0; 16];
        // Without randomness the position is the same everywhere: a worse rollout, not a wrong one.
        getrandom::fill(&mut random).ok();
        Self { pin: None, pause: None, position: hex::encode(random) }
    }
}
