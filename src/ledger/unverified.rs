use jiff::Timestamp;

use super::time::time;
use super::{AttemptId, Ledger, LedgerError};
use crate::types::{Sha256Digest, Version};

/// The event of an attempt whose download did not verify; its detail names what was offered.
const EVENT: &str = "not-verified";

/// Downloads of one release that did not verify, from the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// The version that was offered.
    pub version: Version,
    /// What was offered under it: see [`Ledger::note_unverified`].
    pub offered: Sha256Digest,
    /// How many downloads.
    pub times: u32,
    /// When the last one ended.
    pub last: Timestamp,
}

impl Ledger {
    /// Records in the history that what an attempt downloaded did not verify. `offered` stands for the
    /// files as the listing described them, so that other files under the same version begin anew.
    pub fn note_unverified(&self, id: AttemptId, offered: &Sha256Digest, now: Timestamp) -> Result<(), LedgerError> {
        self.event(id, EVENT, &offered.to_string(), now).map(drop)
    }

    /// Every release whose downloads did not verify.
    pub fn unverified(&self) -> Result<Vec<Unverified>, LedgerError> {
        let connection = self.connection();
        // The time of the last one by its number: a clock that was ahead then must not outlast those after it.
        let mut statement = connection.prepare_cached(
            "SELECT to_version, detail, count(*) AS times, max(event.id), at_ms
             FROM event JOIN attempt ON attempt.id = event.attempt
             WHERE name = ?1 GROUP BY to_version, detail",
        )?;
        let rows = statement.query_map([EVENT], |row| {
            let (version, offered): (String, String) = (row.get("to_version")?, row.get("detail")?);
            Ok((version, offered, row.get("times")?, time(row.get("at_ms")?)))
        })?;
        let read = |row: rusqlite::Result<(String, String, u32, Timestamp)>| match row {
            Ok((version, offered, times, last)) => {
                let (version, offered) = (version.parse().ok()?, offered.parse().ok()?);
                Some(Ok(Unverified { version, offered, times, last }))
            }
            Err(error) => Some(Err(error.into())),
        };
        rows.filter_map(read).collect()
    }
}
