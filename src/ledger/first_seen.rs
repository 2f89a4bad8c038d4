use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::time::{millis, time};
use super::{Ledger, LedgerError};
use crate::types::Version;

impl Ledger {
    /// When this node first saw `version`: now, if it never did. Once recorded, never moved later.
    /// A record of the future was made by a clock that was ahead, and is moved to now.
    pub fn first_seen(&self, version: &Version, now: Timestamp) -> Result<Timestamp, LedgerError> {
        Ok(self.first_seen_all([version], now)?.remove(version).unwrap_or(now))
    }

    /// [`Self::first_seen`] for each of them, in one step.
    pub fn first_seen_all<'a>(
        &self,
        versions: impl IntoIterator<Item = &'a Version>,
        now: Timestamp,
    ) -> Result<BTreeMap<Version, Timestamp>, LedgerError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut seen = BTreeMap::new();
        for version in versions {
            seen.insert(version.clone(), sight(&transaction, version, now)?);
        }
        transaction.commit()?;
        Ok(seen)
    }
}

fn sight(transaction: &Transaction<'_>, version: &Version, now: Timestamp) -> Result<Timestamp, LedgerError> {
    let name = version.to_string();
    let recorded: Option<i64> = transaction
        .prepare_cached("SELECT at_ms FROM first_seen WHERE version = ?1")?
        .query_row([&name], |row| row.get(0))
        .optional()?;
    let now = millis(now);
    match recorded {
        Some(at) if at <= now => Ok(time(at)),
        _ => {
            transaction.execute(
                "INSERT INTO first_seen VALUES (?1, ?2) ON CONFLICT (version) DO UPDATE SET at_ms = ?2",
                params![name, now],
            )?;
            Ok(time(now))
        }
    }
}
