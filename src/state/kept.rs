//! Copies of the state that are kept for a way back: whole, durable, and found again by their digest.

use std::io::{self, Read, Write};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::error::{StateError, Trouble};
use super::open::{epoch, plain, raw, turn};
use super::{COMPANIONS, FILE, swap_in};
use crate::sys::{CheckedFile, Loose, PrivateDir, SysError};
use crate::types::{ByteLimit, Sha256Digest};

/// The folder of the copies, in the node's.
pub const KEPT: &str = "kept";
/// Where what comes back lies until it has its place.
const BACK: &str = ".state-back";
const PIECE: usize = 256 * 1024;
/// SQLite's own limit is 281 TB.
const ANY: ByteLimit = ByteLimit::bytes(1 << 48);

/// A copy of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// The digest of the whole copy.
    pub digest: Sha256Digest,
    /// The epoch of the state in it.
    pub epoch: u32,
}

/// Copies the state to where it is kept, durably. Nobody may have it open. `progress` hears bytes.
pub fn keep(dir: &PrivateDir, now: Timestamp, mut progress: impl FnMut(u64)) -> Result<Kept, StateError> {
    let _turn = turn(dir)?;
    let epoch = epoch(dir)?.ok_or_else(|| StateError::Sys(missing(dir)))?;
    settle(dir)?;
    let kept = dir.private_subdir(KEPT, Loose::RefuseWritable)?;
    // What a killed process left half written.
    kept.sweep()?;
    let source = dir.open_file(FILE, ANY)?;
    let mut copy = kept.new_file(0o600)?;
    let digest = pour(source, &mut copy, &mut progress).map_err(|error| SysError::io("write", kept.path(), error))?;
    let name = format!("{}-{}.db", now.strftime("%Y%m%dT%H%M%S%3fZ"), digest.short());
    copy.publish(&name)?;
    dir.sync()?;
    Ok(Kept { name, digest, epoch })
}

/// Puts the copy of that name, which must have that digest, in the state's place, and what is there aside: see
/// [`swap_in`], which says how that goes on after a kill. Nobody may have the state open.
pub fn bring_back(
    dir: &PrivateDir,
    name: &str,
    digest: Sha256Digest,
    aside: &str,
    mut progress: impl FnMut(u64),
) -> Result<(), StateError> {
    let kept = dir.private_subdir(KEPT, Loose::RefuseWritable)?;
    let source = kept.open_file(name, ANY)?;
    dir.sweep()?;
    let mut copy = dir.new_file(0o600)?;
    let found = pour(source, &mut copy, &mut progress).map_err(|error| SysError::io("write", dir.path(), error))?;
    if found != digest {
        return Err(StateError::Changed { path: kept.path().join(name), found, expected: digest });
    }
    copy.publish(BACK)?;
    swap_in(dir, BACK, aside)
}

/// Removes the copies that nobody names any more, and returns their names.
pub fn prune_kept(dir: &PrivateDir, named: &[&str]) -> Result<Vec<String>, StateError> {
    let kept = match dir.existing_private_subdir(KEPT, Loose::RefuseWritable) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        outcome => outcome?,
    };
    kept.sweep()?;
    let mut names = kept.names()?;
    names.retain(|name| name.ends_with(".db") && !named.contains(&name.as_str()));
    for name in &names {
        kept.remove(name)?;
    }
    Ok(names)
}

/// Everything that was written is in the database itself, and nothing beside it.
fn settle(dir: &PrivateDir) -> Result<(), StateError> {
    let attempt = || -> Result<bool, Trouble> {
        let connection = raw(dir)?;
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        Ok(busy == 0)
    };
    let settled = attempt().map_err(|trouble| plain(dir, trouble))?;
    let wal = format!("{FILE}{}", COMPANIONS[0]);
    let empty = !dir.exists(&wal)? || dir.modified(&wal)?.1 == 0;
    if settled && empty { Ok(()) } else { Err(StateError::Busy) }
}

