use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::binary::{Binary, Installed};
use super::error::InstallError;
use super::folder::Install;
use super::record;
use crate::sys::BootId;
use crate::types::NodeName;

/// How many starts in a row a version that was just committed may fail before the last one that came
/// up takes its place again.
pub const START_TRIES: u8 = 3;
/// How many starts the service manager allows before it gives the node up: `StartLimitBurst=` of the units
/// in `release/systemd`, and the least that `doctor` accepts.
pub const START_LIMIT_BURST: u8 = 6;
// The start after the last try is the one that runs the old binary.
const _: () = assert!(START_TRIES + 1 < START_LIMIT_BURST, "the service manager would give up before the rescue acts");

/// What lies at [`Install::RESCUE`], and against whom it stands guard. A file of its own: versions that
/// know nothing of it rewrite the other records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rescue {
    /// The last version that said READY after a cold start.
    pub(super) binary: Installed,
    /// What it is about to become: announced before the file is exchanged.
    #[serde(default)]
    pub(super) next: Option<Installed>,
    /// Versions that have not come up from a cold start yet: what is committed, and what may be next.
    #[serde(default)]
    pub(super) guards: Vec<Guard>,
    /// What it did last.
    #[serde(default)]
    pub(super) last: Option<PutBack>,
}

/// A guard against one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Guard {
    pub(super) against: Installed,
    /// The starts of each node that have not succeeded, oldest first.
    #[serde(default)]
    pub(super) starts: BTreeMap<NodeName, Vec<Start>>,
    /// Decided, and not finished yet: a start after a power cut goes on here.
    #[serde(default)]
    pub(super) deciding: Option<PutBack>,
}

/// A start of the guarded version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) boot: BootId,
    /// The service manager's name for this start, where it has one.
    #[serde(default)]
    pub(super) invocation: Option<String>,
    /// The service manager saw it fail.
    #[serde(default)]
    pub(super) failed: bool,
}

/// The rescue put the version before back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutBack {
    /// What did not come up.
    pub failed: Installed,
    /// What is committed again.
    pub restored: Installed,
    /// The node whose starts failed; it does not try that version again by itself.
    pub node: NodeName,
    /// How many starts failed. Zero: an operator asked for it.
    pub starts: u8,
    /// When.
    pub at: Timestamp,
}

impl std::fmt::Display for PutBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { failed, restored, node, starts, .. } = self;
        match starts {
            0 => write!(f, "{restored} is committed again instead of {failed}, because an operator asked for it"),
            starts => {
                write!(f, "{restored} is committed again: {failed} failed to start {starts} times on node {node}")
            }
        }
    }
}

/// What the rescue is good for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescueState {
    /// What it would put back; `None` before the first start that succeeds.
    pub binary: Option<Installed>,
    /// The version that it guards against: committed, and not up from a cold start yet.
    pub guards_against: Option<Installed>,
    /// The most failed or unfinished starts of one node.
    pub starts: u8,
    /// Its last deed.
    pub last: Option<PutBack>,
}

/// What looking after the rescue came to.
#[derive(Debug)]
pub enum Tended {
    /// Nothing to do.
    Fine,
    /// The file was missing or not what its record says, and was made again from the version.
    Repaired(InstallError),
}

const FILE: &str = "rescue.json";
const NEW: &str = ".rescue-new";

impl Install {
    /// Name of the rescue binary in the install folder; the service manager runs it before each start.
    pub const RESCUE: &str = "rescue";

    /// Before `against` is committed: the last version that came up stays at hand until `against` has come up
    /// from a cold start itself. Starts that were counted against it before still count.
    pub fn arm_rescue(&self, against: &Installed) -> Result<(), InstallError> {
        let _lock = self.lock()?;
        self.arm_rescue_locked(against)
    }

    pub(super) fn arm_rescue_locked(&self, against: &Installed) -> Result<(), InstallError> {
        let committed = self.state()?.committed;
        let found = self.rescue();
        if found.as_ref().is_some_and(|rescue| rescue.binary == *against || rescue.guards_against(against)) {
            return Ok(());
        }
        let mut rescue = match found {
            Some(rescue) => rescue,
            None => self.begin_rescue(&committed)?,
        };
        if self.open_rescue(&rescue).is_err() && self.repair_rescue(&mut rescue).is_err() {
            rescue = self.begin_rescue(&committed)?;
        }
        // The guard against what is committed stays: this one may never be.
        rescue.guards.retain(|guard| guard.against == committed);
        rescue.guards.push(Guard { against: against.clone(), starts: BTreeMap::new(), deciding: None });
        self.write_rescue(&rescue)
    }

    /// A cold start of the launcher `own` led to READY of a worker that runs `runs`. When both are what is
    /// committed, that version is proven and is the rescue from now on: `true` when it was not before.
    /// Otherwise the node's starts count as good, and no more.
    pub fn prove_start(
        &self,
        node: &NodeName,
        own: &Binary,
        runs: &Installed,
        invocation: Option<&str>,
    ) -> Result<bool, InstallError> {
        let settled = |rescue: &Rescue| rescue.binary == *runs && rescue.next.is_none() && rescue.guards.is_empty();
        // The usual start writes nothing.
        if self.rescue().as_ref().is_some_and(settled) && self.is_rescue(own) {
            return Ok(false);
        }
        let _lock = self.lock()?;
        let committed = self.state()?.committed;
        let before = self.rescue();
        if runs.digest == own.digest() && committed == *runs {
            let last = before.as_ref().and_then(|rescue| rescue.last.clone());
            let news = before.as_ref().is_none_or(|rescue| rescue.binary != *runs);
            self.exchange_rescue(before, own, runs)?;
            self.write_rescue(&Rescue { binary: runs.clone(), next: None, guards: Vec::new(), last })?;
            return Ok(news);
        }
        let Some(before) = before else { return Ok(false) };
        let mut rescue = before.clone();
        for guard in &mut rescue.guards {
            let this = |start: &Start| invocation.is_some() && start.invocation.as_deref() == invocation;
            guard.starts.retain(|name, starts| name != node && !starts.iter().any(this));
        }
        if rescue != before {
            self.write_rescue(&rescue)?;
        }
        Ok(false)
    }

