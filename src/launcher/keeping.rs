//! The job's state around a change of version: saved before a candidate may migrate it, and brought back with the
//! version whose state it is.
//!
//! Two things are on disk before anything happens: the pair of a version and its state, before a candidate that
//! migrates is started; and that a restore is due, in the very record that ends the trial. Whichever launcher
//! starts next goes on there, and starts no worker before.

use std::ffi::OsString;
use std::time::Duration;

use jiff::Timestamp;

use super::errand::{Done, Errand, Saved, Task};
use super::setup::LauncherError;
use super::supervisor::{Supervisor, own_binary};
use super::verdict::Failure;
use crate::install::{Binary, Pair, Progress, Restore, Trial, Verdict};
use crate::sys::{Moment, notify_service_manager};
use crate::types::{Meets, Migration, StateEpochs};

/// Between two notes that an errand gets on.
const NOTE: Duration = Duration::from_secs(10);
/// Until an errand is run again without which no worker may start.
const AGAIN: Duration = Duration::from_secs(5);

/// What this launcher knows of the job's state.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) errand: Option<Errand>,
    /// What the candidate needs back lies there already.
    restored: bool,
    /// The worker of the version that runs could not open the state.
    needs: Option<(u32, StateEpochs)>,
    /// The migration that the version that runs may do: an operator put it there.
    word: Option<Migration>,
    noted: Option<Moment>,
}

impl Supervisor {
    /// What has to be done with the state before the candidate may start. Once it is done, this is called again.
    /// `false`: nothing, or nothing any more.
    pub(super) fn sees_to_state_first(&mut self) -> bool {
        let Some(change) = self.record.trial.as_ref().and_then(|trial| trial.state.clone()) else { return false };
        let task = match (change.saved, change.restores) {
            (None, _) => Task::Save,
            (Some(_), Some(pair)) if !self.keeping.restored => {
                Task::Restore(Restore { pair, aside: change.aside.unwrap_or_default() })
            }
            _ => return false,
        };
        if let Err(error) = self.run_errand(task.clone()) {
            self.errand_failed(&task, &error.to_string());
        }
        true
    }

    /// The same before the version that runs may start: also what its last worker found missing.
    pub(super) fn sees_to_state_of_running(&mut self) -> bool {
        if self.record.restore.is_none() {
            self.heed_needs();
        }
        let task = match &self.record.restore {
            Some(restore) => Task::Restore(restore.clone()),
            None if self.keeping.needs.is_some() => Task::Save,
            None => return false,
        };
        if let Err(error) = self.run_errand(task.clone()) {
            self.errand_failed(&task, &error.to_string());
        }
        true
    }

    /// Whether a worker that starts now would meet a state that is not its own.
    pub(super) fn state_is_taken(&self) -> bool {
        self.keeping.errand.is_some() || self.record.restore.is_some() && !self.leaving.is_empty()
    }

    /// The worker of the version that runs says that it cannot open the state. It ends by itself.
    pub(super) fn hear_needs(&mut self, found: u32, epochs: StateEpochs) {
        tracing::warn!(event = "state_not_opened", found, reads_from = epochs.reads_from, writes = epochs.writes);
        self.keeping.needs = Some((found, epochs));
    }

    /// A version that runs, and whose state is another's: the rescue, or an operator, put it there. What fits it
    /// comes back; what is older is saved, and then it may migrate that.
    fn heed_needs(&mut self) {
        let Some((found, epochs)) = self.keeping.needs else { return };
        match epochs.meets(found) {
            Meets::TooNew { .. } => {
                self.keeping.needs = None;
                let Some(pair) = self.record.pair_for(epochs).cloned() else {
                    let remedy = "no state is kept here that this version can open; install the version that wrote it";
                    tracing::error!(event = "state_too_new", found, writes = epochs.writes, remedy);
                    return;
                };
                let restore = Restore::due(pair, Timestamp::now());
                // The verdict by which this version came back has not reached the history yet.
                let running = &self.record.running;
                if let Some(last) = self.record.verdicts.last_mut().filter(|last| last.from == *running) {
                    last.detail = format!("{}; {restore}", last.detail);
                }
                self.record.restore = Some(restore);
                self.save();
            }
            // Saved first: see `state_saved`.
            Meets::Older { .. } => {}
            Meets::Same | Meets::TooOld { .. } => self.keeping.needs = None,
        }
    }

    /// The migration of which a worker that is started now hears.
    pub(super) fn word_for(&self, on_trial: bool) -> Option<Migration> {
        if !on_trial {
            return self.keeping.word;
        }
        let change = self.record.trial.as_ref().and_then(|trial| trial.state.as_ref());
        change.filter(|change| change.saved.is_some()).and_then(crate::install::StateChange::word)
    }

    fn run_errand(&mut self, task: Task) -> Result<(), LauncherError> {
        // Whoever wrote the state knows it: the version that runs, or the one that an operator put in its place.
        let binary: Binary = match self.install.why_detached() {
            Some(_) => own_binary()?,
            None => self.install.open_version(&self.record.running)?,
        };
        tracing::info!(event = "errand_started", task = %task, version = %self.record.running.version);
        notify_service_manager(&format!("STATUS=has to {task} first"));
        let node = OsString::from(self.setup.data.identity()?);
        self.keeping.errand = Some(Errand::start(task, &binary, &self.setup.options, &self.setup.files, node)?);
        Ok(())
    }

