//! What folders alone do.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Check, Point, Scratch};
use crate::publish::repo::folder::FILE_MODE;
use crate::publish::repo::place::PlaceError;
use crate::sys::{Dir, SysError};
use crate::types::ByteLimit;

type Tried = Result<Check, (Point, PlaceError)>;

const FLOCK: &str = "two runs at once could not see each other: use a file system that knows flock";

/// Tries them in the folder of a check, in which something was written already.
pub(in crate::publish::repo) fn examine_folder(root: &Dir, scratch: &mut Scratch<'_>) -> Vec<Check> {
    let checks = [is_whole(scratch), Ok(locks(root, scratch)), modes(root, scratch)];
    checks.into_iter().map(|check| check.unwrap_or_else(|(point, error)| Check::refused(point, &error))).collect()
}

fn open(root: &Dir, scratch: &Scratch<'_>) -> Result<Dir, SysError> {
    scratch.folder().split('/').try_fold(root.clone(), |dir, name| dir.foreign_subdir(name))
}

/// Who reads while a file is written anew sees one or the other.
fn is_whole(scratch: &mut Scratch<'_>) -> Tried {
    let failed = |error| (Point::Whole, error);
    let (place, path) = (scratch.place, scratch.path("whole"));
    let editions = [vec![b'a'; 4000], vec![b'b'; 9000]];
    place.write(&path, &editions[0]).map_err(failed)?;
    let is_done = AtomicBool::new(false);
    let torn = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut torn = 0;
            while !is_done.load(Ordering::SeqCst) {
                let read = place.read(&path, ByteLimit::kib(64));
                torn += usize::from(!matches!(read, Ok(Some(bytes)) if editions.contains(&bytes)));
            }
            torn
        });
        let written = (0..32).try_for_each(|number| place.write(&path, &editions[number % 2]));
        is_done.store(true, Ordering::SeqCst);
        written.map(|()| reader.join().unwrap_or(1))
    });
    Ok(match torn.map_err(failed)? {
        0 => Check::ok(Point::Whole, "who reads while a file is written anew sees one of both"),
        _ => Check::fail(
            Point::Whole,
            "a file is torn or missing while it is written anew",
            "use a file system whose renames are atomic: a local one, or NFS",
        ),
    })
}

fn locks(root: &Dir, scratch: &Scratch<'_>) -> Check {
    let take = || {
        let dir = open(root, scratch)?;
        let first = dir.try_lock_itself()?;
        Ok::<_, SysError>((first.is_some(), dir.try_lock_itself()?.is_some()))
    };
    match take() {
        Ok((true, false)) => Check::ok(Point::Lock, "of two who take a lock (flock) one has it"),
        Ok((true, true)) => Check::fail(Point::Lock, "two have the same lock (flock) at once", FLOCK),
        Ok((false, _)) => Check::fail(Point::Lock, "nobody gets a lock (flock)", FLOCK),
        Err(error) => Check::fail(Point::Lock, error.to_string(), FLOCK),
    }
}

fn modes(root: &Dir, scratch: &mut Scratch<'_>) -> Tried {
    let failed = |error| (Point::Modes, error);
    let path = scratch.path("modes");
    scratch.place.write(&path, b"modes").map_err(failed)?;
    let mode = open(root, scratch).and_then(|dir| dir.mode("modes")).map_err(|error| failed(error.into()))?;
    if let Err(error) = root.refuse_if_others_may_write() {
        let remedy = "whoever can write there can take releases away: leave that to the engineers";
        return Ok(Check::warn(Point::Modes, error.to_string(), remedy));
    }
    Ok(match mode {
        Some(FILE_MODE) => Check::ok(Point::Modes, "others may read what is written, and nobody else may write"),
        other => Check::warn(
            Point::Modes,
            format!("a new file has the mode {:04o} instead of {FILE_MODE:04o}", other.unwrap_or_default()),
            "see how the file system is mounted; a web server of another user must be able to read the files",
        ),
    })
}
