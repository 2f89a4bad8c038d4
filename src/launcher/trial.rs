//! The trial: the state machine whose states are [`Progress`] and whose edges are the methods here.
//!
//! ```text
//!            begin_trial            READY            probation over, sound   taken over, proved
//!  (Pending) ───────────▶ Starting ───────▶ Probation ────────────────▶ Handoff ───────────▶ commit
//!      ▲                     │                │ ▲ │                        │                   │
//!      │                     │                └─┘ │ extend_probation       │                   │
//!      └── set_trial_aside ──┴────────────────────┴── fail: back to the version before ────────┘
//! ```
//!
//! How healthy the candidate is in the meantime is the matter of [`super::bedside`]; what it does to the job's state,
//! of [`super::keeping`]; how it ends without a commit, of [`super::ending`].

use std::time::Duration;

use jiff::Timestamp;

use super::handoff::Baton;
use super::judge::Judgement;
use super::protocol::{GiveUp, ToLauncher, ToWorker, TryReply, TryRequest};
use super::sockets::Sockets;
use super::supervisor::Supervisor;
use super::verdict::{Failure, doing};
use crate::install::{Binary, CommitError, Committed, InstallError, Installed, LeaseOutcome, Progress, Trial};
use crate::sys::{Moment, blames_host, end_myself_after};
use crate::types::Overlap;

/// What a launcher may take, beyond its time to prove itself, before the kernel ends it.
const HANDOFF_MARGIN: Duration = Duration::from_secs(10);

/// Until a commit is tried again for which the disk had no room.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);

/// A candidate that was admitted to its trial.
#[derive(Debug)]
pub(super) struct Next {
    candidate: Installed,
    binary: Binary,
    /// Whether every other worker must have left before it starts.
    alone: bool,
}

impl Supervisor {
    /// Starts the candidate. The worker that asked hears the answer before anything can fail.
    pub(super) fn begin_trial(&mut self, request: TryRequest) {
        let (id, overlap, changes_state) = (request.id.clone(), request.overlap, request.state.is_some());
        match self.admit(request) {
            Err(reply) => {
                if !self.is_at_work() {
                    self.leave_bedside();
                }
                self.answer(reply);
            }
            Ok((candidate, binary)) => {
                self.answer(TryReply::Accepted { id });
                // Where nobody runs, nobody is in the way either.
                let running = self.active.as_ref().map_or(overlap, |worker| worker.overlap);
                let alone = running.with(overlap) == Overlap::StopFirst || changes_state;
                self.next = Some(Next { candidate, binary, alone });
                if changes_state {
                    // Nor does it come back beside the candidate, where it has ended by itself.
                    self.restart.due = None;
                }
                if alone && let Some(old) = self.active.take() {
                    tracing::info!(event = "worker_makes_room", version = %old.runs.version);
                    self.dismiss(old, false);
                }
                self.start_next();
            }
        }
    }

    /// Starts the candidate that was admitted, once it may run.
    pub(super) fn start_next(&mut self) {
        let (nobody, stopping) = (self.leaving.is_empty(), self.is_stopping());
        let may = self.next.as_ref().is_some_and(|next| (!next.alone || nobody) && !stopping);
        if !may || self.keeping.errand.is_some() || self.sees_to_state_first() {
            return;
        }
        let Some(Next { candidate, binary, .. }) = self.next.take() else {
            return;
        };
        let deadline = Moment::now().after(self.setup.trial.start);
        match self.start_worker(&candidate, &binary, true) {
            Ok(worker) => self.candidate = Some((worker, deadline)),
            Err(error) => {
                let detail = format!("it cannot be executed: {error}");
                self.fail(&if blames_host(&error) {
                    Failure::inconclusive("cannot-execute", detail)
                } else {
                    Failure::bad("cannot-execute", detail)
                });
            }
        }
    }

    /// Tells whoever asked, also when it is on its way out already.
    pub(super) fn answer(&self, reply: TryReply) {
        tracing::info!(event = "trial_requested", answer = ?reply);
        if let Some(worker) = self.active.as_ref().or_else(|| self.leaving.last().map(|(worker, _)| worker)) {
            worker.tell(&ToWorker::TryReply(reply));
        }
    }

    /// Whether a trial is under way already, or none can begin any more.
    pub(super) fn is_at_work(&self) -> bool {
        let under_way = self.progress().is_some_and(|progress| progress != Progress::Pending);
        self.is_stopping() || self.candidate.is_some() || self.successor.is_some() || under_way
    }

