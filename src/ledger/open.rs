use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::error::{Corruption, LedgerError};
use super::{Ledger, schema};
use crate::sys::{Dir, Lock, PrivateDir, Refusal, SysError};

const FILE: &str = Ledger::FILE;
const LOCK: &str = "ledger.lock";
/// What SQLite keeps beside the file: recent changes, and an index of them.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];
const PATIENCE: Duration = Duration::from_secs(5);

/// A damaged ledger that was moved out of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now; what SQLite kept beside it is beside it still.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Corruption,
}

impl Ledger {
    /// Its name in the node's folder.
    pub const FILE: &str = "ledger.db";

    /// Opens the ledger of the node whose data folder this is, making it where there is none.
    /// A damaged one is set aside first.
    ///
    /// # Errors
    /// The folder cannot be written, the disk is full, another process holds the ledger.
    pub fn open(dir: &PrivateDir, now: Timestamp) -> Result<Self, LedgerError> {
        // One at a time: nobody opens a file that another process is just setting aside, and SQLite
        // does not wait by itself where a new database changes to WAL.
        let _turn = turn(dir)?;
        let (connection, set_aside) = match connect(dir) {
            Err(LedgerError::Corrupt(why)) => {
                let set_aside = SetAside { path: set_aside(dir, why, now)?, why };
                (connect(dir)?, Some(set_aside))
            }
            other => (other?, None),
        };
        let node_id = node_id(&connection)?;
        Ok(Self { connection: Mutex::new(connection), node_id, set_aside, stands_in_for: None })
    }
}

fn connect(dir: &Dir) -> Result<Connection, LedgerError> {
    dir.ensure_file(FILE).map_err(not_a_file)?;
    for companion in COMPANIONS {
        dir.judge_file(&format!("{FILE}{companion}")).map_err(not_a_file)?;
    }
    // Through the handle; without CREATE, because the file is there, with the mode that we want.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(dir.handle_path(FILE), flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    schema::recognise(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    schema::prepare(&mut connection)?;
    Ok(connection)
}

/// What cannot be a database is damage; somebody else's file is not: it may be whole, and its owner's.
fn not_a_file(error: SysError) -> LedgerError {
    match error.refusal() {
        Some(Refusal::NotRegular(_) | Refusal::Symlink) => LedgerError::Corrupt(Corruption::NotAFile),
        _ => LedgerError::Sys(error),
    }
}

/// Moves the file and what is beside it out of the way, and says so.
fn set_aside(dir: &Dir, why: Corruption, now: Timestamp) -> Result<PathBuf, LedgerError> {
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
        event = "ledger_set_aside",
        moved_to = %path.display(),
        reason = %why,
        "the node's ledger {why}: moved it aside and began a new one; history and vetoes start empty"
    );
    Ok(path)
}

fn turn(dir: &Dir) -> Result<Lock, LedgerError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match dir.try_lock(LOCK)? {
            Some(lock) => return Ok(lock),
            None if Instant::now() < deadline => sleep(Duration::from_millis(10)),
            None => return Err(LedgerError::Busy),
        }
    }
}

fn node_id(connection: &Connection) -> Result<String, LedgerError> {
    let read = || {
        connection
            .query_row("SELECT value FROM meta WHERE key = 'node_id'", [], |row| row.get::<_, String>(0))
            .optional()
    };
    if let Some(id) = read()? {
        return Ok(id);
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| LedgerError::Random)?;
    // Another process may be first: its id stands.
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('node_id', ?1)", params![hex::encode(random)])?;
    read()?.ok_or(LedgerError::Corrupt(Corruption::Incomplete))
}
