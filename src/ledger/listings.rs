use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::time::{millis, time};
use super::{Ledger, LedgerError};

/// Before the source's name, in the table of single values.
const KEY: &str = "relies-since ";

impl Ledger {
    /// Since when this node has relied on what others say about the listing of `source`: it received the
    /// whole from the server then, or asked for the first time. `None`: it never asked.
    pub fn relies_since(&self, source: &str) -> Result<Option<Timestamp>, LedgerError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
        let value: Option<String> = statement.query_row([format!("{KEY}{source}")], |row| row.get(0)).optional()?;
        // A value that is no number was not written by us: as good as none.
        Ok(value.and_then(|value| value.parse().ok()).map(time))
    }

    /// Records it; whatever was recorded for another source is dropped.
    pub fn set_relies_since(&self, source: &str, at: Timestamp) -> Result<(), LedgerError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let key = format!("{KEY}{source}");
        transaction
            .execute("DELETE FROM meta WHERE substr(key, 1, length(?1)) = ?1 AND key <> ?2", params![KEY, key])?;
        transaction.execute(
            "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            params![key, millis(at).to_string()],
        )?;
        Ok(transaction.commit()?)
    }
}
