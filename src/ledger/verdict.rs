use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::history::{AttemptId, AttemptKind, Outcome, tail};
use super::time::millis;
use super::veto::{self, NewVeto};
use super::{Ledger, LedgerError};
use crate::types::{Sha256Digest, Version};

/// What a launcher found out in a trial, for the node's own record.
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// The launcher's name for the trial: unique, and what makes a second import do nothing.
    pub trial: &'a str,
    /// The attempt that asked for the trial, where that is known.
    pub attempt: Option<AttemptId>,
    /// What was attempted.
    pub kind: AttemptKind,
    /// The version that ran before.
    pub from: &'a Version,
    /// The version that was tried.
    pub to: &'a Version,
    /// The binary that was tried.
    pub digest: Option<Sha256Digest>,
    /// When the trial began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, for people.
    pub reason: Option<&'a str>,
    /// What the candidate wrote.
    pub output: Option<&'a str>,
    /// The veto that follows from it.
    pub veto: Option<NewVeto<'a>>,
}

impl Ledger {
    /// Records a verdict, and the veto that follows from it, in one step: both or neither, once.
    /// `false`: it was recorded before.
    pub fn import_verdict(&self, verdict: &Verdict<'_>, now: Timestamp) -> Result<bool, LedgerError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = transaction
            .query_row("SELECT 1 FROM attempt WHERE trial = ?1", [verdict.trial], |_| Ok(()))
            .optional()?
            .is_some();
        if known {
            return Ok(false);
        }
        if !complete(&transaction, verdict)? {
            insert(&transaction, verdict)?;
        }
        if let Some(veto) = &verdict.veto {
            veto::insert(&transaction, veto, now)?;
        }
        transaction.commit()?;
        Ok(true)
    }
}

/// Completes the attempt that asked for the trial. After a rebuild of the ledger its id may name
/// another one: what it wanted must agree.
fn complete(transaction: &Transaction<'_>, verdict: &Verdict<'_>) -> Result<bool, LedgerError> {
    let Some(AttemptId(id)) = verdict.attempt else { return Ok(false) };
    let completed = transaction.execute(
        "UPDATE attempt SET trial = ?2, finished_ms = ?3, outcome = ?4, reason = ?5, output = ?6,
                digest = coalesce(?7, digest)
         WHERE id = ?1 AND trial IS NULL AND to_version = ?8",
        params![
            id,
            verdict.trial,
            millis(verdict.finished),
            verdict.outcome.as_str(),
            verdict.reason,
            verdict.output.map(tail),
            verdict.digest.map(|digest| digest.to_string()),
            verdict.to.to_string()
        ],
    )?;
    Ok(completed > 0)
}

fn insert(transaction: &Transaction<'_>, verdict: &Verdict<'_>) -> Result<(), LedgerError> {
    transaction.execute(
        "INSERT INTO attempt (kind, from_version, to_version, digest, trial, started_ms, finished_ms, outcome, reason,
                output)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            verdict.kind.as_str(),
            verdict.from.to_string(),
            verdict.to.to_string(),
            verdict.digest.map(|digest| digest.to_string()),
            verdict.trial,
            millis(verdict.started),
            millis(verdict.finished),
            verdict.outcome.as_str(),
            verdict.reason,
            verdict.output.map(tail)
        ],
    )?;
    Ok(())
}
