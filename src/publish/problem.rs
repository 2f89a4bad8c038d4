use std::fmt;

use crate::archive::ArchiveError;
use crate::crypto::SignatureLength;
use crate::delta::PatchError;
use crate::fetch::{AssetError, SkipReason};
use crate::sys::SysError;
use crate::types::{Sha256Digest, Version};

use super::sums::SumsError;

/// Something in a published tree that a node, or a person with `sha256sum`, would stumble over.
#[derive(Debug)]
pub struct Problem {
    /// Where: a path in the tree, or a tag of the listing.
    pub at: String,
    /// What.
    pub reason: Reason,
}

/// What is wrong with a published release.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Nodes leave the entry out.
    #[error("nodes skip this entry of the listing: {0}")]
    Skipped(SkipReason),
    /// A release without an archive.
    #[error("the release lists no archive (.tar.zst or .tar.gz)")]
    NoArchive,
    /// An archive whose name begins with no known product.
    #[error("its name is not <product>-<target> for a known product; name the product with --product")]
    UnknownProduct,
    /// A node for this target finds none, or more than one.
    #[error(transparent)]
    Choice(#[from] AssetError),
    /// The listing's address does not lead to the file.
    #[error("the listing gives it the address {0:?}, which does not end with its place in the tree")]
    Address(String),
    /// The file cannot be read.
    #[error(transparent)]
    Storage(#[from] SysError),
    /// The listing states another length.
    #[error("the listing says {listed} bytes, the file has {found}")]
    Size {
        /// Length in the listing.
        listed: u64,
        /// Length of the file.
        found: u64,
    },
    /// A digest does not belong to the file.
    #[error("{stated_by} says SHA-256 {stated}, the file has {found}")]
    Digest {
        /// Where the digest stands.
        stated_by: &'static str,
        /// The digest that stands there.
        stated: Sha256Digest,
        /// The file's digest.
        found: Sha256Digest,
    },
    /// The signature file is none.
    #[error("{0}")]
    SignatureLength(#[from] SignatureLength),
    /// A node refuses the archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The signature over the uncompressed tar does not hold.
    #[error("it was not made by any of the named keys for the tar inside the archive")]
    TarSignature,
    /// A node refuses the patch.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The tree does not list what the patch begins with.
    #[error("it begins with version {0}, of which the tree lists no archive for this target")]
    NoBase(Version),
    /// What the patch begins with does not hold itself.
    #[error("what it begins with does not hold: {0}")]
    Base(String),
    /// The patch begins with something else.
    #[error("it begins with another tar than that of the listed archive of version {0}")]
    OtherBase(Version),
    /// The patch makes something else.
    #[error("it makes another tar than the one inside the archive")]
    OtherResult,
    /// The listing has no signature over the uncompressed tar.
    #[error("the listing does not name it")]
    NotListed,
    /// `SHA256SUMS` is malformed.
    #[error("{0}")]
    Sums(#[from] SumsError),
    /// `SHA256SUMS` leaves the archive out.
    #[error("SHA256SUMS does not name it")]
    NotSummed,
    /// `SHA256SUMS` names a file that is no archive of this release.
    #[error("it names {0:?}, which the listing does not")]
    SummedOnly(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.reason)
    }
}
