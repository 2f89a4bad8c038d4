use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Product, Target, Version};

/// What a signature is bound to: which product, which version of it, built for which target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReleaseId {
    /// The product.
    pub product: Product,
    /// The version.
    pub version: Version,
    /// The exact target triple.
    pub target: Target,
}

impl ReleaseId {
    /// Another version of the same product, for the same target.
    #[must_use]
    pub fn with_version(&self, version: &Version) -> Self {
        Self { version: version.clone(), ..self.clone() }
    }

    /// The stem of the archive's file name: `<product>-<target>`.
    #[must_use]
    pub fn asset_stem(&self) -> String {
        format!("{}-{}", self.product, self.target)
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} for {}", self.product, self.version, self.target)
    }
}
