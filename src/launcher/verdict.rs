//! What a trial came to, in words and on disk; and what siblings found out about the same version.

use std::time::Duration;

use jiff::Timestamp;

use super::protocol::ToWorker;
use super::supervisor::Supervisor;
use crate::install::{Progress, Trial, Verdict, VerdictKind, Vitals};
use crate::types::{NodeName, Version};

/// How a candidate failed: a stable word, and a sentence.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) kind: VerdictKind,
    pub(super) reason: &'static str,
    pub(super) detail: String,
}

impl Failure {
    pub(super) fn bad(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: VerdictKind::Bad, reason, detail: detail.into() }
    }

    pub(super) fn inconclusive(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: VerdictKind::Inconclusive, reason, detail: detail.into() }
    }
}

impl Supervisor {
    pub(super) fn record_success(&mut self, trial: &Trial) {
        let after = self.vitals_of_candidate();
        let state = self.settle_state_change(trial).map_or_else(String::new, |state| format!("; {state}"));
        let from = std::mem::replace(&mut self.record.running, trial.candidate.clone());
        self.record.previous = Some(from.clone());
        self.record.conclude(Verdict {
            trial: trial.id.clone(),
            candidate: trial.candidate.clone(),
            from,
            purpose: trial.purpose,
            kind: VerdictKind::Good,
            reason: "committed".to_owned(),
            detail: format!("it served through its probation, as worker and as launcher{state}"),
            since: trial.since,
            at: Timestamp::now(),
            output: String::new(),
            before: trial.before.clone(),
            after,
        });
    }

    pub(super) fn record_failure(&mut self, trial: &Trial, failure: &Failure, output: String, after: Option<Vitals>) {
        tracing::error!(
            event = "trial_failed",
            version = %trial.candidate.version,
            reason = failure.reason,
            detail = failure.detail,
            still_running = %self.record.running.version,
        );
        let state = self.undo_state_change(trial).map_or_else(String::new, |state| format!("; {state}"));
        self.record.conclude(Verdict {
            trial: trial.id.clone(),
            candidate: trial.candidate.clone(),
            from: self.record.running.clone(),
            purpose: trial.purpose,
            kind: failure.kind,
            reason: failure.reason.to_owned(),
            detail: format!("{}{state}", failure.detail),
            since: trial.since,
            at: Timestamp::now(),
            output,
            before: trial.before.clone(),
            after,
        });
    }

    pub(super) fn tell_verdict(&self) {
        if let (Some(worker), Some(verdict)) = (&self.active, self.record.verdicts.last()) {
            worker.tell(&ToWorker::Verdict(Box::new(verdict.clone())));
        }
    }

    /// The sibling that tried this version and found it bad, if that is still believed.
    pub(super) fn failed_at_sibling(&self, version: &Version) -> Option<NodeName> {
        let believed = self.setup.trial.sibling_verdict;
        let failed = self.install.failed_at_sibling(&self.setup.node, version, Timestamp::now(), believed);
        failed.ok().flatten().map(|(node, _)| node)
    }

    /// How long the candidate has to stay healthy: shorter where a sibling proved it before.
    pub(super) fn probation(&self) -> Duration {
        let steps = &self.setup.trial;
        let Some(trial) = &self.record.trial else { return steps.probation };
        if proven_by_sibling(self, trial) { steps.sibling_probation.min(steps.probation) } else { steps.probation }
    }
}

fn proven_by_sibling(supervisor: &Supervisor, trial: &Trial) -> bool {
    let believed = supervisor.setup.trial.sibling_verdict;
    let now = Timestamp::now();
    supervisor.install.nodes().unwrap_or_default().iter().any(|(node, record)| {
        // The last word counts: a version that was committed may have failed at its next start.
        let last = record.verdicts.iter().rev().find(|verdict| verdict.candidate == trial.candidate);
        *node != supervisor.setup.node
            && last.is_some_and(|verdict| verdict.kind == VerdictKind::Good && verdict.is_recent(now, believed))
    })
}

/// What a candidate was at, in words.
pub(super) fn doing(progress: Progress) -> &'static str {
    match progress {
        Progress::Pending | Progress::Starting => "starting",
        Progress::Probation => "on probation",
        Progress::Handoff => "its launcher was proving itself",
    }
}
