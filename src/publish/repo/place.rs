use std::fmt;
use std::io::{self, Read, Write};

use jiff::Timestamp;

use super::bucket::Bucket;
use super::doctor::{Check, Scratch};
use super::folder::Folder;
use crate::console::{Exit, ToolError};
use crate::sys::SysError;
use crate::types::ByteLimit;

/// Where a repository lies. Paths are relative, with `/` between their parts.
///
/// Whoever reads while something is written sees the file as it was before or as it is afterwards,
/// never a part of it.
pub trait Place: fmt::Debug + Send + Sync {
    /// The place in messages.
    fn shown(&self) -> String;

    /// A whole file of at most `limit` bytes; `None` where there is none.
    fn read(&self, path: &str, limit: ByteLimit) -> Result<Option<Vec<u8>>, PlaceError>;

    /// Copies a file of at most `limit` bytes; `false` where there is none.
    fn copy(&self, path: &str, limit: ByteLimit, into: &mut dyn Write) -> Result<bool, PlaceError>;

    /// Writes a file, in place of another of that name, whole and durably.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), PlaceError>;

    /// As [`Self::write`], of any length, in bounded memory.
    fn write_from(&self, path: &str, content: &mut dyn Read, length: u64) -> Result<(), PlaceError>;

    /// Removes a file. Gone already is fine.
    fn remove(&self, path: &str) -> Result<(), PlaceError>;

    /// The names of the files in a folder; none where it is missing.
    fn names(&self, folder: &str) -> Result<Vec<String>, PlaceError>;

    /// Every file below a folder, at any depth, in order of paths; none where it is missing.
    fn files(&self, folder: &str) -> Result<Vec<Stored>, PlaceError>;

    /// Removes what a killed run left half-written below a folder, if the place shows such a thing, and says how many
    /// files that were. For whoever has the right to change the repository.
    fn sweep(&self, folder: &str) -> Result<usize, PlaceError>;

    /// Removes a folder with everything in it. Gone already is fine.
    fn remove_folder(&self, folder: &str) -> Result<(), PlaceError>;

    /// Tries what places of this kind alone do, in the folder of a check.
    fn examine(&self, _scratch: &mut Scratch<'_>) -> Vec<Check> {
        Vec::new()
    }

    /// Takes the right to change the repository. `None`: somebody else has it for too long.
    fn lock(&self) -> Result<Option<Box<dyn Hold>>, PlaceError>;
}

/// The right to change a repository, until it is dropped.
pub trait Hold: fmt::Debug {
    /// Whether nobody else can have taken it meanwhile.
    fn is_still_ours(&self) -> Result<bool, PlaceError>;

    /// The time by the clock that dates the files of the place; never later than it is there, and earlier by no more
    /// than the right has been held.
    fn time(&self) -> Result<Timestamp, PlaceError>;
}

/// A file of a place, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its path in the place.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// When it was last written, by the clock of the place, to the second or better.
    pub modified: Timestamp,
}

/// Why a place did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The file system says no.
    #[error(transparent)]
    Storage(#[from] SysError),
    /// What should be copied cannot be read.
    #[error("cannot read what should become {path}: {source}")]
    Content {
        /// What it should become.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// Longer than it may be.
    #[error("{path} is longer than {limit}, which is more than clients read")]
    TooLong {
        /// The file.
        path: String,
        /// What is read.
        limit: ByteLimit,
    },
    /// No place of a kind that this build knows.
    #[error("{0} is neither a folder nor an address such as s3://BUCKET/PREFIX")]
    Unknown(String),
    /// The object store says no, or nothing.
    #[error("{place} could not be used{}: {reason}", at(path))]
    Store {
        /// The place.
        place: String,
        /// The object, if it was about one.
        path: String,
        /// What the store said, and what may help.
        reason: String,
    },
    /// The object store does otherwise than it says.
    #[error("{place} {how} ({path}): it cannot be published to")]
    Unlike {
        /// The place.
        place: String,
        /// The object or folder.
        path: String,
        /// What it does.
        how: &'static str,
    },
    /// More objects, or folders in folders, than are read at once.
    #[error(
        "{0} holds more than 100000 objects, or folders more than 16 deep; nothing was done. Name one of its folders"
    )]
    Crowded(String),
    /// Another run has the right to change it.
    #[error(
        "another run is changing {place}, and was still at it at {since} by the store's clock. Try again when it is done; \
         one that was killed is forgotten ten minutes after that"
    )]
    Claimed {
        /// The place.
        place: String,
        /// When it said so last.
        since: Timestamp,
    },
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" at {path}") }
}

impl PlaceError {
    /// What a store said, in a line, with what an operator can do.
    pub(super) fn store(place: &str, path: &str, error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let said = error.to_string();
        let said = said.lines().next().unwrap_or_default().chars().take(300).collect::<String>();
        let help = match error {
            E::NotFound { .. } => "there is no such bucket, or no such object. Make the bucket first",
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
                "the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY do not allow that, or this host's clock is wrong"
            }
            _ => "see AWS_ENDPOINT_URL, AWS_REGION and the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        };
        Self::Store { place: place.to_owned(), path: path.to_owned(), reason: format!("{said}; {help}") }
    }
}

impl ToolError for PlaceError {
    fn exit(&self) -> Exit {
        match self {
            Self::Storage(_) | Self::Content { .. } => Exit::Storage,
            Self::Store { .. } => Exit::Source,
            Self::TooLong { .. } | Self::Unlike { .. } => Exit::Verification,
            Self::Claimed { .. } => Exit::Busy,
            Self::Unknown(_) | Self::Crowded(_) => Exit::Usage,
        }
    }
}

/// What readers are served, and nothing else.
pub(super) const PUBLIC: &str = "public";
/// What readers are served: metadata below `metadata`, files below `targets`.
pub(super) const METADATA: &str = "public/metadata";
pub(super) const TARGETS: &str = "public/targets";
/// What still lacks signatures, beside what readers are served.
pub(super) const STAGED: &str = "staged";
/// Where a check of the place writes what it removes again.
pub(super) const SCRATCH: &str = "doctor";

/// The place that an operator names: a folder, or an object store. `make` makes a folder where it is missing.
pub fn open_place(name: &str, make: bool) -> Result<Box<dyn Place>, PlaceError> {
    if name.contains("://") {
        return Ok(Box::new(Bucket::open(name)?));
    }
    let path = std::path::Path::new(name);
    let folder = if make { Folder::open_or_make(path)? } else { Folder::open(path)? };
    Ok(Box::new(folder))
}
