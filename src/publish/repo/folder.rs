use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::doctor::{Check, Point, Scratch};
use super::place::{Hold, Place, PlaceError, Stored};
use crate::publish::tree;
use crate::sys::{Dir, DirLock, SysError};
use crate::types::ByteLimit;

/// A repository in a folder of this host.
#[derive(Debug)]
pub struct Folder(Dir);

const FILE_MODE: u32 = 0o644;

impl Folder {
    /// The folder that the operator named.
    pub fn open(path: &Path) -> Result<Self, SysError> {
        Ok(Self(Dir::of_operator(path)?))
    }

    /// As [`Self::open`], making it where it is missing.
    pub fn open_or_make(path: &Path) -> Result<Self, SysError> {
        match Self::open(path) {
            Err(error) if error.is_not_found() => {
                let (parent, name) = Dir::parent_of_operator_file(path)?;
                Ok(Self(parent.public_subdir(&name)?))
            }
            opened => opened,
        }
    }

    /// The folder of a file, and its name there; `None` where a folder is missing.
    fn find<'a>(&self, path: &'a str) -> Result<Option<(Dir, &'a str)>, SysError> {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut dir = self.0.clone();
        for folder in folders.split('/').filter(|part| !part.is_empty()) {
            dir = match dir.foreign_subdir(folder) {
                Err(error) if error.is_not_found() => return Ok(None),
                opened => opened?,
            };
        }
        Ok(Some((dir, name)))
    }

    fn make<'a>(&self, path: &'a str) -> Result<(Dir, &'a str), SysError> {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut dir = self.0.clone();
        for folder in folders.split('/').filter(|part| !part.is_empty()) {
            dir = dir.public_subdir(folder)?;
        }
        // What a killed run left.
        dir.sweep()?;
        Ok((dir, name))
    }

    /// Visits a folder and all that lie in it, with their paths. Links are not followed.
    fn below(
        &self,
        folder: &str,
        visit: &mut dyn FnMut(&Dir, &str) -> Result<(), SysError>,
    ) -> Result<(), SysError> {
        let Some((dir, _)) = self.find(&format!("{folder}/"))? else { return Ok(()) };
        let mut open = vec![(dir, folder.to_owned())];
        while let Some((dir, path)) = open.pop() {
            visit(&dir, &path)?;
            for name in dir.names()? {
                if dir.look(&name)?.is_some_and(|seen| seen.is_folder) {
                    open.push((dir.foreign_subdir(&name)?, format!("{path}/{name}")));
                }
            }
        }
        Ok(())
    }
}

impl Place for Folder {
    fn shown(&self) -> String {
        self.0.path().display().to_string()
    }

    fn read(&self, path: &str, limit: ByteLimit) -> Result<Option<Vec<u8>>, PlaceError> {
        let mut bytes = Vec::new();
        Ok(self.copy(path, limit, &mut bytes)?.then_some(bytes))
    }

    fn copy(&self, path: &str, limit: ByteLimit, into: &mut dyn Write) -> Result<bool, PlaceError> {
        let Some((dir, name)) = self.find(path)? else { return Ok(false) };
        let source = match dir.open_foreign_file(name, limit) {
            Err(error) if error.is_not_found() => return Ok(false),
            opened => opened?,
        };
        io::copy(&mut source.file.take(source.length), into)
            .map_err(|error| SysError::io("read", dir.path().join(name), error))?;
        Ok(true)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        let (dir, name) = self.make(path)?;
        Ok(dir.replace(name, bytes, FILE_MODE)?)
    }

    fn write_from(&self, path: &str, content: &mut dyn Read, length: u64) -> Result<(), PlaceError> {
        let (dir, name) = self.make(path)?;
        let mut file = dir.new_file(FILE_MODE)?;
        let copied = io::copy(&mut content.take(length), &mut file)
            .map_err(|source| PlaceError::Content { path: path.to_owned(), source })?;
        if copied != length {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(PlaceError::Content { path: path.to_owned(), source });
        }
        Ok(file.publish(name)?)
    }

