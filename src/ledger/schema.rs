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

/// Checks that the database is ours and whole, and brings its schema up to ours if it is older.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), LedgerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let number = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let fresh = tables == 0;
    if number("application_id")? != i64::from(APPLICATION_ID) && !fresh {
        return Err(LedgerError::Corrupt(Corruption::Foreign));
    }
    let check: String = transaction.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        return Err(LedgerError::Corrupt(Corruption::Damaged));
    }
    let done = if fresh { 0 } else { usize::try_from(number("user_version")?).unwrap_or(0) };
    if done < STEPS.len() {
        for step in &STEPS[done..] {
            transaction.execute_batch(step)?;
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
