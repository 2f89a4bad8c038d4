//! The four kinds of metadata file: read, changed, signed, verified, written.
//!
//! Guarantees, against whoever serves a file:
//! - what is signed is the canonical form of what was received, members that nobody knows included;
//! - a file that two readers could take for different things is refused: names that stand twice,
//!   numbers that are no integers, times and versions in another spelling;
//! - a key counts once, whatever it is called; one that cannot be used never counts, and never stands
//!   in the way of those that can;
//! - length and depth are bounded before anything is built.

#[cfg(feature = "tuf-interop")]
mod classic;
mod delegated_role;
mod delegations;
mod delegator;
mod file;
mod head;
mod key;
mod meta_file;
mod path_pattern;
mod role;
mod root;
mod scheme;
mod signature;
mod signer;
mod snapshot;
mod succinct;
mod target_file;
mod targets;
#[cfg(all(test, feature = "tools"))]
mod tests;
mod timestamp;
mod verification;

pub use delegated_role::{DelegatedPaths, DelegatedRole};
pub use delegations::{DelegatedTo, Delegations};
pub use delegator::{DelegationError, Delegator, EditError};
pub use file::{AnyMetadata, Metadata, ReadError, WriteError};
pub use head::{Expires, Head, RoleVersion, SpecVersion};
pub use key::Key;
pub use meta_file::MetaFile;
pub use path_pattern::matches_pattern;
pub use role::Role;
pub use root::{NotSequential, Root};
pub use scheme::KeyPolicy;
pub use signature::{Signature, Signatures};
#[cfg(feature = "tools")]
pub use signer::MlDsaSigner;
pub use signer::{Signer, SignerError};
pub use snapshot::Snapshot;
pub use succinct::SuccinctRoles;
pub use target_file::TargetFile;
pub use targets::Targets;
pub use timestamp::Timestamp;
pub use verification::{Answer, RootVerificationResult, VerificationResult};

/// The roles of the top level, which are also the four types of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleType {
    /// Says who signs for the four.
    Root,
    /// Says which snapshot is current.
    Timestamp,
    /// Says which targets files belong together.
    Snapshot,
    /// Says which files there are. The type of delegated roles, too.
    Targets,
}

impl RoleType {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Root, Self::Timestamp, Self::Snapshot, Self::Targets];

    /// Its name in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }
}

impl std::fmt::Display for RoleType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a file's `signed` member may hold: one of the four types.
pub trait Signed: sealed::SignedPart + Clone + PartialEq + std::fmt::Debug {
    /// Which one.
    const TYPE: RoleType;

    /// Version and expiry.
    fn head(&self) -> &Head;

    /// Version and expiry, to be changed.
    fn head_mut(&mut self) -> &mut Head;
}

mod sealed {
    use crate::tuf::fields::{Fields, FormatError};
    use crate::tuf::json::Object;

    pub trait Sealed {}

    /// How a signed part is read and written.
    pub trait SignedPart: Sized {
        #[doc(hidden)]
        fn read(head: super::Head, fields: Fields) -> Result<Self, FormatError>;

        #[doc(hidden)]
        fn write(&self) -> Object;
    }
}
