use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::error::SnapshotError;
use super::state::Role;
use crate::sys::{Dir, SysError};
use crate::types::ByteLimit;

/// What SQLite keeps beside a database.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How long a locked database is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the first page of a database says (SQLite's file format, section 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) application_id: i32,
    pub(super) user_version: i32,
}

impl Head {
    const LEN: usize = 100;

    fn of(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let number = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        bytes.starts_with(b"SQLite format 3\0").then(|| Self { application_id: number(68), user_version: number(60) })
    }
}

/// Who has a database open while it is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meanwhile {
    /// Others may write: it is copied in one step, because in steps each write by somebody else would begin the
    /// copy anew. In WAL mode no writer waits for it.
    Written,
    /// Nobody: it is copied in steps, and each of them is told of.
    AtRest,
}

impl Meanwhile {
    /// How many pages are copied in a step.
    fn pages(self) -> i32 {
        match self {
            Self::Written => -1,
            Self::AtRest => 4096,
        }
    }
}

/// Copies a database. `progress` hears of bytes.
pub(super) fn copy(
    data: &Dir,
    role: &Role,
    into: &Dir,
    meanwhile: Meanwhile,
    progress: &mut dyn FnMut(u64),
) -> Result<Head, SnapshotError> {
    let name = role.as_str();
    let shown = data.path().join(name);
    if !data.judge_file(name)? {
        return Err(SnapshotError::NoState(shown));
    }
    for companion in COMPANIONS {
        data.judge_file(&format!("{name}{companion}"))?;
    }
    into.ensure_file(name)?;
    let failed = |error| SnapshotError::of_database(shown.clone(), error);
    match run(data.handle_path(name), into.handle_path(name), meanwhile, progress).map_err(failed)? {
        Content::Nothing => Err(SnapshotError::EmptyDatabase(shown)),
        Content::Something => head(into, name, &shown),
    }
}

/// Whether anything was ever made in a database.
enum Content {
    Nothing,
    Something,
}

fn run(from: PathBuf, to: PathBuf, meanwhile: Meanwhile, progress: &mut dyn FnMut(u64)) -> rusqlite::Result<Content> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(from, flags)?;
    from.busy_timeout(PATIENCE)?;
    from.pragma_update(None, "trusted_schema", false)?;
    if from.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Content::Nothing);
    }
    let mut to = Connection::open_with_flags(to, flags)?;
    // A copy that fails is thrown away: it needs neither a journal nor SQLite's own syncs.
    to.pragma_update(None, "journal_mode", "OFF")?;
    to.pragma_update(None, "synchronous", "OFF")?;
    let page: u32 = from.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let mut deadline = Instant::now() + PATIENCE;
    let backup = Backup::new(&from, &mut to)?;
    loop {
        match backup.step(meanwhile.pages())? {
            StepResult::Done => break,
            StepResult::More => {
                progress(u64::from(page) * u64::from(meanwhile.pages().unsigned_abs()));
                deadline = Instant::now() + PATIENCE;
            }
            StepResult::Busy | StepResult::Locked if Instant::now() >= deadline => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(rusqlite::Error::SqliteFailure(busy, None));
            }
            _ => sleep(Duration::from_millis(10)),
        }
    }
    drop(backup);
    to.close().map_err(|(_, error)| error)?;
    Ok(Content::Something)
}

/// Reads the head of a database that nobody else has open.
pub(super) fn head(dir: &Dir, name: &str, shown: &std::path::Path) -> Result<Head, SnapshotError> {
    let copy = dir.open_file(name, ByteLimit::bytes(1 << 62))?;
    let mut bytes = [0; Head::LEN];
    if copy.length == 0 {
        return Err(SnapshotError::EmptyDatabase(shown.to_owned()));
    }
    if copy.length < Head::LEN as u64 {
        return Err(SnapshotError::NotADatabase(shown.to_owned()));
    }
    std::io::Read::read_exact(&mut &copy.file, &mut bytes).map_err(|error| SysError::read_of(shown, error))?;
    Head::of(&bytes).ok_or_else(|| SnapshotError::NotADatabase(shown.to_owned()))
}