    /// Hears the errand that is under way, and goes on when it is done.
    pub(super) fn see_to_errand(&mut self, now: Moment) {
        let Some(errand) = &mut self.keeping.errand else { return };
        let got_on = errand.hear(now);
        let done = errand.done(now);
        if got_on && self.keeping.noted.is_none_or(|noted| noted.after(NOTE) <= now) {
            self.keeping.noted = Some(now);
            self.lengthen_lease();
            // Where this is a start, the service manager waits.
            notify_service_manager(&format!("EXTEND_TIMEOUT_USEC={}", (NOTE * 9).as_micros()));
        }
        let Some(done) = done else { return };
        let children = self.children();
        let Some(errand) = self.keeping.errand.take() else { return };
        let task = errand.task.clone();
        errand.end(&children);
        match (&task, done) {
            (Task::Save, Done::Saved(saved)) => self.state_saved(saved),
            (Task::Restore(restore), Done::Restored) => self.state_restored(restore),
            (_, Done::Failed(why)) => self.errand_failed(&task, &why),
            (_, _) => self.errand_failed(&task, "it did something else"),
        }
    }

    fn state_saved(&mut self, saved: Saved) {
        let Saved { snapshot, digest, epoch, at } = saved;
        let on_trial = self.progress() == Some(Progress::Starting);
        let replaced = self.record.previous.clone().filter(|_| !on_trial);
        let binary = replaced.unwrap_or_else(|| self.record.running.clone());
        let pair = Pair { binary, snapshot, digest, epoch, at };
        tracing::info!(event = "state_saved", snapshot = pair.snapshot, epoch);
        self.record.keep_pair(pair.clone());
        let change = self.record.trial.as_mut().filter(|_| on_trial).and_then(|trial| trial.state.as_mut());
        if let Some(change) = change {
            change.aside = change.restores.is_some().then(|| Restore::due(pair.clone(), at).aside);
            change.saved = Some(pair);
        }
        // Only what is on disk can be brought back.
        if !self.save() {
            if on_trial {
                return self.fail(&Failure::inconclusive("record", "the node's record cannot be written"));
            }
            return self.errand_failed(&Task::Save, "the node's record cannot be written");
        }
        if on_trial {
            self.lengthen_lease();
            return self.start_next();
        }
        if let Some((found, epochs)) = self.keeping.needs.take() {
            self.keeping.word = Some(Migration { from: found, to: epochs.writes });
        }
        self.start_running();
    }

    fn state_restored(&mut self, restore: &Restore) {
        let Restore { pair, aside } = restore;
        tracing::warn!(event = "state_restored", snapshot = pair.snapshot, epoch = pair.epoch, set_aside = aside);
        if self.record.restore.as_ref() != Some(restore) {
            self.keeping.restored = true;
            return self.start_next();
        }
        self.record.restore = None;
        self.record.drop_pairs_from(pair);
        // Not written: then it is written later; done again, a restore changes nothing.
        self.save();
        self.start_running();
    }

    fn errand_failed(&mut self, task: &Task, why: &str) {
        tracing::error!(event = "errand_failed", task = %task, why);
        if self.is_stopping() {
            return;
        }
        let on_trial = self.progress() == Some(Progress::Starting) && self.record.restore.is_none();
        if on_trial {
            let detail = format!("could not {task}: {why}. The candidate was not started");
            return self.fail(&Failure::inconclusive(Verdict::STATE, detail));
        }
        notify_service_manager(&format!("STATUS=cannot {task}: {}", why.replace('\n', " ")));
        self.restart.due = Some(Moment::now().after(AGAIN));
    }

    /// The trial ends, or begins again later: what the candidate may have done to the state is to be undone, and
    /// that is in the record that says so. Returns a sentence for the history.
    pub(super) fn undo_state_change(&mut self, trial: &Trial) -> Option<String> {
        self.keeping.restored = false;
        let pair = trial.state.as_ref()?.saved.clone()?;
        let restore = Restore::due(pair, Timestamp::now());
        let sentence = restore.to_string();
        self.record.restore = Some(restore);
        Some(sentence)
    }

    /// The candidate is committed: what an older one got back is no longer something to go back to.
    pub(super) fn settle_state_change(&mut self, trial: &Trial) -> Option<String> {
        self.keeping.restored = false;
        let change = trial.state.as_ref()?;
        let pair = change.restores.as_ref()?;
        self.record.drop_pairs_from(pair);
        Some(format!("{pair} came back; what was newer is set aside as {}", change.aside.as_deref()?))
    }

    /// Whatever is under way is not waited for.
    pub(super) fn cancel_errand(&mut self) {
        let children = self.children();
        if let Some(errand) = self.keeping.errand.take() {
            errand.end(&children);
        }
    }

    fn lengthen_lease(&mut self) {
        let steps = &self.setup.trial;
        let span = steps.start + steps.probation + steps.handoff + steps.drain * 3 + NOTE * 6;
        let Some(epoch) = self.record.trial.as_ref().and_then(|trial| trial.lease) else { return };
        if let Err(error) = self.install.extend_lease(epoch, span) {
            tracing::warn!(event = "lease_not_extended", %error);
        }
    }
}
