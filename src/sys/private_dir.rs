use std::fs;
use std::io;
use std::ops::Deref;
use std::path::PathBuf;

use rustix::fs::Mode;

use super::dir::Dir;
use super::error::{Refusal, SysError};

/// A folder of ours into which nobody else may look or write: owner checked, mode 0700.
#[derive(Clone, Debug)]
pub struct PrivateDir(Dir);

/// What to do about a folder of ours that group or others may enter or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loose {
    /// Set it to 0700. For folders whose content is verified at every use.
    Tighten,
    /// Refuse it when others may write to it, tighten it when they may only read it. For folders
    /// whose content is believed.
    RefuseWritable,
}

impl Dir {
    /// Opens the folder `name`, making it (0700) where it is missing, under the rules of a [`PrivateDir`].
    pub fn private_subdir(&self, name: &str, loose: Loose) -> Result<PrivateDir, SysError> {
        self.make_subdir(name, 0o700)?;
        self.existing_private_subdir(name, loose)
    }

    /// Opens the folder `name` under the rules of a [`PrivateDir`]; it must exist.
    pub fn existing_private_subdir(&self, name: &str, loose: Loose) -> Result<PrivateDir, SysError> {
        PrivateDir::check(self.foreign_subdir(name)?, loose)
    }
}

impl PrivateDir {
    /// Opens the folder, making it and its parents where they are missing, and checks the handle:
    /// a folder, not a link, owned by this process's effective user, mode 0700 (see [`Loose`]).
    pub fn open_or_create(path: impl Into<PathBuf>, loose: Loose) -> Result<Self, SysError> {
        use std::os::unix::fs::DirBuilderExt;
        let path = path.into();
        match fs::symlink_metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&path)
                    .map_err(|error| SysError::io("make the folder", &path, error))?;
                if let Some(parent) = path.parent() {
                    Dir::open(parent.canonicalize().map_err(|error| SysError::io("find", parent, error))?)?.sync()?;
                }
            }
            Err(error) => return Err(SysError::io("examine", path, error)),
        }
        Self::check(Dir::open(path)?, loose)
    }

    /// Makes the folder; an error where anything has its name.
    pub fn create_new(path: impl Into<PathBuf>, loose: Loose) -> Result<Self, SysError> {
        use std::os::unix::fs::DirBuilderExt;
        let path = path.into();
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| SysError::io("make the folder", &path, error))?;
        Self::check(Dir::open(path)?, loose)
    }

    /// Removes the folder itself, which must be empty.
    pub fn remove_itself(self) -> Result<(), SysError> {
        fs::remove_dir(self.path()).map_err(|error| SysError::io("remove", self.path(), error))
    }

    /// As [`Self::open_or_create`], but a missing folder is an error.
    pub fn open_existing(path: impl Into<PathBuf>, loose: Loose) -> Result<Self, SysError> {
        Self::check(Dir::open(path)?, loose)
    }

    fn check(dir: Dir, loose: Loose) -> Result<Self, SysError> {
        let stat = rustix::fs::fstat(dir.fd()).map_err(|errno| SysError::io("examine", dir.path(), errno))?;
        let ours = rustix::process::geteuid().as_raw();
        if stat.st_uid != ours {
            return Err(SysError::refused(dir.path(), Refusal::OtherOwner { owner: stat.st_uid, ours }));
        }
        let mode = stat.st_mode & 0o7777;
        if loose == Loose::RefuseWritable && mode & 0o022 != 0 {
            return Err(SysError::refused(dir.path(), Refusal::WritableByOthers { mode }));
        }
        if mode != 0o700 {
            rustix::fs::fchmod(dir.fd(), Mode::RWXU)
                .map_err(|errno| SysError::io("set the mode of", dir.path(), errno))?;
        }
        Ok(Self(dir))
    }

    /// The folder without its promise, for code that takes any folder.
    #[must_use]
    pub fn as_dir(&self) -> &Dir {
        &self.0
    }
}

impl Deref for PrivateDir {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.0
    }
}
