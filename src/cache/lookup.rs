use std::collections::BTreeSet;

use super::Cache;
use super::entry::{Content, ENTRY_MAX, Entry, EntryName, Kind};
use super::error::{CacheError, Reason, Rejection};
use crate::archive::{ArchiveError, Claim, Limits, VerifiedArchive, tar_limit, verify_copy};
use crate::crypto::{Keyring, PublicKey, Release};
use crate::delta::{PatchError, UntrustedPatch, VerifiedPatch};
use crate::sys::{Dir, SysError};
use crate::types::{ByteLimit, Product, ReleaseId, Sha256Digest, Target, Version};

/// What the cache has for a release.
#[derive(Debug)]
pub enum Lookup {
    /// A private, verified copy.
    Hit(VerifiedArchive),
    /// Nothing from a key that this build pins.
    Miss,
    /// Something that does not hold. It is gone; download again, once.
    Rejected(Rejection),
}

/// A private, verified copy of what an entry names.
#[derive(Debug)]
pub enum Held {
    /// A release.
    Release(VerifiedArchive),
    /// A patch.
    Patch(VerifiedPatch),
}

/// What there is under the name of one entry.
pub(super) enum Found {
    Held(Held),
    Nothing,
    Rejected(Rejection),
}

/// How an entry fares. When refused: why, and which blob it named.
enum Judged {
    Hit(Held),
    Absent,
    Refused(Reason, Option<Sha256Digest>),
}

/// More entries than this are not searched for another name of a blob; the blob then stays.
const SEARCH_MAX: usize = 4096;

impl Cache {
    /// Looks for an archive of `id` from each pinned key in turn, or else for its tar. An entry is opened, copied to an
    /// unnamed file in `staging` and verified in one pass; the first one that holds is the hit, and
    /// the first one that does not ends the search.
    pub fn lookup(
        &self,
        id: &ReleaseId,
        keyring: &Keyring<Release>,
        staging: &Dir,
        limits: &Limits,
    ) -> Result<Lookup, CacheError> {
        for key in keyring.keys() {
            for kind in Kind::WHOLE {
                match self.lookup_name(EntryName::new(id, key.id(), kind), key, staging, limits)? {
                    Found::Held(Held::Release(archive)) => return Ok(Lookup::Hit(archive)),
                    Found::Held(Held::Patch(_)) | Found::Nothing => {}
                    Found::Rejected(rejection) => return Ok(Lookup::Rejected(rejection)),
                }
            }
        }
        Ok(Lookup::Miss)
    }

    /// The versions of which an entry of a pinned key claims to keep something.
    pub fn versions(
        &self,
        product: &Product,
        target: &Target,
        keyring: &Keyring<Release>,
    ) -> Result<BTreeSet<Version>, CacheError> {
        let names = self.entries.names()?;
        let ours = names.iter().filter_map(|name| EntryName::parse(name)).filter(|name| {
            let ReleaseId { product: of, target: built_for, .. } = name.id();
            let is_whole = Kind::WHOLE.contains(&name.kind());
            is_whole && of == product && built_for == target && keyring.find(name.key_id()).is_some()
        });
        Ok(ours.map(|name| name.id().version.clone()).collect())
    }

    pub(super) fn lookup_name(
        &self,
        name: EntryName,
        key: &PublicKey<Release>,
        staging: &Dir,
        limits: &Limits,
    ) -> Result<Found, CacheError> {
        match self.judge(&name, key, staging, limits)? {
            Judged::Hit(held) => Ok(Found::Held(held)),
            Judged::Absent => Ok(Found::Nothing),
            Judged::Refused(reason, digest) => {
                let limit = longest(name.kind(), limits);
                let bad = digest.is_some_and(|digest| !self.blobs.is_sound(digest, limit));
                let kept = self.remove(&name, digest, bad).err();
                Ok(Found::Rejected(Rejection { name, reason, kept }))
            }
        }
    }

