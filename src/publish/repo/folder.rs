use std::io::{self, Read, Write};
use std::path::Path;

use jiff::Timestamp;

use super::doctor::{Check, Scratch, examine_folder};
use super::place::{Hold, Place, PlaceError, Stored};
use crate::publish::tree;
use crate::sys::{Dir, DirLock, SysError};
use crate::types::ByteLimit;

/// A repository in a folder of this host.
#[derive(Debug)]
pub struct Folder(Dir);

pub(super) const FILE_MODE: u32 = 0o644;

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

    /// The names of files, and whatever else is no folder, and of folders in a folder.
    pub(in crate::publish) fn contents(&self, folder: &str) -> Result<(Vec<String>, Vec<String>), SysError> {
        let Some((dir, _)) = self.find(&format!("{folder}/"))? else { return Ok((Vec::new(), Vec::new())) };
        let mut names = dir.names()?;
        names.retain(|name| !name.starts_with('.'));
        // A link is none: opening it as a file says so.
        Ok(names.into_iter().partition(|name| dir.foreign_subdir(name).is_err()))
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
    fn below(&self, folder: &str, visit: &mut dyn FnMut(&Dir, &str) -> Result<(), SysError>) -> Result<(), SysError> {
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
        if let Some((parent, name)) =
            folder.rsplit_once('/').map(|(parent, _)| self.find(parent)).transpose()?.flatten()
        {
            parent.remove_dir(name).ok();
        }
        Ok(())
    }

    fn examine(&self, scratch: &mut Scratch<'_>) -> Vec<Check> {
        examine_folder(&self.0, scratch)
    }

    fn lock(&self) -> Result<Option<Box<dyn Hold>>, PlaceError> {
        let lock = tree::lock(&self.0)?;
        Ok(lock.map(|lock| Box::new(Held { _lock: lock, dir: self.0.clone() }) as Box<dyn Hold>))
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
