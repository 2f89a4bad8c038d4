use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Step;
use super::database::{self, COMPANIONS};
use super::error::SnapshotError;
use super::id::SnapshotId;
use super::keys::Identity;
use super::state::{Role, StateFiles};
use super::verify::VerifiedSnapshot;
use crate::sys::{Dir, Lock, Loose, PrivateDir};
use crate::types::ByteLimit;

/// Which schemas may be put back here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The `application_id` that it must have.
    pub application_id: Option<i32>,
    /// The epoch of the state that is here now.
    pub present: Option<i32>,
    /// The newest epoch that the program reads that is to run on it.
    pub newest: Option<i32>,
    /// Whether it may be older than the present one.
    pub older: OlderSchema,
}

/// Whether a state may go back to an older schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderSchema {
    /// Refused.
    Refuse,
    /// Allowed: what only the newer schema can hold is not in it.
    Allow,
}

/// What became of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What was put back.
    pub snapshot: SnapshotId,
    /// Where the state before lies now, where there was one: a folder with database, wal and shm.
    pub aside: Option<PathBuf>,
}

/// What a restore is about to do, durable before it begins: the next start finishes it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal {
    snapshot: SnapshotId,
    aside: String,
    roles: Vec<Role>,
    /// Those that the snapshot does not hold: they were missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Role>,
}

const JOURNAL: &str = "restore.json";
const JOURNAL_LIMIT: ByteLimit = ByteLimit::kib(16);

/// The name under which a file waits to be put in its place: no role begins with a dot.
#[must_use]
pub fn prepared_name(role: &Role) -> String {
    format!(".restoring-{role}")
}

/// What the state in a data folder is now: its `application_id` and `user_version`. Nobody may have it open.
/// `None`: there is none, or it is no database.
#[must_use]
pub fn present_schema(data: &Dir, role: &Role) -> Option<(i32, i32)> {
    let head = database::head(data, role.as_str(), data.path()).ok()?;
    Some((head.application_id, head.user_version))
}

impl VerifiedSnapshot {
    /// Whether this program may run on it.
    pub fn fits(&self, schema: &Schema) -> Result<(), SnapshotError> {
        let manifest = self.manifest();
        let found = manifest.user_version;
        match *schema {
            Schema { application_id: Some(wanted), .. } if wanted != manifest.application_id => {
                Err(SnapshotError::OtherProgram { found: manifest.application_id, wanted })
            }
            Schema { newest: Some(newest), .. } if found > newest => Err(SnapshotError::NewerSchema { found, newest }),
            Schema { present: Some(present), older: OlderSchema::Refuse, .. } if found < present => {
                Err(SnapshotError::OlderSchema { found, present })
            }
            _ => Ok(()),
        }
    }

    /// Unpacks the files beside the present ones, durable, under [`prepared_name`], with the modes that the
    /// present ones have. Nothing of the state is touched. Harmless when done again.
    pub fn prepare(
        &mut self,
        data: &Dir,
        identities: &[&Identity],
        progress: &mut dyn FnMut(Step, u64),
    ) -> Result<(), SnapshotError> {
        let mode = |role: &Role| data.mode(role.as_str()).ok().flatten().map_or(0o600, |mode| mode & 0o777);
        self.unpack(data, identities, &|role| (prepared_name(role), mode(role)), progress)
    }

    /// Puts the state back. The present one is moved aside, never deleted, and so is what `state` names and the
    /// snapshot does not hold.
    ///
    /// `_stopped` is the node's own lock: whoever holds it knows that no node runs.
    ///
    /// # Errors
    /// Until the restore is announced in the data folder, nothing has changed; from then on a kill or an
    /// error is finished by [`finish_restore`], which every start of a node and every restore begins with.
    pub fn restore(
        &mut self,
        data: &PrivateDir,
        state: &StateFiles,
        stopped: &Lock,
        identities: &[&Identity],
        now: Timestamp,
        progress: &mut dyn FnMut(Step, u64),
    ) -> Result<Restored, SnapshotError> {
        finish_restore(data, stopped)?;
        self.prepare(data, identities, progress)?;
        let roles: Vec<_> = self.manifest().files.iter().map(|file| file.role.clone()).collect();
        let missing = state.missing_in(self.manifest());
        let journal = Journal { snapshot: self.manifest().id.clone(), aside: free_name(data, now)?, roles, missing };
        let text = serde_json::to_vec(&journal).expect("text is JSON");
        data.replace(JOURNAL, &text, 0o600)?;
        finish(data, &journal)
    }
}

/// Finishes a restore that was cut short; nothing to do is fine.
pub fn finish_restore(data: &PrivateDir, _stopped: &Lock) -> Result<Option<Restored>, SnapshotError> {
    if !data.exists(JOURNAL)? {
        return Ok(None);
    }
    let text = data.read(JOURNAL, JOURNAL_LIMIT)?;
    let journal: Journal =
        serde_json::from_slice(&text).map_err(|_| SnapshotError::Journal(data.path().join(JOURNAL)))?;
    finish(data, &journal).map(Some)
}

fn finish(data: &PrivateDir, journal: &Journal) -> Result<Restored, SnapshotError> {
    let aside = swap(data, &journal.roles, &journal.missing, &journal.aside)?;
    data.remove(JOURNAL)?;
    data.sync()?;
    Ok(Restored { snapshot: journal.snapshot.clone(), aside })
}

fn free_name(data: &Dir, now: Timestamp) -> Result<String, SnapshotError> {
    let first = format!("state.rejected-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let mut name = first.clone();
    for n in 2.. {
        if !data.exists(&name)? {
            break;
        }
        name = format!("{first}-{n}");
    }
    Ok(name)
}

/// Moves each present file, with what SQLite keeps beside it, into the folder `aside` of the data folder, and
/// gives what was prepared its name; the files of `missing`, before them, get no successor. The first of `roles` is
/// put in its place last. Done again after a kill, it goes on; done once more, it does nothing.
///
/// Returns where the state before lies, where there was one.
pub fn swap(data: &Dir, roles: &[Role], missing: &[Role], aside: &str) -> Result<Option<PathBuf>, SnapshotError> {
    let folder = data.private_subdir(aside, Loose::RefuseWritable)?;
    let move_aside = |role: &Role| -> Result<(), SnapshotError> {
        for end in COMPANIONS.into_iter().chain([""]) {
            let name = format!("{role}{end}");
            if data.exists(&name)? {
                data.rename_into(&name, &folder, &unused(&folder, &name)?)?;
            }
        }
        Ok(())
    };
    missing.iter().try_for_each(move_aside)?;
    for role in roles.iter().rev() {
        let prepared = prepared_name(role);
        // Without it, this file is in its place already.
        if !data.exists(&prepared)? {
            continue;
        }
        move_aside(role)?;
        // A log that stays beside the new file would be played into it: gone before, also after a power cut.
        folder.sync()?;
        data.sync()?;
        data.rename(&prepared, role.as_str())?;
        data.sync()?;
    }
    if folder.names()?.is_empty() {
        data.remove_dir(aside)?;
        data.sync()?;
        return Ok(None);
    }
    Ok(Some(folder.path().to_owned()))
}

/// Nothing that was moved aside is ever replaced.
fn unused(folder: &Dir, name: &str) -> Result<String, SnapshotError> {
    let mut free = name.to_owned();
    for n in 2.. {
        if !folder.exists(&free)? {
            break;
        }
        free = format!("{name}.{n}");
    }
    Ok(free)
}
