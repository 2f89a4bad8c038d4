use std::io::{self, Read, Write};
use std::path::Path;

use super::place::{Hold, Place, PlaceError};
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

    fn lock(&self) -> Result<Option<Box<dyn Hold>>, PlaceError> {
        Ok(tree::lock(&self.0)?.map(|lock| Box::new(lock) as Box<dyn Hold>))
    }
}

impl Hold for DirLock {
    fn is_still_ours(&self) -> Result<bool, PlaceError> {
        Ok(true)
    }
}
