use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::name::file_name;
use crate::sys::{Dir, Lock, SysError};
use crate::tuf::error::MetadataError;
use crate::tuf::metadata::{RoleType, RoleVersion};
use crate::types::{ByteLimit, Sha256Digest};

/// What a client remembers on this host: the trusted files as they were received.
///
/// `root.json`, `timestamp.json` and so on are the newest trusted ones. `root_history/` holds every root
/// since the one that came with the program. `state/` holds under which root timestamp and snapshot were
/// accepted, and a lock: two updates at once could each undo the other's floors.
#[derive(Debug)]
pub struct Store {
    dir: Dir,
    history: Dir,
    state: Dir,
    set_aside: Vec<SetAside>,
    _lock: Lock,
}

/// A stored file that was not used.
#[derive(Debug)]
pub struct SetAside {
    /// Its name.
    pub file: String,
    /// Why.
    pub reason: SetAsideReason,
}

/// Why a stored file was not used.
#[derive(Debug, thiserror::Error)]
pub enum SetAsideReason {
    /// It is not what a file of ours would be.
    #[error(transparent)]
    File(SysError),
    /// It does not verify.
    #[error(transparent)]
    Metadata(MetadataError),
}

/// When a file came to be trusted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Accepted {
    sha256: Sha256Digest,
    /// The version of the root that vouched for it.
    root: u64,
}

const ACCEPTED: &str = "accepted.json";
const FILE_MODE: u32 = 0o644;

impl Store {
    /// The store in that folder, into which nobody else may write. `None` while another process updates
    /// there.
    pub fn open(dir: &Dir) -> Result<Option<Self>, SysError> {
        let state = dir.public_subdir("state")?;
        let Some(lock) = state.try_lock("lock")? else { return Ok(None) };
        let history = dir.public_subdir("root_history")?;
        for dir in [dir, &history, &state] {
            dir.sweep()?;
        }
        Ok(Some(Self { dir: dir.clone(), history, state, set_aside: Vec::new(), _lock: lock }))
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(super) fn history(&self) -> &Dir {
        &self.history
    }

    pub(super) fn take_set_aside(&mut self) -> Vec<SetAside> {
        std::mem::take(&mut self.set_aside)
    }

    pub(super) fn set_aside(&mut self, file: String, error: MetadataError) {
        self.set_aside.push(SetAside { file, reason: SetAsideReason::Metadata(error) });
    }

    /// The stored root of that version.
    pub(super) fn root(&mut self, version: RoleVersion, limit: ByteLimit) -> Result<Option<Vec<u8>>, SysError> {
        let history = self.history.clone();
        self.read(&history, &format!("{version}.root.json"), limit)
    }

    pub(super) fn keep_root(&self, version: RoleVersion, bytes: &[u8]) -> Result<(), SysError> {
        put(&self.history, &format!("{version}.root.json"), bytes)?;
        Ok(())
    }

    /// Makes `root.json` the newest trusted root.
    pub(super) fn show_root(&self, bytes: &[u8]) -> Result<(), SysError> {
        put(&self.dir, "root.json", bytes)
    }

    /// The stored targets file of a role.
    pub(super) fn role(&mut self, role: &str, limit: ByteLimit) -> Result<Option<Vec<u8>>, SysError> {
        let dir = self.dir.clone();
        self.read(&dir, &file_name(role), limit)
    }

    pub(super) fn keep_role(&self, role: &str, bytes: &[u8]) -> Result<(), SysError> {
        put(&self.dir, &file_name(role), bytes)
    }

    /// The stored timestamp or snapshot, unless it was accepted under a root older than `since`. A file
    /// about which nothing is noted counts: a floor too many is safer than one too few.
    pub(super) fn remembered(
        &mut self,
        kind: RoleType,
        since: Option<RoleVersion>,
        limit: ByteLimit,
    ) -> Result<Option<Vec<u8>>, SysError> {
        let Some(bytes) = self.role(kind.as_str(), limit)? else { return Ok(None) };
        let noted = self.accepted().remove(kind.as_str()).filter(|noted| noted.sha256 == digest(&bytes));
        let is_dropped = matches!((noted, since), (Some(noted), Some(since)) if noted.root < since.get());
        Ok((!is_dropped).then_some(bytes))
    }

    /// Stores a verified timestamp or snapshot, and notes under which root that happened.
    pub(super) fn accept(&self, kind: RoleType, root: RoleVersion, bytes: &[u8]) -> Result<(), SysError> {
        self.keep_role(kind.as_str(), bytes)?;
        let mut accepted = self.accepted();
        accepted.insert(kind.as_str().to_owned(), Accepted { sha256: digest(bytes), root: root.get() });
        let note = serde_json::to_vec(&accepted).expect("strings and numbers are JSON");
        put(&self.state, ACCEPTED, &note)
    }

    /// Notes that cannot be read are none.
    fn accepted(&self) -> BTreeMap<String, Accepted> {
        let bytes = self.state.read(ACCEPTED, ByteLimit::kib(4)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// A file that is missing, or is none of ours, is set aside; trouble with the disk is an error,
    /// because a floor must not vanish for a moment.
    fn read(&mut self, dir: &Dir, name: &str, limit: ByteLimit) -> Result<Option<Vec<u8>>, SysError> {
        match dir.read(name, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.refusal().is_some() => {
                self.set_aside.push(SetAside { file: name.to_owned(), reason: SetAsideReason::File(error) });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

/// Replaces a file, durably, unless it holds these bytes already. What is no file of ours gives way.
fn put(dir: &Dir, name: &str, bytes: &[u8]) -> Result<(), SysError> {
    if dir.read(name, ByteLimit::bytes(bytes.len() as u64 + 1)).is_ok_and(|stored| stored == bytes) {
        return Ok(());
    }
    match dir.judge_file(name) {
        Err(error) if error.refusal().is_some() => dir.remove_tree(name)?,
        _ => {}
    }
    dir.replace(name, bytes, FILE_MODE)
}
