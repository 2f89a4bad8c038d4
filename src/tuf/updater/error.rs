use std::io;

use crate::sys::SysError;
use crate::tuf::digests::Mismatch;
use crate::tuf::error::MetadataError;
use crate::types::ByteLimit;

/// Why an update or a download ended early. What was verified before is stored, and stays trusted;
/// nothing else was kept.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E: std::error::Error + 'static> {
    /// Metadata is not to be trusted.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The repository did not answer properly.
    #[error("cannot fetch {file}: {source}")]
    Download {
        /// The file.
        file: String,
        /// Why not.
        source: E,
    },
    /// The repository says that it has no such file, and there has to be one.
    #[error("the repository has no {file}, which its own metadata names; it may be being published just now")]
    Absent {
        /// The file.
        file: String,
    },
    /// A file that does not end where it must.
    #[error("{file} is longer than {limit}; it was cut off")]
    TooLong {
        /// The file.
        file: String,
        /// What is accepted.
        limit: ByteLimit,
    },
    /// A target that is not the described one.
    #[error("the target {path:?} is not the one that the metadata describes: {source}. It was thrown away")]
    Target {
        /// The target.
        path: String,
        /// What differs.
        source: Mismatch,
    },
    /// A target cannot be written.
    #[error("the target cannot be written: {0}")]
    Write(#[source] io::Error),
    /// Metadata cannot be stored or read.
    #[error(transparent)]
    Storage(#[from] SysError),
}
