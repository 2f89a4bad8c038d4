use rusqlite::{Connection, TransactionBehavior};

use super::error::{Corruption, LedgerError};

/// Marks the file as ours: "EXUV".
const APPLICATION_ID: i32 = 0x4558_5556;

/// Step n brings a ledger from schema n to n + 1. Steps only add, and what they add has a default:
/// an older version works on a newer schema. A step that was released is never edited.
const STEPS: [&str; 1] = ["
    CREATE TABLE meta (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE first_seen (
        version TEXT PRIMARY KEY,
        at_ms   INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE veto (
        id        INTEGER PRIMARY KEY AUTOINCREMENT,
        version   TEXT NOT NULL,
        digest    TEXT,
        reason    TEXT NOT NULL,
        since_ms  INTEGER NOT NULL,
        until_ms  INTEGER,
        lifted_ms INTEGER
    ) STRICT;
    CREATE TABLE attempt (
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        kind         TEXT NOT NULL,
        from_version TEXT NOT NULL,
        to_version   TEXT NOT NULL,
        digest       TEXT,
        trial        TEXT UNIQUE,
        started_ms   INTEGER NOT NULL,
        finished_ms  INTEGER,
        outcome      TEXT,
        reason       TEXT,
        output       TEXT
    ) STRICT;
    CREATE TABLE event (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        attempt INTEGER NOT NULL REFERENCES attempt (id),
        at_ms   INTEGER NOT NULL,
        name    TEXT NOT NULL,
        detail  TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_of_attempt ON event (attempt);
"];

const TABLES: [&str; 5] = ["meta", "first_seen", "veto", "attempt", "event"];

/// Checks, without changing anything, that the database is ours or empty.
pub(super) fn recognise(connection: &Connection) -> Result<(), LedgerError> {
    let id = number(connection, "application_id")?;
    if id != i64::from(APPLICATION_ID) && !is_empty(connection)? {
        return Err(LedgerError::Corrupt(Corruption::Foreign));
    }
    Ok(())
}

/// Checks that the database is whole, and brings its schema up to ours if it is older.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), LedgerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let check: String = transaction.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        return Err(LedgerError::Corrupt(Corruption::Damaged));
    }
    let done = if is_empty(&transaction)? { 0 } else { number(&transaction, "user_version")? };
    let done = usize::try_from(done).unwrap_or(0);
    if done < STEPS.len() {
        for step in &STEPS[done..] {
            transaction.execute_batch(step).map_err(contradiction)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", i64::try_from(STEPS.len()).unwrap_or(i64::MAX))?;
    }
    for table in TABLES {
        if !transaction.table_exists(None, table)? {
            return Err(LedgerError::Corrupt(Corruption::Incomplete));
        }
    }
    Ok(transaction.commit()?)
}

/// A step that cannot be taken: what it makes is there already, so the number is wrong.
fn contradiction(error: rusqlite::Error) -> LedgerError {
    match error.into() {
        LedgerError::Database(_) => LedgerError::Corrupt(Corruption::Incomplete),
        other => other,
    }
}

fn number(connection: &Connection, pragma: &str) -> Result<i64, LedgerError> {
    Ok(connection.pragma_query_value(None, pragma, |row| row.get(0))?)
}

fn is_empty(connection: &Connection) -> Result<bool, LedgerError> {
    Ok(!connection.prepare("SELECT 1 FROM sqlite_schema")?.exists([])?)
}
