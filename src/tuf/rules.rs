use crate::types::ByteLimit;

use super::metadata::{KeyPolicy, MetaFile, RoleType};

/// By what metadata is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whose signatures may count.
    pub policy: KeyPolicy,
    /// How much of anything there may be.
    pub limits: Limits,
}

impl Rules {
    /// For a product's own metadata.
    #[must_use]
    pub fn own() -> Self {
        Self { policy: KeyPolicy::MlDsa, limits: Limits::default() }
    }
}

/// How much metadata there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest root.
    pub root: ByteLimit,
    /// The longest timestamp. Three ML-DSA-65 signatures alone take 20 KB.
    pub timestamp: ByteLimit,
    /// The longest snapshot.
    pub snapshot: ByteLimit,
    /// The longest targets file.
    pub targets: ByteLimit,
    /// How many new roots one update fetches. The next update goes on from there.
    pub root_rotations: u32,
    /// How many delegated roles one search asks.
    pub delegated_roles: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root: ByteLimit::mib(1),
            timestamp: ByteLimit::kib(64),
            snapshot: ByteLimit::mib(2),
            targets: ByteLimit::mib(5),
            root_rotations: 256,
            delegated_roles: 32,
        }
    }
}

impl Limits {
    /// The longest file of that type.
    #[must_use]
    pub fn of(&self, kind: RoleType) -> ByteLimit {
        match kind {
            RoleType::Root => self.root,
            RoleType::Timestamp => self.timestamp,
            RoleType::Snapshot => self.snapshot,
            RoleType::Targets => self.targets,
        }
    }

    /// The longest that a file may be which other metadata describes: as long as it says, and never
    /// longer than others of its type.
    #[must_use]
    pub fn of_described(&self, kind: RoleType, described: &MetaFile) -> ByteLimit {
        match described.length {
            Some(length) if length > 0 => self.of(kind).min(ByteLimit::bytes(length)),
            _ => self.of(kind),
        }
    }
}
