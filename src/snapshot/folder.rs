use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use super::error::SnapshotError;
use super::id::SnapshotId;
use super::manifest::{Manifest, Reason};
use super::verify::UntrustedSnapshot;
use crate::sys::{Loose, PrivateDir, SysError};
use crate::types::ByteLimit;

/// The folder of a node's snapshots. Only this node's user may look into it.
#[derive(Clone, Debug)]
pub struct Snapshots {
    pub(super) dir: PrivateDir,
}

/// A snapshot as it describes itself: nothing of it is verified.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub id: SnapshotId,
    /// Its length in bytes.
    pub length: u64,
    /// When the file was written.
    pub modified: SystemTime,
    /// What it says of itself, or why that cannot be read.
    pub manifest: Result<Manifest, SnapshotError>,
}

/// Which snapshots stay. One stays while either limit admits it to; the newest stays always.
#[derive(Clone, Debug)]
pub struct Retention {
    /// So many of the newest stay at most.
    pub count: usize,
    /// What is older goes.
    pub max_age: Duration,
    /// What a record names stays, whatever the limits say.
    pub named: BTreeSet<SnapshotId>,
}

/// The longest snapshot file: header and payload.
const LONGEST: ByteLimit = ByteLimit::bytes(Manifest::LONGEST_FILE + (1 << 20));
/// What was just taken may not be in the record yet.
const OUTLIVED: Duration = Duration::from_hours(24);
const FOLDER: &str = "snapshots";
const LOCK: &str = "lock";
const MAKING: &str = "making";
/// How long somebody else who changes the folder is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

impl Snapshots {
    /// Opens the folder `snapshots` in the node's data folder, making it (0700) where it is missing.
    pub fn open(data: &PrivateDir) -> Result<Self, SnapshotError> {
        Ok(Self { dir: data.private_subdir(FOLDER, Loose::RefuseWritable)? })
    }

    /// Opens it where there is one.
    pub fn open_existing(data: &PrivateDir) -> Result<Option<Self>, SnapshotError> {
        if !data.exists(FOLDER)? {
            return Ok(None);
        }
        Ok(Some(Self { dir: data.existing_private_subdir(FOLDER, Loose::RefuseWritable)? }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// One at a time changes the folder.
    pub(super) fn turn(&self) -> Result<crate::sys::Lock, SnapshotError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.dir.try_lock(LOCK)? {
                Some(lock) => return Ok(lock),
                // A child that another thread has just forked holds it, too, until its exec.
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                None => return Err(SnapshotError::Busy(self.path().to_owned())),
            }
        }
    }

    /// An empty folder for copies that are not yet a snapshot. What a killed process left there is gone.
    pub(super) fn making(&self) -> Result<Making<'_>, SnapshotError> {
        self.dir.sweep()?;
        self.dir.remove_tree(MAKING)?;
        let dir = self.dir.private_subdir(MAKING, Loose::RefuseWritable)?;
        Ok(Making { snapshots: self, dir })
    }

    /// Opens one for verification.
    pub fn find(&self, id: &SnapshotId) -> Result<UntrustedSnapshot, SnapshotError> {
        let name = id.file_name();
        match self.dir.open_file(&name, LONGEST) {
            Ok(file) => Ok(UntrustedSnapshot::of(file.file, file.length, self.path().join(name))),
            Err(error) if error.is_not_found() => Err(SnapshotError::NotFound(id.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// All of them, oldest first, as they describe themselves.
    pub fn list(&self) -> Result<Vec<Listed>, SnapshotError> {
        let mut listed = Vec::new();
        for id in self.dir.names()?.iter().filter_map(|name| SnapshotId::of_file_name(name)) {
            let (modified, length) = match self.dir.modified(&id.file_name()) {
                Err(error) if error.is_not_found() => continue,
                outcome => outcome?,
            };
            let manifest = self.find(&id).and_then(|mut snapshot| snapshot.claims());
            listed.push(Listed { id, length, modified, manifest });
        }
        let sequence = |listed: &Listed| listed.manifest.as_ref().map_or(0, |manifest| manifest.sequence);
        listed.sort_by(|a, b| sequence(a).cmp(&sequence(b)).then_with(|| a.id.cmp(&b.id)));
        Ok(listed)
    }

    /// The newest one that can be read.
    pub fn newest(&self) -> Result<Option<Manifest>, SnapshotError> {
        Ok(self.list()?.into_iter().rev().find_map(|listed| listed.manifest.ok()))
    }

    /// Removes what `retention` does not keep, and returns it. `rehearse`: only says what would go.
    pub fn prune(
        &self,
        retention: &Retention,
        now: SystemTime,
        rehearse: Rehearse,
    ) -> Result<Vec<Listed>, SnapshotError> {
        let _turn = self.turn()?;
        let mut gone = Vec::new();
        for (age_rank, listed) in self.list()?.into_iter().rev().enumerate() {
            let age = now.duration_since(listed.modified).unwrap_or_default();
            let admitted = age_rank < retention.count && age <= retention.max_age;
            if age_rank > 0 && !admitted && !retention.named.contains(&listed.id) {
                if rehearse == Rehearse::No {
                    self.dir.remove(&listed.id.file_name())?;
                }
                gone.push(listed);
            }
        }
        self.dir.sync()?;
        Ok(gone)
    }

    /// Removes what was saved before a migration, more than a day ago, and what no record names any more. What an
    /// operator took stays, and so does the newest.
    pub fn prune_outlived(
        &self,
        named: &BTreeSet<SnapshotId>,
        now: SystemTime,
    ) -> Result<Vec<SnapshotId>, SnapshotError> {
        let is_outlived = |listed: &Listed| {
            let for_upgrade = listed.manifest.as_ref().is_ok_and(|manifest| manifest.reason == Reason::Upgrade);
            let age = now.duration_since(listed.modified).unwrap_or_default();
            for_upgrade && age > OUTLIVED && !named.contains(&listed.id)
        };
        let outlived: Vec<_> = self.list()?.into_iter().rev().skip(1).filter(is_outlived).collect();
        if outlived.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.turn()?;
        for listed in &outlived {
            self.dir.remove(&listed.id.file_name())?;
        }
        self.dir.sync()?;
        Ok(outlived.into_iter().map(|listed| listed.id).collect())
    }

    /// Room for so many bytes, or an error.
    pub(super) fn expect_room(dir: &crate::sys::Dir, needed: u64) -> Result<(), SnapshotError> {
        let free = crate::sys::Place::of(&dir.handle_path("."))?.free;
        if free >= needed {
            return Ok(());
        }
        Err(SnapshotError::Space { folder: dir.path().to_owned(), needed, free })
    }
}

/// Whether something is done, or only told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearse {
    /// Only told.
    Yes,
    /// Done.
    No,
}

/// The folder of unfinished copies; it goes with this value.
pub(super) struct Making<'a> {
    snapshots: &'a Snapshots,
    pub(super) dir: PrivateDir,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next one.
        let _: Result<(), SysError> = self.snapshots.dir.remove_tree(MAKING);
    }
}