    /// Makes sure that the rescue binary is what its record says. For a launcher at its start.
    pub fn tend_rescue(&self, own: &Binary) -> Result<Tended, InstallError> {
        let Some(rescue) = self.rescue() else { return Ok(Tended::Fine) };
        // Mostly this very program: then it was hashed already.
        if (rescue.binary.digest == own.digest() && self.is_rescue(own)) || self.open_rescue(&rescue).is_ok() {
            return Ok(Tended::Fine);
        }
        let _lock = self.lock()?;
        let Some(mut rescue) = self.rescue() else { return Ok(Tended::Fine) };
        match self.open_rescue(&rescue) {
            Ok(_) => Ok(Tended::Fine),
            Err(damage) => {
                self.repair_rescue(&mut rescue)?;
                self.write_rescue(&rescue)?;
                Ok(Tended::Repaired(damage))
            }
        }
    }

    /// What the rescue would do, and what it did.
    #[must_use]
    pub fn rescue_state(&self) -> RescueState {
        let Some(rescue) = self.rescue() else {
            return RescueState { binary: None, guards_against: None, starts: 0, last: None };
        };
        let committed = self.committed().ok().flatten();
        // Armed before the handoff: until the commit there is nothing to guard against.
        let guard = rescue.guards.into_iter().find(|guard| Some(&guard.against) == committed.as_ref());
        let starts = guard.iter().flat_map(|guard| guard.starts.values()).map(Vec::len).max().unwrap_or(0);
        RescueState {
            binary: Some(rescue.binary),
            guards_against: guard.map(|guard| guard.against),
            starts: u8::try_from(starts).unwrap_or(u8::MAX),
            last: rescue.last,
        }
    }

    /// The record; one that is damaged is none, and is made anew at the next start that succeeds.
    pub(super) fn rescue(&self) -> Option<Rescue> {
        record::read(self.dir(), FILE).unwrap_or(None)
    }

    pub(super) fn write_rescue(&self, rescue: &Rescue) -> Result<(), InstallError> {
        Ok(record::write(self.dir(), FILE, rescue)?)
    }

    /// Every version that must stay on disk for the rescue.
    pub(super) fn rescue_keeps(&self) -> impl Iterator<Item = Installed> {
        let rescue = self.rescue();
        rescue.into_iter().flat_map(|rescue| [Some(rescue.binary), rescue.next].into_iter().flatten())
    }

    /// The rescue binary, which must be what its record says, or what that announces.
    fn open_rescue(&self, rescue: &Rescue) -> Result<Binary, InstallError> {
        let binary = Binary::open(self.dir(), Self::RESCUE)?;
        rescue.recognise(&binary)?;
        Ok(binary)
    }

    fn is_rescue(&self, own: &Binary) -> bool {
        let found = self.dir().open_program(Self::RESCUE);
        found.is_ok_and(|found| crate::sys::same_file(&found.file, own.file()))
    }

    /// A rescue where there is none yet: what is committed has nothing better before it.
    fn begin_rescue(&self, committed: &Installed) -> Result<Rescue, InstallError> {
        let binary = self.open_version(committed)?;
        self.exchange_rescue(None, &binary, committed)?;
        Ok(Rescue { binary: committed.clone(), next: None, guards: Vec::new(), last: None })
    }

    /// Puts the recorded version at the rescue's name again.
    fn repair_rescue(&self, rescue: &mut Rescue) -> Result<(), InstallError> {
        let binary = self.open_version(&rescue.binary)?;
        self.exchange_rescue(Some(rescue.clone()), &binary, &rescue.binary.clone())?;
        rescue.next = None;
        Ok(())
    }

    /// Gives the file behind the handle the rescue's name. A start in between finds what was announced.
    fn exchange_rescue(&self, before: Option<Rescue>, binary: &Binary, is: &Installed) -> Result<(), InstallError> {
        if let Some(mut rescue) = before
            && rescue.binary != *is
        {
            rescue.next = Some(is.clone());
            self.write_rescue(&rescue)?;
        }
        let dir = self.dir();
        dir.remove(NEW)?;
        // Whatever was put there, also a folder, is in the way of nothing.
        if dir.open_program(Self::RESCUE).is_err() {
            dir.remove_tree(Self::RESCUE)?;
        }
        dir.link_handle(binary.file(), NEW)?;
        dir.rename(NEW, Self::RESCUE)?;
        // rename(2) of two names of one file does nothing and leaves both.
        dir.remove(NEW)?;
        Ok(dir.sync()?)
    }
}

impl Rescue {
    fn guards_against(&self, version: &Installed) -> bool {
        self.guards.iter().any(|guard| guard.against == *version)
    }

    /// A13: the bytes that run, or are about to be committed, are the recorded ones.
    pub(super) fn recognise(&self, binary: &Binary) -> Result<(), InstallError> {
        let known = [Some(&self.binary), self.next.as_ref()];
        if known.into_iter().flatten().any(|known| known.digest == binary.digest()) {
            return Ok(());
        }
        let (path, found) = (binary.path().to_owned(), binary.digest());
        Err(InstallError::Digest { path, found, expected: self.binary.digest })
    }
}

#[cfg(test)]
mod tests;
