use std::io;

use super::vcdiff::VcdiffError;
use crate::archive::ForeignError;
use crate::console::{Exit, ToolError};
use crate::publish::PackError;
use crate::publish::repo::PlaceError;
use crate::sys::SysError;
use crate::types::ByteLimit;

/// Why an object did not become a release. Nothing of it was published.
#[derive(Debug, thiserror::Error)]
pub enum Unrecovered {
    /// Nothing says what it must be.
    #[error(
        "it has no metadata of DeltaGlider, so nothing says what it must be. Copy it with its metadata, or pack the release from its binary"
    )]
    NoMetadata,
    /// The file beside it is not JSON with the member `Metadata`.
    #[error("the file with its metadata is not one: a JSON object with texts in its member Metadata is needed")]
    Sidecar,
    /// A member that every object of its kind has.
    #[error("its metadata lack {0}")]
    Missing(&'static str),
    /// A member with another form.
    #[error("its metadata state no {0} that can be meant")]
    Malformed(&'static str),
    /// Metadata of another object.
    #[error("its metadata belong to \"{0}\"")]
    OtherName(String),
    /// More than any release has.
    #[error("it would be {length} bytes long, and at most {limit} are accepted")]
    TooLong {
        /// Length that its metadata state, in bytes.
        length: u64,
        /// The limit.
        limit: ByteLimit,
    },
    /// The object was there a moment ago.
    #[error("it is gone")]
    Gone,
    /// Its reference is lost, and with it every delta of that folder.
    #[error(
        "its delta begins with the reference.bin beside it, and there is none. Look for it in a backup, or among the bucket's old versions"
    )]
    NoReference,
    /// The reference was replaced or damaged.
    #[error(
        "the reference.bin beside it is not the one that its delta begins with (dg-ref-sha256). Look for that one in a backup, or among the bucket's old versions"
    )]
    OtherReference,
    /// The delta makes nothing.
    #[error(transparent)]
    Delta(#[from] VcdiffError),
    /// What came out is another file.
    #[error(
        "what comes out is not what its metadata state (dg-file-sha256, dg-file-size): it was changed or damaged, or DeltaGlider could not keep it"
    )]
    OtherContent,
    /// It is no archive with the program in it.
    #[error(transparent)]
    Archive(#[from] ForeignError),
    /// It cannot be published.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Where it lies cannot be read.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A private copy cannot be made.
    #[error(transparent)]
    Scratch(#[from] SysError),
    /// A private copy cannot be read or written.
    #[error("a private copy fails: {0}. Look at the space in the folder for temporary files (TMPDIR)")]
    Copy(#[source] io::Error),
}

impl ToolError for Unrecovered {
    fn exit(&self) -> Exit {
        match self {
            Self::Pack(error) => error.exit(),
            Self::Place(error) => error.exit(),
            Self::Scratch(_) | Self::Copy(_) | Self::Delta(VcdiffError::Copy(_)) => Exit::Storage,
            Self::Archive(ForeignError::Copy(_) | ForeignError::Scratch(_)) => Exit::Storage,
            _ => Exit::Verification,
        }
    }
}