    fn remove(&self, path: &str) -> Result<(), PlaceError> {
        if let Some((dir, name)) = self.find(path)? {
            dir.remove(name)?;
            dir.sync()?;
        }
        Ok(())
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, PlaceError> {
        let Some((dir, _)) = self.find(&format!("{folder}/"))? else { return Ok(Vec::new()) };
        let mut names = dir.names()?;
        names.retain(|name| !name.starts_with('.'));
        Ok(names)
    }

    fn files(&self, folder: &str) -> Result<Vec<Stored>, PlaceError> {
        let mut files = Vec::new();
        self.below(folder, &mut |dir, folder| {
            for name in dir.names()?.into_iter().filter(|name| !name.starts_with('.')) {
                // Gone meanwhile: readers and other programs do as they like.
                if let Some(seen) = dir.look(&name)?.filter(|seen| !seen.is_folder) {
                    let modified = Timestamp::try_from(seen.modified).unwrap_or_default();
                    files.push(Stored { path: format!("{folder}/{name}"), length: seen.length, modified });
                }
            }
            Ok(())
        })?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn sweep(&self, folder: &str) -> Result<usize, PlaceError> {
        let mut swept = 0;
        self.below(folder, &mut |dir, _| {
            swept += dir.sweep()?;
            Ok(())
        })?;
        Ok(swept)
    }

    fn remove_folder(&self, folder: &str) -> Result<(), PlaceError> {
        if let Some((dir, name)) = self.find(folder)? {
            dir.remove_tree(name)?;
            dir.sync()?;
        }
        // The folder around it goes with the last that lay there.
        if let Some((parent, name)) = folder.rsplit_once('/').map(|(parent, _)| self.find(parent)).transpose()?.flatten()
        {
            parent.remove_dir(name).ok();
        }
        Ok(())
    }

    fn examine(&self, scratch: &mut Scratch<'_>) -> Vec<Check> {
        let checks = [is_whole(scratch), self.locks(scratch), self.modes(scratch)];
        checks.into_iter().map(|check| check.unwrap_or_else(|(point, error)| Check::refused(point, &error))).collect()
    }

    fn lock(&self) -> Result<Option<Box<dyn Hold>>, PlaceError> {
        let lock = tree::lock(&self.0)?;
        Ok(lock.map(|lock| Box::new(Held { _lock: lock, dir: self.0.clone() }) as Box<dyn Hold>))
    }
}

type Tried = Result<Check, (Point, PlaceError)>;

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

impl Folder {
    fn locks(&self, scratch: &Scratch<'_>) -> Tried {
        let failed = |error: SysError| (Point::Lock, error.into());
        let Some((dir, _)) = self.find(&format!("{}/", scratch.folder())).map_err(failed)? else {
            return Ok(Check::fail(Point::Lock, "the folder of this check is gone", ""));
        };
        let first = dir.try_lock_itself().map_err(failed)?;
        let second = dir.try_lock_itself().map_err(failed)?;
        Ok(match (first, second) {
            (Some(_), None) => Check::ok(Point::Lock, "of two who take a lock (flock) one has it"),
            _ => Check::fail(
                Point::Lock,
                "two have the same lock (flock) at once",
                "two runs at once could not see each other: use a file system that knows flock",
            ),
        })
    }

    fn modes(&self, scratch: &mut Scratch<'_>) -> Tried {
        let failed = |error| (Point::Modes, error);
        let path = scratch.path("modes");
        scratch.place.write(&path, b"modes").map_err(failed)?;
        let found = self.find(&path).map_err(|error| failed(error.into()))?;
        let mode = found.map(|(dir, name)| dir.mode(name)).transpose().map_err(|error| failed(error.into()))?.flatten();
        if let Err(error) = self.0.refuse_if_others_may_write() {
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
}

/// The right to change the folder. The kernel takes it back with the process, and not before.
#[derive(Debug)]
struct Held {
    _lock: DirLock,
    dir: Dir,
}

impl Hold for Held {
    fn is_still_ours(&self) -> Result<bool, PlaceError> {
        Ok(true)
    }

    fn time(&self) -> Result<Timestamp, PlaceError> {
        Ok(Timestamp::try_from(self.dir.clock()?).unwrap_or_default())
    }
}
