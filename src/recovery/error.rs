use std::io;
use std::path::PathBuf;

use crate::console::{Exit, ToolError};
use crate::sys::SysError;

/// Why another system's file was not recovered. Nothing was written in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A file or folder cannot be reached, or must not be believed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The input cannot be read.
    #[error("the input cannot be read: {0}; nothing was written")]
    Read(#[source] io::Error),
    /// The output cannot be written.
    #[error("cannot write {}: {source}; nothing was left there. Look at the space and the health of its disk", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something is there already, or a database's log lies in wait for it.
    #[error("{} exists already, and nothing is replaced; nothing was written. Name another file", .0.display())]
    Exists(PathBuf),
    /// A key of another length.
    #[error("{} is no key: 32 bytes are needed, raw or as 64 hexadecimal digits", .0.display())]
    Key(PathBuf),
    /// A frame's length is outside 28 to 1,048,604 bytes.
    #[error(
        "a frame states {0} bytes, and 28 to 1048604 are possible: damaged, or not a Backupy stream; nothing was written"
    )]
    FrameLength(u32),
    /// A frame that this key did not make, or not so.
    #[error("frame {0} does not open with this key: another key, or changed bytes; nothing was written")]
    Frame(u64),
    /// The stream has no end.
    #[error("the stream ends in the middle; nothing was written. Fetch it again")]
    Truncated,
    /// Bytes behind the end.
    #[error("something follows the end of the stream; nothing was written")]
    Trailing,
    /// The stream is another one than the caller named.
    #[error("the stream is not the one that --sha256 names; nothing was written")]
    OtherStream,
    /// More than the caller's limit.
    #[error("it would be longer than {0} bytes; nothing was written. --max-size allows more")]
    TooLong(u64),
    /// Not Zstandard or gzip, or damaged.
    #[error("it cannot be decompressed: {0}; nothing was written")]
    Compression(#[source] io::Error),
    /// Not a JSON array of keys.
    #[error("{} is no list of trusted keys: a JSON array of base64url Ed25519 keys is needed, at least one", .0.display())]
    TrustList(PathBuf),
    /// Not a tar whose first entry is a manifest.
    #[error("it is not a stigmem snapshot: {0}; nothing was written")]
    NotStigmem(&'static str),
    /// Its manifest is not one.
    #[error("its manifest is not one of version 1: {0}; nothing was written")]
    Manifest(#[source] serde_json::Error),
    /// Its manifest has another version.
    #[error("its manifest has the version {0}, and 1 is known; nothing was written")]
    Version(u64),
    /// No trusted key signed it.
    #[error(
        "its key is not in the list of trusted keys; nothing was written. A manifest never vouches for its own key"
    )]
    NotTrusted,
    /// The signature does not hold.
    #[error("its signature does not hold: it was changed after it was signed; nothing was written")]
    Signature,
    /// Not exactly the two declared artifacts.
    #[error(
        "its manifest must state artifacts/stigmem.db and artifacts/schema_migration_cursor.json, and nothing else; nothing was written"
    )]
    Artifacts,
    /// An entry that the format has no place for.
    #[error("it holds the entry {0:?}, which does not belong there; nothing was written")]
    Entry(String),
    /// A declared file that is not there.
    #[error("it does not hold {0}; nothing was written")]
    Missing(&'static str),
    /// A file with another digest than declared.
    #[error("its {0} is not the one that was signed; nothing was written")]
    OtherFile(&'static str),
    /// Not a database.
    #[error("its database is none; nothing was written")]
    NotADatabase,
}

impl ToolError for RecoveryError {
    fn exit(&self) -> Exit {
        match self {
            Self::Sys(_) | Self::Read(_) | Self::Write { .. } | Self::Exists(_) => Exit::Storage,
            Self::Key(_) | Self::TrustList(_) => Exit::Usage,
            _ => Exit::Verification,
        }
    }
}
