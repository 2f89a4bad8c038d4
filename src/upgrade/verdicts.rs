use jiff::Timestamp;

use super::engine::Engine;
use crate::install::{InstallError, NodeRecord, Purpose, VerdictKind};
use crate::ledger::{AttemptId, AttemptKind, Ending, LedgerError, NewVeto, Outcome, Verdict};

/// Names a trial so that its verdict finds the attempt that asked for it.
pub(super) fn trial_id(attempt: AttemptId) -> String {
    let mut random = [0; 8];
    // The attempt's number alone is unique within one ledger; randomness covers a ledger made anew.
    getrandom::fill(&mut random).ok();
    format!("{attempt}-{}", hex::encode(random))
}

/// The attempt that a trial's id names.
#[must_use]
pub(super) fn attempt_of(trial: &str) -> Option<AttemptId> {
    trial.split_once('-')?.0.parse().ok()
}

/// Takes over what the launcher found out, each verdict once. Called at a worker's start, after each
/// verdict, and before each decision.
pub fn import_verdicts(engine: &Engine, record: &NodeRecord, now: Timestamp) -> Result<(), LedgerError> {
    for verdict in &record.verdicts {
        let reason = format!("{}: {}", verdict.reason, verdict.detail);
        let version = &verdict.candidate.version;
        let digest = Some(verdict.candidate.digest);
        let imported = engine.ledger.import_verdict(
            &Verdict {
                trial: &verdict.trial,
                attempt: attempt_of(&verdict.trial),
                kind: kind(verdict.purpose),
                from: &verdict.from.version,
                to: version,
                digest,
                started: verdict.since,
                finished: verdict.at,
                outcome: match verdict.kind {
                    VerdictKind::Good => Outcome::Upgraded,
                    VerdictKind::Bad => Outcome::RolledBack,
                    VerdictKind::Inconclusive => Outcome::Failed,
                },
                reason: Some(&reason),
                output: Some(&verdict.output).filter(|output| !output.is_empty()).map(String::as_str),
                veto: (verdict.kind == VerdictKind::Bad).then(|| NewVeto::after_failure(version, digest, &reason, now)),
            },
            now,
        )?;
        if imported {
            tracing::info!(event = "verdict_recorded", version = %version, kind = ?verdict.kind, reason = verdict.reason);
        }
    }
    Ok(())
}

/// Keeps or lifts the pin of a downgrade or rollback that is over: also of one that a kill ended between
/// the pin and the trial. Otherwise the node would stay pinned to a version that it does not run.
/// The caller works on none.
pub fn settle_pin(engine: &Engine, record: &NodeRecord) -> Result<(), InstallError> {
    if record.trial.is_none() && engine.install.policy()?.awaits_trial_of(&engine.node) {
        engine.install.change_policy(|policy| policy.settle_pin_for_trial(&engine.node, &record.running.version))?;
    }
    Ok(())
}

/// Closes attempts that no process works on any more. The caller works on none.
pub fn close_orphans(engine: &Engine, record: &NodeRecord, now: Timestamp) -> Result<(), LedgerError> {
    let under_way = record.trial.as_ref().and_then(|trial| attempt_of(&trial.id));
    for attempt in engine.ledger.open_attempts()? {
        if Some(attempt.id) != under_way {
            let ending = Ending {
                outcome: Outcome::Interrupted,
                reason: Some("the process that worked on it ended"),
                digest: None,
                output: None,
            };
            engine.ledger.finish(attempt.id, &ending, now)?;
        }
    }
    Ok(())
}

/// The ledger's word for why a version is tried.
#[must_use]
pub(super) fn kind(purpose: Purpose) -> AttemptKind {
    match purpose {
        Purpose::Upgrade | Purpose::Downgrade => AttemptKind::Upgrade,
        Purpose::Rollback => AttemptKind::Rollback,
    }
}
