use super::Cache;
use super::entry::{Content, ENTRY_MAX, Entry, EntryName};
use super::error::{CacheError, Reason, Rejection};
use super::lookup::Found;
use crate::archive::Limits;
use crate::crypto::{Keyring, Release};
use crate::sys::Dir;
use crate::types::Sha256Digest;

/// What an entry says about itself, unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedArchive {
    /// The release, the key, and what is kept.
    pub name: EntryName,
    /// What kind of file it is.
    pub content: Content,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub digest: Sha256Digest,
}

/// One name in the folder of entries.
#[derive(Debug)]
pub enum Listed {
    /// An entry.
    Archive(CachedArchive),
    /// An entry that cannot be read.
    Unreadable(EntryName, Reason),
    /// Something whose name no entry has.
    Foreign(String),
}

/// What became of an entry that was verified.
#[derive(Debug)]
pub enum Checked {
    /// It holds.
    Good(EntryName),
    /// It does not hold, and was removed.
    Rejected(Rejection),
    /// It is signed by a key that this build does not pin: another build's business.
    NotPinned(EntryName),
}

impl Cache {
    /// Everything in the folder of entries, as it describes itself.
    pub fn entries(&self) -> Result<Vec<Listed>, CacheError> {
        let names = self.entries.names()?;
        Ok(names.into_iter().filter(|name| !name.starts_with(".new-")).map(|name| self.describe(name)).collect())
    }

    fn describe(&self, file_name: String) -> Listed {
        let Some(name) = EntryName::parse(&file_name) else { return Listed::Foreign(file_name) };
        let entry = self.entries.read(&file_name, ENTRY_MAX).map_err(Reason::Entry);
        match entry.and_then(|bytes| Entry::from_json(&bytes)) {
            Ok((Entry { content, length, digest, .. }, _)) => {
                Listed::Archive(CachedArchive { name, content, length, digest })
            }
            Err(reason) => Listed::Unreadable(name, reason),
        }
    }

    /// Verifies every entry as a lookup would, with the same consequences. `each` hears the
    /// outcomes as they come.
    pub fn verify_all(
        &self,
        keyring: &Keyring<Release>,
        staging: &Dir,
        limits: &Limits,
        each: &mut dyn FnMut(&Checked),
    ) -> Result<Vec<Checked>, CacheError> {
        let mut outcomes = Vec::new();
        for name in self.entries.names()?.iter().filter_map(|name| EntryName::parse(name)) {
            let outcome = match keyring.find(name.key_id()) {
                None => Checked::NotPinned(name),
                Some(key) => match self.lookup_name(name.clone(), key, staging, limits)? {
                    Found::Held(_) => Checked::Good(name),
                    Found::Rejected(rejection) => Checked::Rejected(rejection),
                    // Removed since it was listed.
                    Found::Nothing => continue,
                },
            };
            each(&outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}
