use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::binary::{Binary, Installed};
use super::error::InstallError;
use super::package::package_manager;
use super::policy::Policy;
use super::record::{self, NodeRecord, VerdictKind};
use crate::sys::{Dir, Lock, Loose, Moment, Place, PrivateDir, Refusal, SysError};
use crate::types::{NodeName, Product, Sha256Digest, Version};

/// The install folder, held by handle.
#[derive(Clone, Debug)]
pub struct Install {
    home: Dir,
    committed: String,
    program: String,
    dir: PrivateDir,
    versions: PrivateDir,
    nodes: PrivateDir,
    staging: PrivateDir,
    detached: Option<String>,
}

/// What is committed. Shared by all nodes of the install; changed only under the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) committed: Installed,
    /// Announced before the swap, so that a start in between knows whose work the new file is.
    #[serde(default)]
    pub(super) next: Option<Installed>,
    pub(super) epoch: u64,
    pub(super) origin: Origin,
    /// The epoch at which [`Self::committed`] came there: leases count on without changing it.
    #[serde(default)]
    pub(super) since: u64,
}

impl State {
    pub(super) fn of(committed: Installed) -> Self {
        Self { committed, next: None, epoch: 0, origin: Origin::Upgrade, since: 0 }
    }

    /// Whether a binary of that digest lies at the committed path by the nodes' own doing: also where a
    /// commit was cut between its rename and its note.
    fn accounts_for(&self, found: Sha256Digest) -> bool {
        self.committed.digest == found || self.next.as_ref().is_some_and(|next| next.digest == found)
    }
}

/// Who put the committed binary there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Origin {
    Operator,
    Upgrade,
}

/// How a starting node found its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// As it was left.
    AsRecorded,
    /// First start, or an operator installed another binary: the node runs what is committed.
    Committed,
    /// The record was damaged and set aside: the node runs what is committed.
    AfterDamage(PathBuf),
}

const STATE: &str = "install.json";
const POLICY: &str = "policy.json";
const LOCK: &str = "swap.lock";
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

impl Install {
    /// Name of the install folder, beside the committed binary: rename(2) does not cross file
    /// systems, and this place is known to allow executing.
    pub const FOLDER: &str = ".exuvia";

    /// Opens (and at first makes) the folder beside the binary at `committed`.
    pub fn open(committed: &Path, product: &Product) -> Result<Self, InstallError> {
        let (folder, name) = parts(committed)?;
        // A full disk or a lack of handles passes: it must not turn a node into one that only tells.
        let unsupported = |source: SysError| {
            if source.is_passing() {
                return InstallError::Sys(source);
            }
            InstallError::Unsupported { folder: folder.to_owned(), source }
        };
        if let Some(manager) = package_manager(folder) {
            return Err(unsupported(SysError::refused(folder, Refusal::PackageManaged(manager))));
        }
        if Place::of(folder).map_err(unsupported)?.no_exec {
            return Err(unsupported(SysError::refused(folder, Refusal::NoExec)));
        }
        let home = Dir::open(folder).map_err(unsupported)?;
        home.refuse_if_others_may_write().map_err(unsupported)?;
        // Also refuses a binary of another owner, or one that others may write.
        home.open_program(name).map_err(unsupported)?;
        let dir = home.private_subdir(Self::FOLDER, Loose::RefuseWritable).map_err(unsupported)?;
        Self::within(home, name, dir, product, None).map_err(unsupported)
    }

    /// As [`Self::open`]; where that is not supported, a folder in the node's own data stands in for
    /// the one beside the binary. The node then runs and tells of releases, and never upgrades.
    pub fn open_or_detached(committed: &Path, product: &Product, data: &PrivateDir) -> Result<Self, InstallError> {
        match Self::open(committed, product) {
            Err(error @ InstallError::Unsupported { .. }) => {
                let (folder, name) = parts(committed)?;
                let dir = data.private_subdir("install", Loose::RefuseWritable)?;
                Ok(Self::within(Dir::open(folder)?, name, dir, product, Some(error.to_string()))?)
            }
            outcome => outcome,
        }
    }

