use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::Cache;
use super::entry::{ENTRY_MAX, Entry, EntryName};
use super::error::CacheError;
use super::turn::lock_name;
use crate::types::{ByteLimit, Sha256Digest};

/// What may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// All archives together.
    pub max_size: ByteLimit,
    /// The time since an archive was stored.
    pub max_age: Duration,
}

/// An entry that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunedEntry {
    /// Which.
    pub name: EntryName,
    /// When it was stored.
    pub stored: SystemTime,
    /// The length of its archive in bytes, as it lies on disk.
    pub length: u64,
}

/// What tidying did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What went, the oldest first.
    pub removed: Vec<PrunedEntry>,
    /// What would have gone, but that somebody downloads its release just now.
    pub busy: Vec<EntryName>,
    /// Archives that no entry named: what a process left that was killed while it stored them.
    pub strays: usize,
    /// Bytes that all archives take afterwards.
    pub left: u64,
}

/// Younger archives without an entry may be on their way to one.
const STRAY_AGE: Duration = Duration::from_hours(1);

struct Candidate {
    name: EntryName,
    stored: SystemTime,
    digest: Option<Sha256Digest>,
}

impl Cache {
    /// Removes what is too old, then the oldest until the rest is small enough. Each release under
    /// the lock of its download, the entry before its archive. `dry`: only says what it would do.
    ///
    /// An archive that is removed too early costs one download.
    pub fn prune(&self, keep: &Keep, now: SystemTime, dry: bool) -> Result<Pruned, CacheError> {
        let age = |stored: SystemTime| now.duration_since(stored).unwrap_or_default();
        let mut candidates = self.candidates()?;
        candidates.sort_by(|a, b| a.stored.cmp(&b.stored).then_with(|| a.name.cmp(&b.name)));
        let mut named: BTreeMap<Sha256Digest, usize> = BTreeMap::new();
        for digest in candidates.iter().filter_map(|candidate| candidate.digest) {
            *named.entry(digest).or_default() += 1;
        }
        let blobs = self.blobs.all()?;
        let lengths: BTreeMap<_, _> = blobs.iter().map(|(digest, _, length)| (*digest, *length)).collect();
        let mut pruned = Pruned { left: lengths.values().sum(), ..Pruned::default() };

        // Strays first: they make room at nobody's cost.
        for (digest, stored, length) in &blobs {
            if !named.contains_key(digest) && age(*stored) >= STRAY_AGE {
                if !dry {
                    self.blobs.remove(*digest)?;
                }
                pruned.strays += 1;
                pruned.left -= length;
            }
        }
        for Candidate { name, stored, digest } in candidates {
            if age(stored) <= keep.max_age && keep.max_size.admits(pruned.left) {
                continue;
            }
            // Before the lock, the holder of the turn might have stored it anew.
            let lock = self.locks.try_lock(&lock_name(name.id())).ok().flatten();
            let unchanged = self.entries.modified(&name.file_name()).is_ok_and(|(again, _)| again == stored);
            if lock.is_none() || !unchanged {
                pruned.busy.push(name);
                continue;
            }
            if !dry {
                self.remove(&name, digest, false)?;
            }
            let length = digest.and_then(|digest| lengths.get(&digest).copied()).unwrap_or(0);
            if let Some(others) = digest.and_then(|digest| named.get_mut(&digest)) {
                *others -= 1;
                if *others == 0 {
                    pruned.left -= length;
                }
            }
            pruned.removed.push(PrunedEntry { name, stored, length });
        }
        Ok(pruned)
    }

    /// Every entry, also one that cannot be read. Names that no entry has are somebody else's.
    fn candidates(&self) -> Result<Vec<Candidate>, CacheError> {
        let names: BTreeSet<String> = self.entries.names()?.into_iter().collect();
        let describe = |file_name: String| {
            let name = EntryName::parse(&file_name)?;
            let (stored, _) = self.entries.modified(&file_name).ok()?;
            let bytes = self.entries.read(&file_name, ENTRY_MAX).ok();
            let digest = bytes.and_then(|bytes| Entry::from_json(&bytes).ok()).map(|(entry, _)| entry.digest);
            Some(Candidate { name, stored, digest })
        };
        Ok(names.into_iter().filter_map(describe).collect())
    }
}
