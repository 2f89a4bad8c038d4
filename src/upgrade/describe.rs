use serde::{Deserialize, Serialize};

use crate::types::{Overlap, Product, ReleaseId, Target, Version};

/// What a program says about itself (`self-describe --json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfDescription {
    /// The product.
    pub product: Product,
    /// Its version.
    pub version: Version,
    /// What it was built for.
    pub target: Target,
    /// The launcher protocol that it speaks.
    pub protocol: u32,
    /// Whether its worker may run beside another version's.
    #[serde(default)]
    pub overlap: Overlap,
}

impl SelfDescription {
    /// Whether it is what its signature says it is.
    #[must_use]
    pub fn is(&self, id: &ReleaseId) -> bool {
        self.product == id.product && self.version == id.version && self.target == id.target
    }
}
