//! Health around a trial: what is asked about the version that serves before the candidate starts,
//! what is asked about the candidate, and the numbers of both, side by side.

use std::time::Duration;

use super::checkup::{Answer, Check, Checkup, configured};
use super::judge::{Judge, Judgement, of_job};
use super::protocol::{TryReply, TryRequest};
use super::supervisor::Supervisor;
use super::verdict::Failure;
use super::worker::Worker;
use crate::install::{Progress, Verdict, Vitals};
use crate::sys::{Moment, resident_memory};
use crate::types::Health;

/// What this launcher knows of the health of the trial that is asked for, or under way.
#[derive(Debug, Default)]
pub(super) struct Bedside {
    pub(super) checkup: Checkup,
    /// The request that waits for what the checks say of the version that serves.
    asked: Option<Asked>,
    judge: Judge,
    /// The worst that they said of it.
    before: Option<Health>,
    /// Checks that are still to be made in this round.
    left: Vec<Check>,
    round: Option<Moment>,
    look: Option<Moment>,
    /// When probation ends at the latest.
    cap: Option<Moment>,
    extended: bool,
    first: Option<Vitals>,
    grown: bool,
}

#[derive(Debug)]
struct Asked {
    request: TryRequest,
    left: Vec<Check>,
    before: Vec<Answer>,
}

/// Looks at a candidate's numbers during its probation.
const LOOKS: u32 = 6;
const SHORTEST_LOOK: Duration = Duration::from_secs(1);
/// More than twice as much as at first, and so much more: worth a warning.
const MEMORY_GROWN: u64 = 32 << 20;
const DESCRIPTORS_GROWN: u64 = 64;

impl Bedside {
    /// When something is to be done here next.
    pub(super) fn deadlines(&self, alone: bool, now: Moment) -> impl Iterator<Item = Moment> {
        let round = self.round.filter(|_| alone && !self.checkup.is_running());
        // Past its time it waits for a sign of life.
        let cap = self.cap.filter(|cap| self.extended && *cap > now);
        [self.checkup.deadline(), round, self.look, cap].into_iter().flatten()
    }

    /// Nobody had to be on time for so long.
    pub(super) fn forgive(&mut self, late: Duration) {
        self.checkup.forgive(late);
        self.cap = self.cap.map(|cap| cap.after(late));
    }
}

impl Supervisor {
    /// A worker asks to have a staged candidate tried. Where checks are configured, they first tell
    /// how the version is that serves: what fails with it, too, is not the candidate's fault.
    pub(super) fn try_candidate(&mut self, request: TryRequest) {
        let left = configured(&self.setup.health);
        if self.is_at_work() || self.bedside.asked.is_some() {
            return self.answer(TryReply::Busy { id: request.id });
        }
        if left.is_empty() {
            return self.begin_trial(request);
        }
        self.bedside.asked = Some(Asked { request, left, before: Vec::new() });
        self.check_next();
    }

    /// Takes what the checks have answered, and makes those that are due.
    pub(super) fn see_to_health(&mut self, now: Moment) {
        let children = self.children();
        if let Some(answer) = self.bedside.checkup.answer(now, &children) {
            self.hear_check(answer);
            self.check_next();
        }
        if self.progress() != Some(Progress::Probation) || self.candidate.is_none() {
            return;
        }
        // Only when old workers have gone: none of them can answer for the candidate then.
        let due = self.bedside.round.is_some_and(|round| round <= now);
        if due && self.leaving.is_empty() && !self.bedside.checkup.is_running() {
            self.bedside.round = Some(now.after(self.setup.health.every));
            self.bedside.left = configured(&self.setup.health);
            self.check_next();
        }
        if self.bedside.look.is_some_and(|look| look <= now) {
            self.look_at_candidate(now);
        }
    }

    fn check_next(&mut self) {
        loop {
            let left = match &mut self.bedside.asked {
                Some(asked) => &mut asked.left,
                None => &mut self.bedside.left,
            };
            let Some(check) = left.pop() else { break };
            match self.bedside.checkup.start(check, &self.setup.health, &self.own, &self.setup.options) {
                Ok(()) => return,
                Err(answer) => self.hear_check(answer),
            }
        }
        if let Some(Asked { request, before, .. }) = self.bedside.asked.take() {
            self.bedside.judge = Judge::new(self.setup.health.failures, &before);
            self.bedside.before = before.iter().map(|answer| answer.health).max();
            self.begin_trial(request);
        }
    }

    fn hear_check(&mut self, answer: Answer) {
        let Answer { check, health, detail } = &answer;
        let about = if self.bedside.asked.is_some() { "running" } else { "candidate" };
        tracing::info!(event = "health_checked", about, %check, %health, detail);
        match &mut self.bedside.asked {
            Some(asked) => asked.before.push(answer),
            None => self.bedside.judge.hear(answer),
        }
    }

    /// The numbers of the version that serves, before anything else happens.
    pub(super) fn vitals_before_trial(&self) -> Option<Vitals> {
        let vitals = self.active.as_ref().map(|worker| vitals_of(worker, self.bedside.before, self.restart.total))?;
        tracing::info!(event = "vitals_before_trial", version = %self.record.running.version, %vitals);
        Some(vitals)
    }