    /// Everything before the first step, the note of which is on disk then: one try is spent.
    fn admit(&mut self, request: TryRequest) -> Result<(Installed, Binary), TryReply> {
        let TryRequest { id, candidate, purpose, asked_for, state, .. } = request;
        if self.is_at_work() {
            return Err(TryReply::Busy { id });
        }
        let refused = |reason: String| TryReply::Refused { id: id.clone(), reason };
        if let Some(reason) = self.install.why_detached() {
            return Err(refused(reason.to_owned()));
        }
        let binary = self.install.open_version(&candidate).map_err(|error| refused(error.to_string()))?;
        let steps = &self.setup.trial;
        // Every step at its longest, and as much again for the way between them as old workers take to
        // leave, twice: they leave during probation, and on a busy host disks are as slow as workers.
        let span = steps.start + steps.probation + steps.handoff + steps.drain * 3;
        let lease = self.install.acquire_lease(&self.setup.node, &candidate, span, steps.siblings_at_once);
        let epoch = match lease.map_err(|error| refused(error.to_string()))? {
            LeaseOutcome::Mine { epoch, after } => {
                if let Some(sibling) = after {
                    tracing::warn!(event = "lease_taken_over", %sibling, "its time was over, and it was not given back");
                }
                epoch
            }
            LeaseOutcome::Held { by, remaining, .. } => {
                return Err(TryReply::Wait { id, by, seconds: remaining.as_secs() + 1 });
            }
        };
        // Only under the lease: while this node prepared, a sibling may have tried it to the end.
        if !asked_for && let Some(by) = self.failed_at_sibling(&candidate.version) {
            self.give_up_lease(epoch);
            return Err(TryReply::Wait { id, by, seconds: 1 });
        }
        let before = self.record.trial.take();
        let resumed = before.as_ref().filter(|trial| trial.candidate == candidate);
        self.record.trial = Some(Trial {
            id: id.clone(),
            candidate: candidate.clone(),
            purpose,
            progress: Progress::Starting,
            tries_left: resumed.map_or(steps.tries.into(), |trial| trial.tries_left).saturating_sub(1),
            lease: Some(epoch),
            since: resumed.map_or_else(Timestamp::now, |trial| trial.since),
            before: self.vitals_before_trial(),
            state,
        });
        if !self.save() {
            self.record.trial = before;
            self.give_up_lease(epoch);
            return Err(refused("the node's record cannot be written; nothing was started".to_owned()));
        }
        Ok((candidate, binary))
    }

    /// A trial that is due cannot be begun again: the release is gone, say. Then it is over.
    pub(super) fn give_up(&mut self, GiveUp { id, reason }: &GiveUp) {
        let Some(trial) = self.record.trial.clone() else { return };
        if trial.progress == Progress::Pending && trial.id == *id {
            self.record_failure(&trial, &Failure::inconclusive("given-up", reason), String::new(), None);
            self.save();
            self.tell_verdict();
        }
    }

    pub(super) fn hear_candidate(&mut self, message: ToLauncher) {
        match message {
            ToLauncher::Ready if self.progress() == Some(Progress::Starting) => self.candidate_ready(),
            ToLauncher::Stopping => {
                if let Some((worker, _)) = &mut self.candidate {
                    worker.stopping = true;
                }
            }
            ToLauncher::Vitals(reported) => {
                if let Some((worker, _)) = &mut self.candidate {
                    worker.said = reported;
                }
                // What it says of itself counts in every state, also before it is ready.
                if let Judgement::Sick(because) = self.judgement_of_job() {
                    self.fail(&Failure::bad("unhealthy", because));
                }
            }
            // A candidate has nothing to ask for, and its status is not the node's yet.
            _ => {}
        }
    }

    fn candidate_ready(&mut self) {
        let probation = self.probation();
        let Some(trial) = &mut self.record.trial else { return };
        trial.progress = Progress::Probation;
        if !self.save() {
            return self.fail(&Failure::inconclusive("record", "the node's record cannot be written"));
        }
        let Some((worker, deadline)) = &mut self.candidate else { return };
        worker.ready = true;
        *deadline = Moment::now().after(probation);
        worker.tell(&ToWorker::Activate);
        // An old worker that ended meanwhile does not come back beside the candidate.
        self.restart.due = None;
        tracing::info!(event = "candidate_ready", version = %worker.runs.version, probation_s = probation.as_secs());
        if let Some(old) = self.active.take() {
            self.dismiss(old, true);
        }
        self.begin_probation(probation);
    }

