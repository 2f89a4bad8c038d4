use serde::{Deserialize, Serialize};

use crate::launcher::Dialect;
use crate::types::{Overlap, Product, ReleaseId, StateEpochs, Target, Version};

/// What a program says about itself (`self-describe --json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfDescription {
    /// The product.
    pub product: Product,
    /// Its version.
    pub version: Version,
    /// What it was built for.
    pub target: Target,
    /// The newest launcher protocol that it speaks; see [`Dialect`].
    pub protocol: u32,
    /// The oldest one that it understands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_protocol: Option<u32>,
    /// Whether its worker may run beside another version's.
    #[serde(default)]
    pub overlap: Overlap,
    /// The epochs of the job's state that it understands; `None`: it keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateEpochs>,
}

impl SelfDescription {
    /// The launcher protocols that it understands.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        Dialect::of_peer(self.protocol, self.oldest_protocol)
    }

    /// Whether it is what its signature says it is.
    #[must_use]
    pub fn is(&self, id: &ReleaseId) -> bool {
        self.product == id.product && self.version == id.version && self.target == id.target
    }
}
