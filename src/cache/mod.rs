//! The store of signed archives that the nodes of one user on a host share.
//!
//! Nothing in it is believed: another process may write to it. Guarantees, against that process:
//! - a [`Lookup::Hit`] is a private copy whose every byte a pinned key signed for exactly the
//!   release that was asked for; what happens to the folder afterwards changes nothing;
//! - files are opened by handle below folders held by handle, never through a link, never blocking,
//!   and judged before a byte is read: regular, ours, one name, within its cap;
//! - an entry that does not hold is removed and named with its reason, so it costs one download;
//! - builds that pin different keys do not see, and so do not remove, each other's entries;
//! - waiting for somebody else's download ends;
//! - tidying touches no release whose download somebody has the turn for, and whatever it is killed
//!   at, no entry is left without its archive.
//!
//! Layout: `entries/<product>@<version>@<target>@<key id>.json` says format, length, digest and
//! signature, `….tar.json` the same of a tar that a patch made, `….from-<16 digits>.json` of a patch;
//! `blobs/ab/cd/<sha256>` are the files; `locks/` and `listings/` hold what their names say. Blobs come before the entries that name them, so a crash leaves at worst a blob that
//! nobody names.

mod blobs;
mod entry;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod listing;
mod lookup;
mod prune;
mod served;
mod turn;

use std::path::PathBuf;

pub use entry::{Content, EntryName, Kind};
pub use error::{CacheError, Reason, Rejection};
pub use listing::{CachedArchive, Checked, Listed};
pub use lookup::{Held, Lookup};
pub use prune::{Keep, Pruned, PrunedEntry};
pub use served::{Fetching, Served, Underway};
pub use turn::{DownloadTurn, GaveUp, Turn};

use crate::archive::{StagedBinary, VerifiedArchive};
use crate::delta::VerifiedPatch;
use crate::sys::{Loose, PrivateDir};
use blobs::Blobs;
use entry::Entry;

/// The shared cache, held open.
#[derive(Debug)]
pub struct Cache {
    root: PrivateDir,
    entries: PrivateDir,
    blobs: Blobs,
    locks: PrivateDir,
    listings: PrivateDir,
}

impl Cache {
    /// Opens the cache, making it where it is missing, and removes what killed writers left.
    ///
    /// Refused: a folder that is a link or belongs to somebody else. A folder of ours with loose
    /// permissions is tightened to 0700: whatever was planted meanwhile is verified at every use.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CacheError> {
        // Every handle is opened once and kept: exchanging a folder later changes nothing here.
        let root = PrivateDir::open_or_create(path, Loose::Tighten)?;
        let sub = |name| root.private_subdir(name, Loose::Tighten);
        let cache = Self {
            entries: sub("entries")?,
            blobs: Blobs::new(sub("blobs")?),
            locks: sub("locks")?,
            listings: sub("listings")?,
            root,
        };
        for dir in [&cache.entries, cache.blobs.root(), &cache.listings] {
            // A leftover that cannot be removed now costs only its space.
            dir.sweep().ok();
        }
        Ok(cache)
    }

    /// Where the cache was when it was opened.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        self.root.path()
    }

    /// The folder for shared release listings.
    #[must_use]
    pub fn listings(&self) -> &PrivateDir {
        &self.listings
    }

    /// Keeps an archive for the other nodes, durably. Takes the binary as the proof that the
    /// archive could be extracted: one that cannot must not reach anybody else.
    ///
    /// Storing again what is there already replaces it by the same.
    pub fn store(&self, archive: &VerifiedArchive, extracted: &StagedBinary) -> Result<(), CacheError> {
        if archive.id() != extracted.id() {
            return Err(CacheError::NotItsBinary);
        }
        let digest = self.blobs.store(archive.reader())?;
        let name = EntryName::new(archive.id(), archive.key_id(), Kind::of(archive.packing()));
        self.enter(&name, &Entry::of(archive, digest))
    }

    /// Keeps a patch for neighbours, durably.
    pub fn store_patch(&self, patch: &VerifiedPatch) -> Result<(), CacheError> {
        let digest = self.blobs.store(patch.reader())?;
        let name = EntryName::new(patch.id(), patch.key_id(), Kind::of_patch_from(patch.base()));
        self.enter(&name, &Entry::of_patch(patch, digest))
    }

    fn enter(&self, name: &EntryName, entry: &Entry) -> Result<(), CacheError> {
        error::replace_planted(&self.entries, &name.file_name(), |file_name| {
            self.entries.replace(file_name, &entry.to_json(), 0o600)
        })?;
        Ok(())
    }
}