fn pour(source: CheckedFile, to: &mut impl Write, progress: &mut impl FnMut(u64)) -> io::Result<Sha256Digest> {
    let (mut hash, mut done) = (Sha256::new(), 0);
    let mut file = source.file.take(source.length);
    let mut piece = vec![0; PIECE];
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            return Ok(Sha256Digest::from_bytes(hash.finalize().into()));
        }
        hash.update(&piece[..n]);
        to.write_all(&piece[..n])?;
        done += n as u64;
        progress(done);
    }
}

fn missing(dir: &PrivateDir) -> SysError {
    SysError::io("open", dir.path().join(FILE), io::ErrorKind::NotFound)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up files")]
mod tests {
    use std::fs;

    use super::super::{Schema, Step, connect, open};
    use super::*;

    const SCHEMA: Schema = Schema::new(7, 1, &[Step::Sql("CREATE TABLE a (n INTEGER) STRICT")]);

    fn node() -> (tempfile::TempDir, PrivateDir) {
        let folder = tempfile::tempdir().unwrap();
        let data = PrivateDir::open_or_create(folder.path(), Loose::Tighten).unwrap();
        open(&data, &SCHEMA, None, false, Timestamp::now()).unwrap();
        (folder, data)
    }

    fn write(data: &PrivateDir, n: i64) {
        connect(data, &SCHEMA).unwrap().execute("INSERT INTO a VALUES (?1)", [n]).unwrap();
    }

    fn sum(data: &PrivateDir) -> i64 {
        connect(data, &SCHEMA).unwrap().query_row("SELECT coalesce(sum(n), 0) FROM a", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_is_kept_comes_back_with_everything_that_was_committed() {
        let (folder, data) = node();
        write(&data, 7);
        let mut heard = 0;
        let kept = keep(&data, Timestamp::now(), |done| heard = done).unwrap();
        assert_eq!((kept.epoch, heard), (1, fs::metadata(folder.path().join("state.db")).unwrap().len()));
        write(&data, 100);
        bring_back(&data, &kept.name, kept.digest, "state.rejected-1", |_| ()).unwrap();
        assert_eq!(sum(&data), 7);
        // Again, after a kill that lost the note of it: what was written since stays.
        write(&data, 1);
        bring_back(&data, &kept.name, kept.digest, "state.rejected-1", |_| ()).unwrap();
        assert_eq!(sum(&data), 8);
        assert_eq!(data.names().unwrap(), ["kept", "state.db", "state.lock", "state.rejected-1"]);
    }

    #[test]
    fn a_copy_that_was_changed_or_is_gone_is_refused_and_nothing_moves() {
        let (folder, data) = node();
        write(&data, 7);
        let kept = keep(&data, Timestamp::now(), |_| ()).unwrap();
        let path = folder.path().join("kept").join(&kept.name);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let outcome = bring_back(&data, &kept.name, kept.digest, "aside", |_| ());
        assert!(matches!(outcome, Err(StateError::Changed { .. })), "{outcome:?}");
        fs::remove_file(&path).unwrap();
        let outcome = bring_back(&data, &kept.name, kept.digest, "aside", |_| ());
        assert!(matches!(&outcome, Err(StateError::Sys(error)) if error.is_not_found()), "{outcome:?}");
        assert_eq!(
            (sum(&data), data.names().unwrap()),
            (7, ["kept", "state.db", "state.lock"].map(str::to_owned).into())
        );
    }

    #[test]
    fn a_state_that_somebody_has_open_is_not_kept() {
        let (_folder, data) = node();
        let reader = connect(&data, &SCHEMA).unwrap();
        write(&data, 7);
        reader.execute_batch("BEGIN; SELECT * FROM a").unwrap();
        write(&data, 8);
        assert!(matches!(keep(&data, Timestamp::now(), |_| ()), Err(StateError::Busy)));
        assert_eq!(data.names().unwrap().iter().filter(|name| name.starts_with(".new")).count(), 0);
    }

    #[test]
    fn copies_that_nobody_names_go() {
        let (_folder, data) = node();
        let first = keep(&data, Timestamp::UNIX_EPOCH, |_| ()).unwrap();
        let second = keep(&data, Timestamp::now(), |_| ()).unwrap();
        assert_eq!(prune_kept(&data, &[&second.name]).unwrap(), [first.name]);
        assert!(prune_kept(&data, &[&second.name]).unwrap().is_empty());
    }
}
