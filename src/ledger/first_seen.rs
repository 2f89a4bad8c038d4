use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, TransactionBehavior, params};

use super::time::{millis, time};
use super::{Ledger, LedgerError};
use crate::types::Version;

impl Ledger {
    /// When this node first saw `version`: now, if it never did. Once recorded, never moved later.
    /// A record of the future was made by a clock that was ahead, and is moved to now.
    pub fn first_seen(&self, version: &Version, now: Timestamp) -> Result<Timestamp, LedgerError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seen: Option<i64> = transaction
            .query_row("SELECT at_ms FROM first_seen WHERE version = ?1", [version.to_string()], |row| row.get(0))
            .optional()?;
        let at = match seen {
            Some(at) if at <= millis(now) => at,
            _ => {
                transaction.execute(
                    "INSERT INTO first_seen VALUES (?1, ?2) ON CONFLICT (version) DO UPDATE SET at_ms = ?2",
                    params![version.to_string(), millis(now)],
                )?;
                millis(now)
            }
        };
        transaction.commit()?;
        Ok(time(at))
    }

    /// [`Self::first_seen`] for each of them.
    pub fn first_seen_all<'a>(
        &self,
        versions: impl IntoIterator<Item = &'a Version>,
        now: Timestamp,
    ) -> Result<BTreeMap<Version, Timestamp>, LedgerError> {
        versions.into_iter().map(|version| Ok((version.clone(), self.first_seen(version, now)?))).collect()
    }
}
