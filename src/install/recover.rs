//! The check before each start, run by the last version that came up: never through the committed path.

use jiff::Timestamp;
use serde::Serialize;

use super::binary::{Binary, Installed};
use super::error::InstallError;
use super::folder::{Install, State};
use super::record::{NodeRecord, Purpose, Verdict, VerdictKind};
use super::rescue::{PutBack, Rescue, START_TRIES, Start};
use crate::sys::BootId;
use crate::types::{NodeName, Sha256Digest};

/// What the check before a start came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "check", rename_all = "kebab-case")]
pub enum StartCheck {
    /// What is committed has come up before, or an operator put it there.
    Nothing,
    /// It is this start of a version that has not come up yet, counted from 1.
    Counted {
        /// The version.
        against: Installed,
        /// Which start this is.
        start: u8,
    },
    /// The version before is committed again.
    PutBack(PutBack),
}

/// What the service manager says about the end of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartEnd {
    /// The version failed.
    Failed,
    /// An operator stopped it, or gave it what no version could start with: that start counts for nothing.
    Excused,
}

impl Install {
    /// Called before each start of the committed binary. `own` is the program that calls, as it is executed: it
    /// must be the recorded rescue. Counts the start, durably, and puts `own` back at the committed path when
    /// there have been [`START_TRIES`] already, or at once with `now`.
    pub fn check_start(
        &self,
        own: &Binary,
        node: &NodeName,
        invocation: Option<&str>,
        now: bool,
    ) -> Result<StartCheck, InstallError> {
        let _lock = self.lock()?;
        let Some(mut rescue) = self.rescue() else { return Ok(StartCheck::Nothing) };
        if rescue.guards.is_empty() {
            return Ok(StartCheck::Nothing);
        }
        rescue.recognise(own)?;
        let committed = Binary::open(self.home(), self.committed_name())?.digest();
        if let Some(decided) = rescue.decided(committed) {
            self.put_back(&mut rescue, own, &decided)?;
            return Ok(StartCheck::PutBack(decided));
        }
        let restored = rescue.named(own);
        let guard = rescue.guards.iter_mut().find(|guard| guard.against.digest == committed);
        // None: the guarded version is not committed yet, or an operator put another one there.
        let Some(guard) = guard.filter(|guard| guard.against != restored) else { return Ok(StartCheck::Nothing) };
        let starts = guard.starts.entry(node.clone()).or_default();
        let boot = BootId::current();
        // A start that the host's own end cut short says nothing, unless it was seen to fail before.
        if starts.last().is_some_and(|last| last.boot != boot && !last.failed) {
            starts.pop();
        }
        let spent = u8::try_from(starts.len()).unwrap_or(u8::MAX);
        if now || spent >= START_TRIES {
            let starts = if now { 0 } else { spent };
            let decided =
                PutBack { failed: guard.against.clone(), restored, node: node.clone(), starts, at: Timestamp::now() };
            guard.deciding = Some(decided.clone());
            self.write_rescue(&rescue)?;
            self.put_back(&mut rescue, own, &decided)?;
            return Ok(StartCheck::PutBack(decided));
        }
        starts.push(Start { boot, invocation: invocation.map(str::to_owned), failed: false });
        let against = guard.against.clone();
        self.write_rescue(&rescue)?;
        Ok(StartCheck::Counted { against, start: spent + 1 })
    }

    /// Called after each end of the service, with what its manager says of it.
    pub fn note_end(&self, node: &NodeName, invocation: Option<&str>, end: StartEnd) -> Result<(), InstallError> {
        let _lock = self.lock()?;
        let Some(mut rescue) = self.rescue() else { return Ok(()) };
        let is_it = |start: &Start| invocation.is_none() || start.invocation.as_deref() == invocation;
        for guard in &mut rescue.guards {
            let Some(starts) = guard.starts.get_mut(node) else { continue };
            let Some(at) = starts.iter().rposition(is_it) else { continue };
            match end {
                StartEnd::Failed => starts[at].failed = true,
                StartEnd::Excused => drop(starts.remove(at)),
            }
            return self.write_rescue(&rescue);
        }
        Ok(())
    }

