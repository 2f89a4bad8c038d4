//! Paths that the person at the terminal typed, or that a build tool passed on.
//!
//! They may lead through links and belong to anybody: who names a file on the command line means
//! that file. What stays is that only a regular file is read, that opening cannot block, and that
//! no more than the asked-for length is read.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::dir::Dir;
use super::error::{Refusal, SysError};
use super::open::kind_refusal;
use crate::types::ByteLimit;

/// An open regular file that an operator named. Nothing is promised about who may change it.
#[derive(Debug)]
pub struct OperatorFile {
    /// The open handle.
    pub file: File,
    /// Length in bytes when it was opened, at most the limit that was asked for.
    pub length: u64,
    /// Permission bits.
    pub mode: u32,
}

impl OperatorFile {
    /// Opens what the operator named, following links.
    pub fn open(path: &Path, limit: ByteLimit) -> Result<Self, SysError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            rustix::io::Errno::NXIO => SysError::refused(path, Refusal::NotRegular("socket")),
            errno => SysError::io("open", path, errno),
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| SysError::io("examine", path, errno))?;
        if let Some(refusal) = kind_refusal(FileType::from_raw_mode(stat.st_mode)) {
            return Err(SysError::refused(path, refusal));
        }
        let length = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if !limit.admits(length) {
            return Err(SysError::refused(path, Refusal::TooLong { length, limit: limit.get() }));
        }
        Ok(Self { file: File::from(fd), length, mode: stat.st_mode & 0o7777 })
    }

    /// Opens and reads a whole file.
    pub fn read(path: &Path, limit: ByteLimit) -> Result<Vec<u8>, SysError> {
        Self::open(path, limit)?.into_bytes(path)
    }

    /// Reads the whole file, never more than the length that it had when it was opened.
    pub fn into_bytes(self, shown: &Path) -> Result<Vec<u8>, SysError> {
        // Room from the start: growing would leave copies behind, and the file may hold a secret.
        let mut bytes = Vec::with_capacity(usize::try_from(self.length).unwrap_or(0));
        self.file.take(self.length).read_to_end(&mut bytes).map_err(|error| SysError::io("read", shown, error))?;
        Ok(bytes)
    }
}

impl Dir {
    /// Opens a folder that the operator named, following links. An empty path is the current folder.
    pub fn of_operator(path: &Path) -> Result<Self, SysError> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let real = path.canonicalize().map_err(|error| SysError::io("open the folder", path, error))?;
        Self::open(real)
    }

    /// The folder and the plain name of a file that the operator wants written.
    pub fn parent_of_operator_file(path: &Path) -> Result<(Self, String), SysError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name else {
            return Err(SysError::refused(path, Refusal::BadName));
        };
        let parent: PathBuf = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok((Self::of_operator(&parent)?, name.to_owned()))
    }
}