    /// The candidate serves: from now on it is looked at.
    pub(super) fn begin_probation(&mut self, probation: Duration) {
        let now = Moment::now();
        self.bedside.round = (!configured(&self.setup.health).is_empty()).then_some(now);
        self.bedside.look = Some(now);
        self.bedside.cap = Some(now.after(self.setup.trial.longest_probation.max(probation)));
    }

    /// The candidate's numbers, if there is a candidate.
    pub(super) fn vitals_of_candidate(&self) -> Option<Vitals> {
        let (worker, _) = self.candidate.as_ref()?;
        let tries_left = self.record.trial.as_ref().map_or(0, |trial| trial.tries_left);
        let restarts = u32::from(self.setup.trial.tries).saturating_sub(tries_left + 1);
        // Nothing is handed over before every check was content.
        let content = self.progress() == Some(Progress::Handoff) && !configured(&self.setup.health).is_empty();
        let checked = if content { Some(Health::Healthy) } else { self.bedside.judge.worst() };
        Some(vitals_of(worker, checked, restarts))
    }

    fn look_at_candidate(&mut self, now: Moment) {
        self.bedside.look = Some(now.after((self.probation() / LOOKS).max(SHORTEST_LOOK)));
        let (Some(vitals), Some((worker, _))) = (self.vitals_of_candidate(), &self.candidate) else { return };
        let (version, pid) = (&worker.runs.version, worker.pid.as_raw());
        tracing::info!(event = "candidate_vitals", %version, pid, %vitals);
        let first = self.bedside.first.get_or_insert_with(|| vitals.clone());
        let grown = |then: Option<u64>, now: Option<u64>, least: u64| {
            then.zip(now).is_some_and(|(then, now)| now > then.saturating_mul(2).max(then.saturating_add(least)))
        };
        let memory = grown(first.memory, vitals.memory, MEMORY_GROWN);
        let descriptors = grown(first.descriptors, vitals.descriptors, DESCRIPTORS_GROWN);
        if (memory || descriptors) && !self.bedside.grown {
            tracing::warn!(event = "candidate_grows", %version, pid, at_first = %first, now = %vitals, "decides nothing by itself");
            self.bedside.grown = true;
        }
    }

    /// What is known of the candidate's health.
    fn judgement(&self) -> Judgement {
        self.judgement_of_job().or(self.bedside.judge.judgement())
    }

    /// What the candidate's job says of itself, in the light of what the one before said.
    pub(super) fn judgement_of_job(&self) -> Judgement {
        let Some((worker, _)) = &self.candidate else { return Judgement::Sound };
        let before = self.record.trial.as_ref().and_then(|trial| trial.before.as_ref()).and_then(|before| before.says);
        of_job(before, &worker.said)
    }

    /// The probation ends where the candidate is sick, and where its time is `over`, it is sound and
    /// `alive` since. What nobody can tell makes it longer, up to the cap.
    pub(super) fn meet_probation(&mut self, over: bool, alive: bool, now: Moment) {
        match self.judgement() {
            Judgement::Sick(because) => self.fail(&Failure::bad("unhealthy", because)),
            // Old workers are this launcher's own children to wait for: they leave first.
            Judgement::Sound if alive && self.leaving.is_empty() => self.hand_off(),
            Judgement::Open(because) | Judgement::Unclear(because) if over => self.extend_probation(because, now),
            _ => {}
        }
    }

    fn extend_probation(&mut self, because: String, now: Moment) {
        let Some(cap) = self.bedside.cap else { return };
        if cap <= now {
            return self.fail(&Failure::inconclusive(Verdict::HEALTH, because));
        }
        if self.bedside.extended {
            return;
        }
        self.bedside.extended = true;
        let at_most = now.until(cap);
        tracing::warn!(event = "probation_extended", because, at_most_s = at_most.as_secs());
        let steps = &self.setup.trial;
        let span = at_most + steps.handoff + steps.drain * 3;
        let Some(epoch) = self.record.trial.as_ref().and_then(|trial| trial.lease) else { return };
        match self.install.extend_lease(epoch, span) {
            Ok(true) => {}
            Ok(false) => self.fail(&Failure::inconclusive("lease-lost", "another node tries a version by now")),
            Err(error) => self.fail(&Failure::inconclusive("lease-lost", error.to_string())),
        }
    }

    /// The trial is over, or will not begin: nothing more is asked.
    pub(super) fn leave_bedside(&mut self) {
        let children = self.children();
        self.bedside.checkup.cancel(&children);
        self.bedside = Bedside::default();
    }
}

fn vitals_of(worker: &Worker, checked: Option<Health>, restarts: u32) -> Vitals {
    Vitals {
        ready: worker.ready,
        says: worker.said.health,
        checked,
        requests: worker.said.requests,
        errors: worker.said.errors,
        memory: resident_memory(worker.pid.as_raw()),
        descriptors: worker.said.descriptors,
        restarts: Some(restarts),
    }
}