    /// Finishes what a power cut, or a kill of the check, left half done. For a launcher at its start, before
    /// it adopts anything.
    pub fn finish_put_back(&self, own: &Binary) -> Result<Option<PutBack>, InstallError> {
        let deciding = |rescue: &Rescue| rescue.guards.iter().any(|guard| guard.deciding.is_some());
        if !self.rescue().as_ref().is_some_and(deciding) {
            return Ok(None);
        }
        let _lock = self.lock()?;
        let Some(mut rescue) = self.rescue() else { return Ok(None) };
        // What is to be replaced has started after all: the next check decides, or its READY.
        if rescue.recognise(own).is_err() {
            return Ok(None);
        }
        let committed = Binary::open(self.home(), self.committed_name())?.digest();
        let Some(decided) = rescue.decided(committed) else { return Ok(None) };
        self.put_back(&mut rescue, own, &decided)?;
        Ok(Some(decided))
    }

    /// Each step is harmless when it is done again; the guard is lifted last.
    fn put_back(&self, rescue: &mut Rescue, own: &Binary, decided: &PutBack) -> Result<(), InstallError> {
        let restored = &decided.restored;
        let mut state = self.state().or_else(|error| match error {
            // Made anew from the binary at the next start; the swap must not wait for that.
            InstallError::Record { .. } => Ok(State::of(decided.failed.clone())),
            InstallError::Sys(error) if error.is_not_found() => Ok(State::of(decided.failed.clone())),
            error => Err(error),
        })?;
        if state.committed != *restored {
            state.next = Some(restored.clone());
            self.write_state(&state)?;
            self.swap_in(|home, temporary| home.link_handle(own.file(), temporary))?;
            self.note_swap(state)?;
        }
        for node in self.failed_nodes(decided)? {
            let Some(mut record) = self.node(&node)? else { continue };
            if note(&mut record, decided) {
                self.write_node(&node, &record)?;
            }
        }
        rescue.guards.clear();
        rescue.last = Some(decided.clone());
        self.write_rescue(rescue)
    }

    /// The node whose starts failed. Where the service manager calls it by another name than the node
    /// itself: every node that runs the version.
    fn failed_nodes(&self, decided: &PutBack) -> Result<Vec<NodeName>, InstallError> {
        let nodes = self.nodes()?;
        if nodes.iter().any(|(name, _)| *name == decided.node) {
            return Ok(vec![decided.node.clone()]);
        }
        Ok(nodes.into_iter().filter(|(_, record)| record.running == decided.failed).map(|(name, _)| name).collect())
    }
}

/// Writes the verdict into the record, once. Whether it was not there yet.
fn note(record: &mut NodeRecord, decided: &PutBack) -> bool {
    let PutBack { failed, restored, starts, at, .. } = decided;
    let trial = format!("rescue-{}-{}", failed.digest.short(), at.as_millisecond());
    if record.verdicts.iter().any(|verdict| verdict.trial == trial) {
        return false;
    }
    let committed = record.verdicts.iter().rev().find(|verdict| verdict.candidate == *failed);
    let purpose = committed.map_or(Purpose::Upgrade, |verdict| verdict.purpose);
    let due = record.trial.take().filter(|trial| trial.candidate != *failed);
    record.conclude(Verdict {
        trial,
        candidate: failed.clone(),
        from: restored.clone(),
        purpose,
        kind: VerdictKind::Bad,
        reason: "cold-start".to_owned(),
        detail: match starts {
            0 => "an operator had the version before put back".to_owned(),
            starts => format!("it was committed, and then failed to start {starts} times in a row"),
        },
        since: *at,
        at: *at,
        output: String::new(),
        before: None,
        after: None,
    });
    record.trial = due;
    if record.running == *failed {
        record.running = restored.clone();
        record.previous = record.previous.take().filter(|previous| previous != restored);
    }
    true
}

impl Rescue {
    /// What was decided and not finished, unless an operator has put another binary there since.
    fn decided(&self, committed: Sha256Digest) -> Option<PutBack> {
        let decided = self.guards.iter().find_map(|guard| guard.deciding.clone())?;
        [decided.failed.digest, decided.restored.digest].contains(&committed).then_some(decided)
    }

    /// What the program that runs is called.
    fn named(&self, own: &Binary) -> Installed {
        let announced = self.next.as_ref().filter(|next| next.digest == own.digest());
        announced.unwrap_or(&self.binary).clone()
    }
}
