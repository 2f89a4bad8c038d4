use std::io;

use super::entry::EntryName;
use crate::archive::ArchiveError;
use crate::crypto::SignatureLength;
use crate::delta::PatchError;
use crate::sys::{Dir, Refusal, SysError};

/// Why the cache cannot be used. The caller can go on without it: only sharing is lost.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The cache's own files or folders refuse.
    #[error(
        "the cache cannot be used: {0}. Upgrades go on without it; repair or remove the folder, or choose another one"
    )]
    Folder(#[from] SysError),
    /// The staging folder refuses: not the cache's fault, and no entry was touched.
    #[error("no private copy of the cached archive could be made: {0}. The cache was left as it is")]
    Staging(#[source] ArchiveError),
    /// The archive that was to be stored cannot be read back.
    #[error("the verified archive cannot be read back: {0}. It was not stored")]
    Read(#[source] io::Error),
    /// The binary that was shown does not come from the archive that is to be stored.
    #[error("the extracted binary belongs to another release than the archive; nothing was stored")]
    NotItsBinary,
}

/// An entry that did not hold. It has been removed, unless `removed` says why not.
#[derive(Debug, thiserror::Error)]
#[error("the cached archive of {name} was refused: {reason}. {}", consequence(.kept.as_ref()))]
pub struct Rejection {
    /// Which entry.
    pub name: EntryName,
    /// Why it was refused.
    #[source]
    pub reason: Reason,
    /// Why it could not be removed, if so.
    pub kept: Option<SysError>,
}

fn consequence(kept: Option<&SysError>) -> String {
    match kept {
        None => "It was removed, and will be downloaded again".to_owned(),
        Some(error) => format!("It is still there ({error}); remove it by hand"),
    }
}

/// Why an entry was refused.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The entry's file cannot be opened or breaks a rule: a link, a FIFO, somebody else's, too long.
    #[error("its entry cannot be used: {0}")]
    Entry(#[source] SysError),
    /// The entry is not the JSON that it must be.
    #[error("its entry cannot be read: {0}")]
    Malformed(#[source] serde_json::Error),
    /// The signature has another length than ML-DSA-65's.
    #[error("its signature cannot be one: {0}")]
    SignatureLength(#[source] SignatureLength),
    /// The archive's file cannot be opened or breaks a rule.
    #[error("its archive cannot be used: {0}")]
    Blob(#[source] SysError),
    /// The archive is not there.
    #[error("its archive is missing")]
    BlobMissing,
    /// The archive has another length than the entry says.
    #[error("its archive is {found} bytes long, and its entry says {stated}")]
    Length {
        /// What the entry says.
        stated: u64,
        /// What the handle says.
        found: u64,
    },
    /// The entry is named after an archive and keeps a tar, or the other way round.
    #[error("its name and its content disagree about what it keeps")]
    Kind,
    /// The archive's bytes could not be copied, or were not signed for this release by this key.
    #[error("{0}")]
    Archive(#[source] ArchiveError),
    /// The patch's bytes could not be copied, or were not signed by this key.
    #[error("{0}")]
    Patch(#[source] PatchError),
}

/// Runs `write` for `name`; where something planted is in the way (a link, a folder, a FIFO), that
/// is removed and `write` runs once more.
pub(super) fn replace_planted<T>(
    dir: &Dir,
    name: &str,
    write: impl Fn(&str) -> Result<T, SysError>,
) -> Result<T, SysError> {
    match write(name) {
        Err(error) if in_the_way(&error) => {
            dir.remove_tree(name)?;
            write(name)
        }
        outcome => outcome,
    }
}

fn in_the_way(error: &SysError) -> bool {
    match error {
        SysError::Refused { refusal, .. } => matches!(
            refusal,
            Refusal::Symlink | Refusal::NotADirectory | Refusal::NotRegular(_) | Refusal::OtherOwner { .. }
        ),
        SysError::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty)
        }
    }
}
