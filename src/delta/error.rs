use std::io;

use crate::sys::SysError;
use crate::types::ReleaseId;

/// Why a patch made nothing. Nothing is left behind in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// No pinned key signed these bytes as a patch for this release from this base.
    #[error(
        "it was not signed by a trusted release key as a patch that makes {id} from this base; it was tampered with, or belongs to another release or base"
    )]
    NotSigned {
        /// The release that the patch had to make.
        id: Box<ReleaseId>,
    },
    /// Signed, and not of this format.
    #[error("it is signed, and yet not a patch of a format that this build knows")]
    NotAPatch,
    /// Made for a base of another length.
    #[error("it was made for a base of {stated} bytes, and this one has {found}")]
    WrongBase {
        /// Length that the patch states.
        stated: u64,
        /// Length of the base.
        found: u64,
    },
    /// Makes nothing, or more than the limit.
    #[error("it would make {length} bytes, and 1 to {limit} are accepted")]
    Result {
        /// Length that the patch states.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// The lengths that it states of its streams do not fit the result.
    #[error("the lengths that it states disagree; it looks like a bomb")]
    Lengths,
    /// A stream cannot be decompressed, or needs a window of more than 4 MiB.
    #[error("it cannot be decompressed: {0}")]
    Compression(#[source] io::Error),
    /// Ends before the result is made, or before it has the lengths that it states.
    #[error("it ends early")]
    Truncated,
    /// Makes more than it states.
    #[error("it makes more than it states")]
    Overlong,
    /// Goes on behind the last instruction, or behind one of its streams.
    #[error("data follows its end")]
    DataAfter,
    /// A number that no patch needs so many bytes for.
    #[error("one of its numbers is malformed")]
    Number,
    /// An instruction that makes nothing.
    #[error("one of its instructions does nothing")]
    Idle,
    /// An instruction that reaches outside the base.
    #[error("one of its instructions reaches outside the base")]
    OutsideBase,
    /// The file of a patch cannot be read, or became shorter while it was copied.
    #[error("it cannot be read: {0}")]
    Source(#[source] io::Error),
    /// The patch or the base cannot be read, or the result not be written.
    #[error("a private copy fails: {0}. Look at the space and the health of the staging folder's disk")]
    Copy(#[source] io::Error),
    /// The staging folder refuses.
    #[error(transparent)]
    Staging(#[from] SysError),
}
