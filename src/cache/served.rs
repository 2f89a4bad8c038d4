//! What neighbours may have of the cache, by digest, and what is on its way into it.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};

use super::Cache;
use super::entry::{ENTRY_MAX, Entry, EntryName};
use super::error::{CacheError, Rejection};
use super::lookup::{Found, Held};
use crate::archive::Limits;
use crate::crypto::{Keyring, Release, Signature};
use crate::sys::{Dir, Lock, sha256};
use crate::types::{ByteLimit, Sha256Digest};

/// What there is under a digest.
#[derive(Debug)]
pub enum Served {
    /// A private copy that a pinned key signed, and that has this digest.
    File(Held),
    /// Nothing that a pinned key signed.
    Nothing,
    /// Something that does not hold. It is gone.
    Rejected(Rejection),
}

/// How far a download from the origin is, as those who wait for it are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underway {
    /// Decides between several that want to begin: the lowest does.
    pub rank: u64,
    /// Whether it has begun: then it is waited for, whatever its rank.
    pub begun: bool,
    /// Bytes that have arrived.
    pub bytes: u64,
}

/// Tells other hosts that a file is being had from the origin here, for as long as this value lives.
#[derive(Debug)]
pub struct Fetching {
    lock: Lock,
    told: Underway,
    at: Option<Instant>,
}

const NOTE_MAX: ByteLimit = ByteLimit::bytes(64);
const NOTE_EVERY: Duration = Duration::from_millis(250);

impl Cache {
    /// What is kept, and its length in bytes, by its digest: a claim of each entry, which [`Self::serve`] holds it to.
    pub fn by_digest(&self) -> Result<BTreeMap<Sha256Digest, (EntryName, u64)>, CacheError> {
        let names = self.entries.names()?;
        let described = names.iter().filter_map(|file_name| {
            let name = EntryName::parse(file_name)?;
            let bytes = self.entries.read(file_name, ENTRY_MAX).ok()?;
            Entry::from_json(&bytes).ok().map(|(entry, _)| (entry.digest, (name, entry.length)))
        });
        Ok(described.collect())
    }

    /// A private copy of what that entry names, for somebody who asked for `digest`: verified as at every use,
    /// and hashed.
    pub fn serve(
        &self,
        name: &EntryName,
        digest: Sha256Digest,
        keyring: &Keyring<Release>,
        staging: &Dir,
        limits: &Limits,
    ) -> Result<Served, CacheError> {
        let Some(key) = keyring.find(name.key_id()) else { return Ok(Served::Nothing) };
        Ok(match self.lookup_name(name.clone(), key, staging, limits)? {
            Found::Held(held) if held.sha256().map_err(CacheError::Read)? == digest => Served::File(held),
            // Signed, and another file than the entry says: as good as none.
            Found::Held(_) | Found::Nothing => Served::Nothing,
            Found::Rejected(rejection) => Served::Rejected(rejection),
        })
    }

    /// Takes the right to tell that this host has a file from the origin; `None`: another process of this host
    /// does.
    pub fn begin_fetching(&self, digest: Sha256Digest, rank: u64) -> Result<Option<Fetching>, CacheError> {
        let Some(lock) = self.locks.try_lock(&note_name(digest))? else { return Ok(None) };
        let mut fetching = Fetching { lock, told: Underway { rank, begun: false, bytes: 0 }, at: None };
        fetching.tell();
        Ok(Some(fetching))
    }

    /// How far this host is with a file. `None`: it does not have it from the origin just now.
    #[must_use]
    pub fn underway(&self, digest: Sha256Digest) -> Option<Underway> {
        let name = note_name(digest);
        // Read first: whoever asks for what is unknown must not make files here.
        let note = self.locks.read(&name, NOTE_MAX).ok()?;
        let is_held = matches!(self.locks.try_lock(&name), Ok(None));
        is_held.then(|| Underway::parse(std::str::from_utf8(&note).ok()?)).flatten()
    }
}

impl Held {
    /// The signature over it.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        match self {
            Self::Release(archive) => archive.signature(),
            Self::Patch(patch) => patch.signature(),
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Release(archive) => archive.length(),
            Self::Patch(patch) => patch.length(),
        }
    }

    /// The bytes from the first on. Several readers do not disturb each other.
    #[must_use]
    pub fn reader(&self) -> Box<dyn Read + Send + '_> {
        match self {
            Self::Release(archive) => Box::new(archive.reader()),
            Self::Patch(patch) => Box::new(patch.reader()),
        }
    }

    fn sha256(&self) -> std::io::Result<Sha256Digest> {
        sha256(self.reader())
    }
}

impl Underway {
    /// Reads what `Display` writes: rank in hexadecimal digits, state, bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let rank = u64::from_str_radix(words.next()?, 16).ok()?;
        let begun = match words.next()? {
            "wants" => false,
            "fetches" => true,
            _ => return None,
        };
        let bytes = words.next()?.parse().ok()?;
        words.next().is_none().then_some(Self { rank, begun, bytes })
    }

    /// Whether somebody of that rank, who has not begun, waits for this one.
    #[must_use]
    pub fn goes_before(&self, rank: u64) -> bool {
        self.begun || self.rank < rank
    }
}

impl std::fmt::Display for Underway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rank, begun, bytes } = self;
        write!(f, "{rank:016x} {} {bytes}", if *begun { "fetches" } else { "wants" })
    }
}

impl Fetching {
    /// Decides between several that want to begin.
    #[must_use]
    pub fn rank(&self) -> u64 {
        self.told.rank
    }

    /// Tells that the origin is being asked.
    pub fn begins(&mut self) {
        self.told.begun = true;
        self.tell();
    }

    /// Tells how many bytes have arrived.
    pub fn progress(&mut self, bytes: u64) {
        if self.told.bytes != bytes && self.at.is_none_or(|at| at.elapsed() >= NOTE_EVERY) {
            self.told.bytes = bytes;
            self.tell();
        }
    }

    fn tell(&mut self) {
        // Those who cannot read it ask the origin themselves.
        self.lock.note(&self.told.to_string()).ok();
        self.at = Some(Instant::now());
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        // A name that is not locked means nothing; emptied, it cannot be misread either.
        self.lock.note("").ok();
    }
}

/// Occurs among the names of releases' locks never: those hold an `@`.
fn note_name(digest: Sha256Digest) -> String {
    format!("fetch-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_underway_survives_its_text(rank: u64, begun: bool, bytes: u64) {
            let underway = Underway { rank, begun, bytes };
            prop_assert_eq!(Underway::parse(&underway.to_string()), Some(underway));
            prop_assert!(NOTE_MAX.admits(underway.to_string().len() as u64));
        }

        #[test]
        fn of_two_that_want_to_begin_exactly_one_waits(one: u64, other: u64) {
            let wants = |rank| Underway { rank, begun: false, bytes: 0 };
            prop_assume!(one != other);
            prop_assert!(wants(one).goes_before(other) != wants(other).goes_before(one));
            prop_assert!(!wants(one).goes_before(one), "nobody waits for itself");
        }

        #[test]
        fn arbitrary_text_is_read_without_a_panic(text in "\\PC{0,80}") {
            let _ = Underway::parse(&text);
        }
    }
}