    /// Removes the entry of an archive that verified and yet could not be extracted, so that nobody
    /// meets it again.
    pub fn discard(&self, archive: &VerifiedArchive) -> Result<(), CacheError> {
        let name = EntryName::new(archive.id(), archive.key_id(), Kind::of(archive.packing()));
        let digest = match self.entries.read(&name.file_name(), ENTRY_MAX) {
            Ok(bytes) => Entry::from_json(&bytes).ok().map(|(entry, _)| entry.digest),
            Err(_) => None,
        };
        Ok(self.remove(&name, digest, false)?)
    }

    fn judge(
        &self,
        name: &EntryName,
        key: &PublicKey<Release>,
        staging: &Dir,
        limits: &Limits,
    ) -> Result<Judged, CacheError> {
        let bytes = match self.entries.read(&name.file_name(), ENTRY_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(Judged::Absent),
            Err(error) if error.is_exhaustion() => return Err(error.into()),
            Err(error) => return Ok(Judged::Refused(Reason::Entry(error), None)),
        };
        let (entry, signature) = match Entry::from_json(&bytes) {
            Ok(parsed) => parsed,
            Err(reason) => return Ok(Judged::Refused(reason, None)),
        };
        let refused = |reason| Ok(Judged::Refused(reason, Some(entry.digest)));
        if entry.kind() != Some(name.kind()) {
            return refused(Reason::Kind);
        }
        let blob = match self.blobs.open(entry.digest, longest(name.kind(), limits)) {
            Ok(blob) => blob,
            Err(error) if error.is_not_found() => return refused(Reason::BlobMissing),
            Err(error) if error.is_exhaustion() => return Err(error.into()),
            Err(error) => return refused(Reason::Blob(error)),
        };
        if blob.length != entry.length {
            return refused(Reason::Length { stated: entry.length, found: blob.length });
        }
        let held = match (entry.content, entry.base) {
            (Content::Release(packing), _) => {
                let claim = Claim { id: name.id(), packing, signature: &signature, key };
                verify_copy(&blob, &claim, staging).map(Held::Release).map_err(Reason::Archive)
            }
            (Content::Patch, Some(base)) => {
                let copy = UntrustedPatch::copy_of(&blob, staging);
                let patch = copy.and_then(|patch| patch.verify_by(name.id(), base, &signature, [key]));
                patch.map(Held::Patch).map_err(Reason::Patch)
            }
            // Its kind would have been another one.
            (Content::Patch, None) => Err(Reason::Kind),
        };
        match held {
            Ok(held) => Ok(Judged::Hit(held)),
            Err(Reason::Archive(error @ (ArchiveError::Copy(_) | ArchiveError::Staging(_)))) => {
                Err(CacheError::Staging(error))
            }
            Err(Reason::Patch(PatchError::Copy(error))) => Err(CacheError::Staging(ArchiveError::Copy(error))),
            Err(Reason::Patch(PatchError::Staging(error))) => Err(CacheError::Staging(ArchiveError::Staging(error))),
            Err(reason) => refused(reason),
        }
    }

    /// Removes an entry, and its blob when that is bad itself or when no other entry names it.
    pub(super) fn remove(&self, name: &EntryName, digest: Option<Sha256Digest>, bad: bool) -> Result<(), SysError> {
        self.entries.remove_tree(&name.file_name())?;
        self.entries.sync()?;
        match digest {
            Some(digest) if bad || !self.is_named(digest)? => self.blobs.remove(digest),
            _ => Ok(()),
        }
    }

    fn is_named(&self, digest: Sha256Digest) -> Result<bool, SysError> {
        let names = self.entries.names()?;
        let names_it = |name: &String| {
            let bytes = self.entries.read(name, ENTRY_MAX).ok();
            bytes.and_then(|bytes| Entry::from_json(&bytes).ok()).is_some_and(|(entry, _)| entry.digest == digest)
        };
        Ok(names.len() > SEARCH_MAX || names.iter().any(names_it))
    }
}

fn longest(kind: Kind, limits: &Limits) -> ByteLimit {
    match kind {
        Kind::Archive | Kind::Patch { .. } => limits.archive,
        Kind::Tar => tar_limit(limits),
    }
}
