//! The ends of a trial that are no commit: the candidate is out, or its trial begins again later. Either way the
//! version before serves again.

use super::protocol::ToWorker;
use super::supervisor::Supervisor;
use super::verdict::{Failure, doing};
use crate::install::{LeaseEpoch, Progress, Trial};
use crate::sys::{Exit, end_myself_after};

/// The exit code by which a worker says that it could not use its files: a full disk, say.
const STORAGE: i32 = 9;

impl Supervisor {
    /// At a start: what became of a trial that was under way when the launcher before ended.
    pub(super) fn recover_trial(&mut self) {
        let install = self.install.clone();
        // Also the one of a kill between the lease and the record that names it.
        if let Err(error) = install.drop_leases_of(&self.setup.node) {
            tracing::warn!(event = "lease_not_released", %error, "tries again; it also ends by itself");
            self.save_later();
        }
        let Some(trial) = self.record.trial.clone() else { return };
        if trial.progress == Progress::Pending {
            return;
        }
        let committed = install.committed().ok().flatten();
        if trial.progress == Progress::Handoff && committed.as_ref() == Some(&trial.candidate) {
            // The swap was done, and only the note of it is missing.
            self.record_success(&trial);
        } else if trial.tries_left == 0 {
            let detail = format!("cut short {} times, last while {}", self.setup.trial.tries, doing(trial.progress));
            self.record_failure(&trial, &Failure::bad("tries-exhausted", detail), String::new(), None);
        } else {
            self.undo_state_change(&trial);
            let Some(trial) = &mut self.record.trial else { return };
            tracing::warn!(event = "trial_was_cut_short", version = %trial.candidate.version, tries_left = trial.tries_left);
            trial.progress = Progress::Pending;
            (trial.lease, trial.state) = (None, None);
        }
        self.save();
    }

    pub(super) fn candidate_ended(&mut self, exit: Exit) {
        let Some((worker, _)) = &mut self.candidate else { return };
        worker.copy_output();
        let progress = self.record.trial.as_ref().map_or(Progress::Starting, |trial| trial.progress);
        // A full disk, said by its exit code, is no more its fault than a kill.
        let from_outside = worker.stopping || matches!(exit, Exit::Signal(2 | 9 | 15) | Exit::Code(STORAGE));
        let tries_left = self.record.trial.as_ref().map_or(0, |trial| trial.tries_left);
        if from_outside && tries_left == 0 {
            let detail =
                format!("cut short {} times, last by {exit} while {}", self.setup.trial.tries, doing(progress));
            return self.fail(&Failure::bad("tries-exhausted", detail));
        }
        if from_outside {
            // Somebody killed it, it was told to stop, or its disk failed: that spends a try and says
            // nothing more.
            tracing::warn!(event = "trial_was_cut_short", %exit, tries_left);
            self.make_due_again();
            return self.back_to_running(None);
        }
        self.fail(&Failure::bad("exited", format!("it ended with {exit} while {}", doing(progress))));
    }

    /// The candidate is out: it is killed, the verdict is recorded, the version before serves again.
    pub(super) fn fail(&mut self, failure: &Failure) {
        let Some(trial) = self.record.trial.clone() else { return };
        self.next = None;
        self.cancel_errand();
        let mut failure = failure.clone();
        if trial.progress == Progress::Starting && self.active.is_none() && self.restart.due.is_none() {
            let running = &self.record.running.version;
            failure.detail =
                format!("{}; {running} had left to make room for it, and is started again", failure.detail);
        }
        let after = self.vitals_of_candidate();
        let children = self.children();
        let output = match &mut self.candidate {
            None => String::new(),
            Some((worker, _)) => {
                worker.kill(&children);
                worker.copy_output();
                worker.tail.text()
            }
        };
        self.record_failure(&trial, &failure, output, after);
        self.save();
        // Siblings see the verdict before they may try.
        if let Some(epoch) = trial.lease {
            self.give_up_lease(epoch);
        }
        self.back_to_running(Some(&trial));
    }

    /// Kills what is left of the candidate and lets the version before serve.
    fn back_to_running(&mut self, failed: Option<&Trial>) {
        end_myself_after(None);
        self.leave_bedside();
        let children = self.children();
        if let Some((worker, _)) = self.candidate.take() {
            worker.kill(&children);
            if worker.exit.is_none() {
                self.await_exit(worker);
            }
        }
        if failed.is_some()
            && let Err(error) = self.install.prune()
        {
            tracing::warn!(event = "prune_failed", %error);
        }
        if self.own.digest() != self.record.running.digest && !self.is_committed() {
            // This launcher came with the candidate: the one that is known to be good takes over again.
            self.return_to_committed();
        }
        if self.active.is_none() && !self.is_stopping() {
            self.start_running();
        } else if failed.is_some() {
            self.tell_verdict();
        } else if let Some(worker) = self.active.as_ref().filter(|worker| worker.ready) {
            // It begins the trial again, instead of waiting for its verdict.
            worker.tell(&ToWorker::Activate);
        }
    }

    fn is_committed(&self) -> bool {
        self.install.committed().ok().flatten().is_none_or(|committed| committed.digest == self.own.digest())
    }

    fn return_to_committed(&mut self) {
        let Ok(Some(committed)) = self.install.committed() else { return };
        // The next launcher knows nothing of a worker that is only to be reaped.
        self.wait_for_killed();
        match self.install.open_version(&committed) {
            Ok(binary) => {
                tracing::info!(event = "launcher_hands_back", version = %committed.version);
                let error = self.pass_baton(&binary);
                tracing::error!(event = "launcher_stays", %error);
            }
            Err(error) => tracing::error!(event = "launcher_stays", %error),
        }
    }

    /// A stop is under way: the trial is due again at the next start, and the stop costs no try.
    pub(super) fn set_trial_aside(&mut self) {
        self.leave_bedside();
        if self.progress().is_none_or(|progress| progress == Progress::Pending) {
            return;
        }
        self.next = None;
        if let Some(trial) = &mut self.record.trial {
            trial.tries_left += 1;
        }
        self.make_due_again();
    }

    /// The trial goes back to its beginning, and siblings may try.
    fn make_due_again(&mut self) {
        let Some(trial) = self.record.trial.clone() else { return };
        self.undo_state_change(&trial);
        let Some(trial) = &mut self.record.trial else { return };
        trial.progress = Progress::Pending;
        trial.state = None;
        let lease = trial.lease.take();
        self.save();
        if let Some(epoch) = lease {
            self.give_up_lease(epoch);
        }
    }

    pub(super) fn give_up_lease(&mut self, epoch: LeaseEpoch) {
        if let Err(error) = self.install.release_lease(epoch) {
            tracing::warn!(event = "lease_not_released", %error, "tries again; it also ends by itself");
            self.save_later();
        }
    }
}
