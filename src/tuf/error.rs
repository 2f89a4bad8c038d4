use super::digests::Mismatch;
use super::fields::FormatError;
use super::metadata::{DelegationError, Expires};

/// Why metadata is not trusted. What was trusted before still is.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Not metadata of that type.
    #[error("the metadata of {role:?} cannot be read: {source}")]
    Format {
        /// The role.
        role: String,
        /// What is wrong, and where.
        source: FormatError,
    },
    /// Too few of the keys that must sign did, or nobody delegates to the role.
    #[error("{0}. Either it was tampered with, or this client's root is too old to know its keys")]
    Delegation(#[from] DelegationError),
    /// Another edition than the one that must come here.
    #[error("the metadata of {role:?} is version {found}, and it must be version {expected}")]
    Version {
        /// The role.
        role: String,
        /// The version that it must have.
        expected: u64,
        /// The version that it has.
        found: u64,
    },
    /// An older edition than one that was trusted before.
    #[error("version {found} of {file} is older than version {trusted}, which was seen before: a rollback is refused")]
    Rollback {
        /// The file.
        file: String,
        /// The version that was trusted.
        trusted: u64,
        /// The version that is offered.
        found: u64,
    },
    /// The new snapshot leaves out a file that the one before named.
    #[error("the new snapshot leaves out {0:?}, which the one before it named")]
    Removed(String),
    /// No longer valid.
    #[error(
        "the metadata of {role:?} expired at {expires}: nothing newer is known to be current. Either the repository is not being kept up, or somebody holds newer metadata back, or this host's clock is wrong"
    )]
    Expired {
        /// The role.
        role: String,
        /// Since when.
        expires: Expires,
    },
    /// Not the bytes that other metadata describes.
    #[error("the metadata of {role:?} is not what was announced: {source}")]
    Mismatch {
        /// The role.
        role: String,
        /// What differs.
        source: Mismatch,
    },
    /// The snapshot does not name the role, so that no edition of it is the current one.
    #[error("the snapshot does not name the role {0:?}")]
    NotInSnapshot(String),
    /// A search has asked as many delegated roles as it may.
    #[error("{path:?} was not found among the first {limit} delegated roles")]
    TooManyRoles {
        /// The target that was searched.
        path: String,
        /// How many roles are asked.
        limit: u32,
    },
}
