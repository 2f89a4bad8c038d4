use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::error::{Damage, StateError, Trouble};
use super::schema::Schema;
use super::{COMPANIONS, FILE};
use crate::sys::{Dir, Lock, PrivateDir, Refusal, SysError};
use crate::types::{Meets, Migration};

const LOCK: &str = "state.lock";
const PATIENCE: Duration = Duration::from_secs(5);
/// A database up to this long is checked page by page at each opening, in well under a second. What is wrong
/// with a longer one is found when the page is read.
const CHECKED_UP_TO: u64 = 32 << 20;

/// What opening the state came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The epoch that it had; 0: there was none, and it was made.
    pub was: u32,
    /// Where a damaged one lies that was moved out of the way.
    pub set_aside: Option<PathBuf>,
}

/// Makes sure that the state of the node whose folder this is can be used by a version with that schema: makes
/// a new one where there is none, and migrates an older one where `word` allows just that.
///
/// A damaged one is moved aside, and a new one begun, unless this is a candidate (`on_trial`): then it is
/// refused, because the version that serves may be using it.
pub fn open(
    dir: &PrivateDir,
    schema: &Schema,
    word: Option<Migration>,
    on_trial: bool,
    now: Timestamp,
) -> Result<Opened, StateError> {
    // One at a time: nobody opens a file that another process is just making or setting aside.
    let _turn = turn(dir)?;
    match prepare(dir, schema, word) {
        Ok(was) => Ok(Opened { was, set_aside: None }),
        Err(Trouble::Damage(damage)) if on_trial => Err(damaged(dir, damage)),
        Err(Trouble::Damage(damage)) => {
            let set_aside = Some(set_aside(dir, damage, now)?);
            let was = prepare(dir, schema, word).map_err(|trouble| plain(dir, trouble))?;
            Ok(Opened { was, set_aside })
        }
        Err(Trouble::Error(error)) => Err(error),
    }
}

/// A connection to the state, which [`open`] must have prepared.
pub fn connect(dir: &PrivateDir, schema: &Schema) -> Result<Connection, StateError> {
    let attempt = || {
        let connection = raw(dir)?;
        recognise(&connection, schema)?;
        Ok(connection)
    };
    attempt().map_err(|trouble| plain(dir, trouble))
}

/// The epoch of the state of that node, without changing it; `None`: it has none.
pub fn epoch(dir: &PrivateDir) -> Result<Option<u32>, StateError> {
    let attempt = || -> Result<Option<u32>, Trouble> {
        if !judge(dir)? {
            return Ok(None);
        }
        let found = number(&raw(dir)?, "user_version")?;
        // A database into which nothing was put yet is none.
        Ok(u32::try_from(found).ok().filter(|found| *found > 0))
    };
    attempt().map_err(|trouble| plain(dir, trouble))
}

fn prepare(dir: &PrivateDir, schema: &Schema, word: Option<Migration>) -> Result<u32, Trouble> {
    if !judge(dir)? {
        dir.ensure_file(FILE).map_err(StateError::Sys)?;
    }
    let mut connection = raw(dir)?;
    let found = recognise(&connection, schema)?;
    let (_, length) = dir.modified(FILE).map_err(StateError::Sys)?;
    if length <= CHECKED_UP_TO {
        let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if check != "ok" {
            return Err(Trouble::Damage(Damage::Pages));
        }
    }
    let epochs = schema.epochs();
    if found == 0 {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        create(&mut connection, schema)?;
        return Ok(found);
    }
    match epochs.meets(found) {
        Meets::Same => {}
        Meets::TooOld { found } => return Err(StateError::TooOld { found, epochs }.into()),
        Meets::TooNew { found } => return Err(StateError::TooNew { found, epochs }.into()),
        Meets::Older { found } => {
            if !word.is_some_and(|word| word.allows(found, epochs.writes)) {
                return Err(StateError::NotAllowed { found, writes: epochs.writes }.into());
            }
            migrate(&mut connection, schema, found)?;
        }
    }
    Ok(found)
}