    fn within(
        home: Dir,
        committed: &str,
        dir: PrivateDir,
        product: &Product,
        detached: Option<String>,
    ) -> Result<Self, SysError> {
        let sub = |name| dir.private_subdir(name, Loose::RefuseWritable);
        let (versions, nodes, staging) = (sub("versions")?, sub("nodes")?, sub("staging")?);
        let (committed, program) = (committed.to_owned(), product.to_string());
        Ok(Self { home, committed, program, dir, versions, nodes, staging, detached })
    }

    /// Why this install cannot upgrade itself; `None` when it can.
    #[must_use]
    pub fn why_detached(&self) -> Option<&str> {
        self.detached.as_deref()
    }

    /// The path that the service manager starts.
    #[must_use]
    pub fn committed_path(&self) -> PathBuf {
        self.home.path().join(&self.committed)
    }

    /// Where archives are unpacked, private, on the file system of the versions.
    #[must_use]
    pub fn staging(&self) -> &PrivateDir {
        &self.staging
    }

    /// Opens a version's binary for execution; its bytes must be the recorded ones.
    pub fn open_version(&self, version: &Installed) -> Result<Binary, InstallError> {
        let dir = self.version_dir(version)?;
        Binary::open_expected(&dir, &self.program, version.digest)
    }

    /// The folder of a version, made where it is missing.
    pub fn make_version_dir(&self, version: &Installed) -> Result<PrivateDir, InstallError> {
        Ok(self.versions.private_subdir(&version.folder_name(), Loose::RefuseWritable)?)
    }

    pub(super) fn version_dir(&self, version: &Installed) -> Result<PrivateDir, InstallError> {
        Ok(self.versions.existing_private_subdir(&version.folder_name(), Loose::RefuseWritable)?)
    }

    /// The executable's name within a version's folder.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The record of a node.
    pub fn node(&self, node: &NodeName) -> Result<Option<NodeRecord>, InstallError> {
        record::read(&self.nodes, &file_of(node))
    }

    /// Replaces the record of a node, durably. Only its own launcher may.
    pub fn write_node(&self, node: &NodeName, record: &NodeRecord) -> Result<(), InstallError> {
        let mut record = record.clone();
        record::trim(&mut record);
        Ok(record::write(&self.nodes, &file_of(node), &record)?)
    }

    /// The records of all nodes that can be read, by name.
    pub fn nodes(&self) -> Result<Vec<(NodeName, NodeRecord)>, InstallError> {
        let names = self.node_names()?;
        Ok(names.into_iter().filter_map(|name| Some((name.clone(), self.node(&name).ok()??))).collect())
    }

    /// How many other nodes of this install do not run `version` yet.
    #[must_use]
    pub fn siblings_without(&self, version: &Version, node: &NodeName) -> u32 {
        let records = self.nodes().unwrap_or_default();
        let waiting = records.iter().filter(|(name, record)| name != node && record.running.version != *version);
        u32::try_from(waiting.count()).unwrap_or(u32::MAX)
    }

    /// A sibling of `node` whose trial of that version failed, and when, if that is still believed.
    pub fn failed_at_sibling(
        &self,
        node: &NodeName,
        version: &Version,
        now: Timestamp,
        believed: Duration,
    ) -> Result<Option<(NodeName, Timestamp)>, InstallError> {
        for (sibling, record) in self.nodes()? {
            let failed = record.verdicts.iter().rev().find(|verdict| {
                verdict.kind == VerdictKind::Bad
                    && verdict.candidate.version == *version
                    && verdict.is_recent(now, believed)
            });
            if let Some(verdict) = failed
                && sibling != *node
            {
                return Ok(Some((sibling, verdict.at)));
            }
        }
        Ok(None)
    }