    pub(super) fn meet_trial_deadlines(&mut self, now: Moment) {
        let (Some(progress), Some((worker, deadline))) = (self.progress(), &self.candidate) else { return };
        let silent = worker.ready && worker.heard.after(self.setup.trial.watchdog) <= now;
        // A step that is shorter than the watchdog must not be over before silence would be noticed:
        // it ends with the first sign of life after its time.
        let (due, alive) = (*deadline <= now, worker.heard >= *deadline);
        match progress {
            _ if silent => {
                let limit = self.setup.trial.watchdog;
                self.fail(&Failure::bad(
                    "watchdog",
                    format!("it gave no sign of life for {limit:?} while {}", doing(progress)),
                ));
            }
            Progress::Starting if due => {
                let limit = self.setup.trial.start;
                self.fail(&Failure::bad("not-ready", format!("it did not say that it is ready within {limit:?}")));
            }
            Progress::Probation => self.meet_probation(due, alive, now),
            Progress::Handoff if alive => self.commit(),
            _ => {}
        }
    }

    /// The candidate's own launcher takes over, from its own place; the committed path is still the old one.
    pub(super) fn hand_off(&mut self) {
        self.leave_bedside();
        let install = self.install.clone();
        let Some(trial) = self.record.trial.clone() else { return };
        if let Some(trial) = &mut self.record.trial {
            trial.progress = Progress::Handoff;
        }
        if !self.save() {
            return self.fail(&Failure::inconclusive("record", "the node's record cannot be written"));
        }
        if trial.candidate.digest == self.own.digest() {
            // This launcher is that version already: a sibling committed it before.
            return self.commit();
        }
        let binary = match install.open_version(&trial.candidate) {
            Ok(binary) => binary,
            Err(error) => return self.fail(&Failure::inconclusive("version-unusable", error.to_string())),
        };
        // By this launcher, which is known to be good: the next one is not asked to guard against itself.
        if let Err(error) = install.arm_rescue(&trial.candidate) {
            return self.fail(&Failure::inconclusive("rescue", error.to_string()));
        }
        tracing::info!(event = "launcher_hands_over", version = %trial.candidate.version);
        let error = self.pass_baton(&binary);
        self.fail(&Failure::bad("handoff", format!("its launcher cannot be executed: {error}")));
    }

    /// Becomes `binary`. Returns only on failure.
    pub(super) fn pass_baton(&mut self, binary: &Binary) -> std::io::Error {
        // The baton borrows nothing, so that it can be taken apart again when exec fails.
        let lock = match self.lock.try_clone() {
            Ok(lock) => lock,
            Err(error) => return error,
        };
        let deadline = self.candidate.as_ref().map(|(_, deadline)| *deadline);
        let baton = Baton {
            committed: self.setup.committed.clone(),
            worker: self.candidate.take().map(|(worker, _)| worker),
            lock,
            sockets: std::mem::replace(&mut self.sockets, Sockets::none()),
            reloads: self.reloads,
            reload_due: self.reload_due,
            companions: self.companions.clone(),
            files: Some(self.setup.files.clone()),
        };
        // A launcher that hangs before it can prove itself is ended, and the committed one started.
        end_myself_after(Some(self.setup.trial.handoff + HANDOFF_MARGIN));
        let error = baton.pass(binary, &self.setup.args("run"));
        end_myself_after(None);
        self.sockets = baton.sockets;
        self.candidate = baton.worker.zip(deadline);
        error
    }

    fn commit(&mut self) {
        let install = self.install.clone();
        let Some(trial) = self.record.trial.clone() else { return };
        let Some(epoch) = trial.lease else { return };
        let committed = match install.commit(&trial.candidate, epoch) {
            Ok(committed) => committed,
            Err(error @ CommitError::LeaseLost) => {
                return self.fail(&Failure::inconclusive("lease-lost", error.to_string()));
            }
            // The candidate serves meanwhile, and the committed binary is still the old one.
            Err(CommitError::Install(InstallError::Sys(error))) if error.is_passing() => {
                tracing::warn!(event = "commit_put_off", %error, "tries again");
                end_myself_after(None);
                if let Some((_, deadline)) = &mut self.candidate {
                    *deadline = Moment::now().after(COMMIT_AGAIN);
                }
                return;
            }
            Err(error @ CommitError::Install(_)) => {
                return self.fail(&Failure::inconclusive("commit", error.to_string()));
            }
        };
        end_myself_after(None);
        self.record_success(&trial);
        self.save();
        if let Committed::NotNoted(error) = committed {
            tracing::error!(event = "commit_not_noted", %error, "tries again");
            self.save_later();
        }
        self.give_up_lease(epoch);
        self.active = self.candidate.take().map(|(worker, _)| worker);
        tracing::info!(event = "upgrade_committed", version = %trial.candidate.version);
        self.tell_verdict();
    }
}
