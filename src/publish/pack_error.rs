use std::io;
use std::path::PathBuf;

use super::listing::ListingError;
use super::sums::SumsError;
use crate::archive::ArchiveError;
use crate::console::{Exit, ToolError};
use crate::crypto::SignError;
use crate::delta::PatchError;
use crate::sys::SysError;

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The file system says no.
    #[error("{0}. Nothing was published.")]
    Storage(#[from] SysError),
    /// A binary of no bytes.
    #[error("{} is empty; nothing was published", .0.display())]
    Empty(PathBuf),
    /// The binary changed while it was read.
    #[error("{} changed while it was being packed; nothing was published. Pack it when its writer is done.", .0.display())]
    Changed(PathBuf),
    /// A level that the format does not have.
    #[error("level {0} is outside 1 to {1} for this format; nothing was published")]
    Level(u32, u32),
    /// Reading, compressing or writing failed.
    #[error("cannot make the archive of {}: {source}. Nothing was published.", path.display())]
    Archive {
        /// The binary.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading a tar or writing a patch failed.
    #[error("cannot make a patch: {0}. Nothing was published.")]
    Patch(#[source] io::Error),
    /// A node would not use a patch.
    #[error(
        "nodes would refuse a patch that was just made, so nothing was published: {0}. Publish without patches (--patches 0)"
    )]
    Unusable(#[source] PatchError),
    /// No signature could be made.
    #[error("{0}. Nothing was published.")]
    Sign(SignError),
    /// A node would not install it.
    #[error("nodes would refuse this archive, so nothing was published: {0}")]
    Refused(#[from] ArchiveError),
    /// A node would not download it.
    #[error("the archive is {length} bytes long, and nodes download at most {limit}; nothing was published")]
    TooLong {
        /// Length of the archive.
        length: u64,
        /// What nodes allow unless they are told otherwise.
        limit: u64,
    },
    /// The archive does not hold the binary.
    #[error("the archive does not give the binary back, so nothing was published: this machine computes wrongly")]
    Faulty,
    /// The listing does not take the release.
    #[error("{} was left as it is: {source}", path.display())]
    Listing {
        /// The listing.
        path: PathBuf,
        /// Why.
        source: ListingError,
    },
    /// The version's `SHA256SUMS` cannot be extended.
    #[error("{} was left as it is: {source}", path.display())]
    Sums {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SumsError,
    },
    /// The same archive is published, and its files are not what its publisher left there.
    #[error(
        "{} is published already, but what lies there is not the archive that the listing names, signed by this key. \
         Nothing was changed. Check the tree with `exuvia-release verify` and the key that signed it.",
        .0.display()
    )]
    PublishedOtherwise(PathBuf),
    /// Another run is publishing into the same folder.
    #[error("another run is publishing into {}; nothing was published. Try again when it is done.", .0.display())]
    Busy(PathBuf),
}

impl ToolError for PackError {
    fn exit(&self) -> Exit {
        match self {
            Self::Storage(_)
            | Self::Changed(_)
            | Self::Archive { .. }
            | Self::Patch(_)
            | Self::Sign(SignError::Read(_)) => Exit::Storage,
            Self::Sign(_) | Self::Faulty | Self::Unusable(_) => Exit::Unexpected,
            Self::Refused(ArchiveError::Copy(_) | ArchiveError::Staging(_)) => Exit::Storage,
            Self::Refused(_) | Self::TooLong { .. } => Exit::Verification,
            Self::Empty(_) | Self::Level(..) => Exit::Usage,
            Self::Listing { .. } | Self::Sums { .. } | Self::PublishedOtherwise(_) => Exit::Verification,
            Self::Busy(_) => Exit::Busy,
        }
    }
}