    pub(super) fn node_names(&self) -> Result<Vec<NodeName>, InstallError> {
        let names = self.nodes.names()?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect())
    }

    /// What operators decided; made at the first call.
    pub fn policy(&self) -> Result<Policy, InstallError> {
        match record::read(&self.dir, POLICY)? {
            Some(policy) => Ok(policy),
            None => self.change_policy(|_| ()),
        }
    }

    /// Changes the policy under the lock.
    pub fn change_policy(&self, change: impl FnOnce(&mut Policy)) -> Result<Policy, InstallError> {
        let _lock = self.lock()?;
        let mut policy = record::read(&self.dir, POLICY)?.unwrap_or_else(Policy::new);
        change(&mut policy);
        record::write(&self.dir, POLICY, &policy)?;
        Ok(policy)
    }

    /// Called by a starting launcher whose own binary is `own`: finishes or drops a commit that was
    /// interrupted, notices a binary that an operator installed, and returns the node's record.
    pub fn adopt(&self, node: &NodeName, own: &Version) -> Result<(NodeRecord, Adopted), InstallError> {
        let _lock = self.lock()?;
        let found = match self.detached {
            // Not ours to judge or to change: it is what it is.
            Some(_) => Binary::running()?.digest(),
            None => {
                self.home.remove(&self.temporary_name())?;
                Binary::open(&self.home, &self.committed)?.digest()
            }
        };
        let state = self.settle(found, own)?;
        let (found, damaged) = match self.node(node) {
            Ok(found) => (found, None),
            Err(InstallError::Record { .. }) => {
                let aside = format!("{}.damaged", file_of(node));
                self.nodes.rename(&file_of(node), &aside)?;
                (None, Some(self.nodes.path().join(aside)))
            }
            Err(error) => return Err(error),
        };
        let unchanged = found.clone();
        let by_operator = state.origin == Origin::Operator;
        let (mut record, adopted) = match found {
            Some(record) if !(by_operator && record.install_epoch < state.since) => (record, Adopted::AsRecorded),
            Some(old) => {
                let mut record = NodeRecord::new(state.committed.clone(), state.epoch);
                record.verdicts.clone_from(&old.verdicts);
                record.pairs.clone_from(&old.pairs);
                record.restore.clone_from(&old.restore);
                record.previous = (old.running != record.running).then_some(old.running);
                (record, Adopted::Committed)
            }
            None => {
                let adopted = damaged.map_or(Adopted::Committed, Adopted::AfterDamage);
                (NodeRecord::new(state.committed.clone(), state.epoch), adopted)
            }
        };
        record.install_epoch = state.epoch;
        if self.detached.is_none() {
            self.keep_committed(&state.committed)?;
        }
        // What is on disk already needs no room: a node that ran before starts on a full disk, too.
        if unchanged.as_ref() != Some(&record) {
            self.write_node(node, &record)?;
        }
        Ok((record, adopted))
    }

    /// Brings the state into agreement with the binary that lies at the committed path.
    fn settle(&self, found: Sha256Digest, own: &Version) -> Result<State, InstallError> {
        let recorded: Option<State> = match record::read(&self.dir, STATE) {
            Err(InstallError::Record { .. }) => None,
            outcome => outcome?,
        };
        let state = match recorded {
            Some(state) if state.next.is_none() && state.committed.digest == found => return Ok(state),
            Some(State { next: Some(next), epoch, .. }) if next.digest == found => {
                State { committed: next, next: None, epoch, origin: Origin::Upgrade, since: epoch }
            }
            Some(state) if state.committed.digest == found => State { next: None, ..state },
            other => {
                let epoch = other.map_or(0, |state| state.epoch).checked_add(1).unwrap_or(1);
                let committed = Installed { version: own.clone(), digest: found };
                State { committed, next: None, epoch, origin: Origin::Operator, since: epoch }
            }
        };
        self.write_state(&state)?;
        Ok(state)
    }

    /// Makes sure that the committed binary has a name among the versions.
    fn keep_committed(&self, committed: &Installed) -> Result<(), InstallError> {
        let dir = self.make_version_dir(committed)?;
        match Binary::open_expected(&dir, &self.program, committed.digest) {
            Ok(_) => Ok(()),
            Err(_) => {
                dir.remove(&self.program)?;
                dir.link_from(&self.home, &self.committed, &self.program)?;
                dir.sync()?;
                Binary::open_expected(&dir, &self.program, committed.digest).map(drop)
            }
        }
    }

    /// Removes versions that no record names and nobody [claims](Self::claim_version), and temporaries of dead
    /// writers. Returns what it removed.
    pub fn prune(&self) -> Result<Vec<String>, InstallError> {
        let _lock = self.lock()?;
        for dir in [&self.staging, &self.nodes, &self.dir] {
            dir.sweep()?;
        }
        let mut kept = Vec::new();
        let state = self.state()?;
        kept.push(state.committed.folder_name());
        kept.extend(state.next.iter().map(Installed::folder_name));
        for name in self.node_names()? {
            // A record that cannot be read may name anything: then nothing is removed.
            if let Some(record) = self.node(&name)? {
                kept.extend(record.keeps().map(Installed::folder_name));
            }
        }
        kept.extend(self.rescue_keeps().map(|version| version.folder_name()));
        let mut removed = Vec::new();
        for name in self.versions.names()? {
            if !kept.contains(&name) && !self.is_claimed(&name)? {
                self.versions.remove_tree(&name)?;
                removed.push(name);
            }
        }
        self.versions.sync()?;
        Ok(removed)
    }

    /// The host's short lock. Held for the length of one change, never while anything is waited for.
    pub(super) fn lock(&self) -> Result<Lock, InstallError> {
        let deadline = Moment::now().after(LOCK_PATIENCE);
        loop {
            if let Some(lock) = self.dir.try_lock(LOCK)? {
                return Ok(lock);
            }
            if Moment::now().until(deadline).is_zero() {
                return Err(InstallError::Busy(self.dir.path().join(LOCK)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn state(&self) -> Result<State, InstallError> {
        let missing = || SysError::io("read", self.dir.path().join(STATE), std::io::ErrorKind::NotFound);
        Ok(record::read(&self.dir, STATE)?.ok_or_else(missing)?)
    }

    pub(super) fn write_state(&self, state: &State) -> Result<(), InstallError> {
        Ok(record::write(&self.dir, STATE, state)?)
    }

    /// Refuses where somebody put another binary at the committed path since a node last started from
    /// there: an upgrade would undo what that somebody did.
    pub fn refuse_if_replaced(&self) -> Result<(), InstallError> {
        let _lock = self.lock()?;
        self.refuse_if_not(&self.state()?)
    }

    /// As [`Self::refuse_if_replaced`], for who holds the lock and has read the state.
    pub(super) fn refuse_if_not(&self, state: &State) -> Result<(), InstallError> {
        let found = Binary::open(&self.home, &self.committed)?.digest();
        if state.accounts_for(found) { Ok(()) } else { Err(InstallError::Replaced(self.committed_path())) }
    }

    /// The same as a question, for whoever only looks: it makes nothing, and takes no lock. Where no node
    /// ever started, nothing was replaced.
    pub fn is_replaced(committed: &Path) -> Result<bool, InstallError> {
        let (folder, name) = parts(committed)?;
        let home = Dir::open(folder)?;
        let dir = match home.existing_private_subdir(Self::FOLDER, Loose::RefuseWritable) {
            Err(error) if error.is_not_found() => return Ok(false),
            outcome => outcome?,
        };
        let Some(state) = record::read::<State>(&dir, STATE)? else { return Ok(false) };
        Ok(!state.accounts_for(Binary::open(&home, name)?.digest()))
    }

    /// What is committed, if anything was recorded yet.
    pub fn committed(&self) -> Result<Option<Installed>, InstallError> {
        Ok(record::read::<State>(&self.dir, STATE)?.map(|state| state.committed))
    }

    pub(super) fn dir(&self) -> &PrivateDir {
        &self.dir
    }

    pub(super) fn versions(&self) -> &PrivateDir {
        &self.versions
    }

    pub(super) fn home(&self) -> &Dir {
        &self.home
    }

    pub(super) fn committed_name(&self) -> &str {
        &self.committed
    }

    pub(super) fn temporary_name(&self) -> String {
        format!(".{}.exuvia-new", self.committed)
    }
}

/// The folder of the committed path, and the name in it.
fn parts(committed: &Path) -> Result<(&Path, &str), InstallError> {
    // Workers and later launchers hear the path in JSON.
    if committed.to_str().is_none() {
        return Err(InstallError::NotUtf8(committed.to_owned()));
    }
    let no_folder = || InstallError::NoFolder(committed.to_owned());
    let folder = committed.parent().ok_or_else(no_folder)?;
    let name = committed.file_name().and_then(|name| name.to_str()).ok_or_else(no_folder)?;
    Ok((folder, name))
}

fn file_of(node: &NodeName) -> String {
    format!("{node}.json")
}