/// All steps at once: a kill leaves an empty database, which is none.
fn create(connection: &mut Connection, schema: &Schema) -> Result<(), Trouble> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (to, step) in schema.steps_from(0) {
        step.take(&transaction).map_err(|source| failed(to, source))?;
    }
    mark(&transaction, schema, schema.epochs().writes)?;
    Ok(transaction.commit()?)
}

/// Each step is a transaction of its own: a kill leaves an epoch in between, from which the same word leads on.
fn migrate(connection: &mut Connection, schema: &Schema, found: u32) -> Result<(), Trouble> {
    for (to, step) in schema.steps_from(found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.take(&transaction).map_err(|source| failed(to, source))?;
        mark(&transaction, schema, to)?;
        transaction.commit().map_err(|source| failed(to, source))?;
        tracing::info!(event = "state_migrated", to);
    }
    Ok(())
}

fn mark(transaction: &Transaction<'_>, schema: &Schema, epoch: u32) -> Result<(), Trouble> {
    transaction.pragma_update(None, "application_id", schema.application_id())?;
    transaction.pragma_update(None, "user_version", epoch)?;
    Ok(())
}

/// A full disk is no fault of the step.
fn failed(to: u32, source: rusqlite::Error) -> Trouble {
    match source.into() {
        Trouble::Error(StateError::Database(source)) => StateError::Step { to, source }.into(),
        other => other,
    }
}

/// Through the handle, without making it: what is made here has the mode that we want.
fn raw(dir: &Dir) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(dir.handle_path(FILE), flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// The epoch; 0 where there is nothing yet. Changes nothing.
fn recognise(connection: &Connection, schema: &Schema) -> Result<u32, Trouble> {
    let (id, epoch) = (number(connection, "application_id")?, number(connection, "user_version")?);
    let empty = !connection.prepare("SELECT 1 FROM sqlite_schema")?.exists([])?;
    match u32::try_from(epoch) {
        Ok(_) if empty && (id == 0 || id == i64::from(schema.application_id())) => Ok(0),
        Ok(epoch) if id == i64::from(schema.application_id()) && epoch > 0 => Ok(epoch),
        _ => Err(Trouble::Damage(Damage::Foreign)),
    }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Whether there is a database. What cannot be one is damage; somebody else's file is not.
fn judge(dir: &Dir) -> Result<bool, Trouble> {
    let not_a_file = |error: SysError| match error.refusal() {
        Some(Refusal::NotRegular(_) | Refusal::Symlink) => Trouble::Damage(Damage::NotAFile),
        _ => Trouble::Error(StateError::Sys(error)),
    };
    for companion in COMPANIONS {
        dir.judge_file(&format!("{FILE}{companion}")).map_err(not_a_file)?;
    }
    dir.judge_file(FILE).map_err(not_a_file)
}

/// Moves the database and what is beside it out of the way, and says so.
fn set_aside(dir: &Dir, damage: Damage, now: Timestamp) -> Result<PathBuf, StateError> {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let mut name = format!("{FILE}.corrupt-{time}");
    for n in 2.. {
        if !dir.exists(&name)? {
            break;
        }
        name = format!("{FILE}.corrupt-{time}-{n}");
    }
    // The file last: until it has gone, the next start finds the damage again and goes on here.
    for companion in COMPANIONS.into_iter().chain([""]) {
        let old = format!("{FILE}{companion}");
        if dir.exists(&old)? {
            dir.rename(&old, &format!("{name}{companion}"))?;
        }
    }
    dir.sync()?;
    let path = dir.path().join(name);
    tracing::error!(
        event = "state_set_aside",
        moved_to = %path.display(),
        reason = %damage,
        "the job's state {damage}: moved it aside and began a new one"
    );
    Ok(path)
}

fn turn(dir: &Dir) -> Result<Lock, StateError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match dir.try_lock(LOCK)? {
            Some(lock) => return Ok(lock),
            None if Instant::now() < deadline => sleep(Duration::from_millis(10)),
            None => return Err(StateError::Busy),
        }
    }
}

fn damaged(dir: &Dir, damage: Damage) -> StateError {
    StateError::Damaged { path: dir.path().join(FILE), damage }
}

fn plain(dir: &Dir, trouble: Trouble) -> StateError {
    match trouble {
        Trouble::Damage(damage) => damaged(dir, damage),
        Trouble::Error(error) => error,
    }
}
