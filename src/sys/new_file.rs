use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::dir::Dir;
use super::error::{Refusal, SysError};
use super::open::SAFE;

/// A file that is being written under a temporary name. [`Self::publish`] gives it its real name
/// when it is complete and durable; dropping it removes it.
///
/// The writer holds a lock on it for as long as it lives, so that a sweep can tell what a
/// killed process left behind from what another process is writing just now.
#[derive(Debug)]
pub struct NewFile {
    dir: Dir,
    name: String,
    file: File,
    published: bool,
}

const PREFIX: &str = ".new-";

impl NewFile {
    pub(super) fn create(dir: &Dir, mode: u32) -> Result<Self, SysError> {
        let shown = || dir.path().join(PREFIX);
        loop {
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(|_| SysError::io("draw a name for", shown(), io::ErrorKind::Other))?;
            let name = format!("{PREFIX}{}", hex::encode(random));
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | SAFE;
            let fd = rustix::fs::openat(dir.fd(), name.as_str(), flags, Mode::RUSR | Mode::WUSR)
                .map_err(|errno| SysError::io("create a file in", dir.path(), errno))?;
            let new = Self { dir: dir.clone(), name, file: File::from(fd), published: false };
            fs4::FileExt::lock(&new.file).map_err(|error| SysError::io("lock", shown(), error))?;
            // Explicit, because the umask may be 077 where others must execute the file.
            rustix::fs::fchmod(&new.file, Mode::from_raw_mode(mode))
                .map_err(|errno| SysError::io("set the mode of", shown(), errno))?;
            let stat = rustix::fs::fstat(&new.file).map_err(|errno| SysError::io("examine", shown(), errno))?;
            // A sweep may have come between creation and lock.
            if stat.st_nlink > 0 {
                return Ok(new);
            }
        }
    }

    /// The open handle, readable and writable.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes the content durable, then gives it its name (replacing what had it), durably.
    pub fn publish(self, name: &str) -> Result<(), SysError> {
        let dir = self.dir.clone();
        self.publish_into(&dir, name)
    }

    /// As [`Self::publish`], but under a name in another folder of the same file system.
    pub fn publish_into(mut self, dir: &Dir, name: &str) -> Result<(), SysError> {
        self.file.sync_all().map_err(|error| SysError::io("sync", dir.path().join(name), error))?;
        self.still_ours()?;
        self.dir.rename_into(&self.name, dir, name)?;
        self.published = true;
        dir.sync()
    }

    /// As [`Self::publish`], but an error where something has that name already.
    pub fn publish_as_new(mut self, name: &str) -> Result<(), SysError> {
        self.file.sync_all().map_err(|error| SysError::io("sync", self.dir.path().join(name), error))?;
        self.still_ours()?;
        self.dir.rename_to_new(&self.name, name)?;
        self.published = true;
        self.dir.sync()
    }

    /// The temporary name must still lead to the file that was written: a rename moves a name.
    fn still_ours(&self) -> Result<(), SysError> {
        let shown = || self.dir.path().join(&self.name);
        let examine = |errno| SysError::io("examine", shown(), errno);
        let ours = rustix::fs::fstat(&self.file).map_err(examine)?;
        let named =
            rustix::fs::statat(self.dir.fd(), self.name.as_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(examine)?;
        if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino) {
            return Ok(());
        }
        Err(SysError::refused(shown(), Refusal::Exchanged))
    }

    pub(super) fn sweep(dir: &Dir) -> Result<usize, SysError> {
        let mut swept = 0;
        for name in dir.names()?.into_iter().filter(|name| name.starts_with(PREFIX)) {
            let Ok(fd) = rustix::fs::openat(dir.fd(), name.as_str(), OFlags::RDONLY | SAFE, Mode::empty()) else {
                continue;
            };
            if fs4::FileExt::try_lock(&File::from(fd)).is_ok() {
                dir.remove(&name)?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.published {
            match rustix::fs::unlinkat(self.dir.fd(), self.name.as_str(), AtFlags::empty()) {
                // What cannot be removed now is removed by the next sweep.
                Ok(()) | Err(_) => {}
            }
        }
    }
}
