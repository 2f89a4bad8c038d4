//! Configuration: written by an administrator, so its owner is often not the user who reads it, and
//! links are followed (mounted and generated files are links). What matters is who else can write.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::dir::Dir;
use super::error::{Refusal, SysError};
use super::open::kind_refusal;
use crate::types::ByteLimit;

/// Reads a whole configuration file: a regular one, at most `limit` bytes, that neither its group
/// nor others may write to. Judged on the open handle; a FIFO does not block.
pub fn read_config(path: &Path, limit: ByteLimit) -> Result<Vec<u8>, SysError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::NXIO => SysError::refused(path, Refusal::NotRegular("socket")),
        errno => SysError::io("open", path, errno),
    })?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| SysError::io("examine", path, errno))?;
    if let Some(refusal) = kind_refusal(FileType::from_raw_mode(stat.st_mode)) {
        return Err(SysError::refused(path, refusal));
    }
    refuse_writable(stat.st_mode, path)?;
    let too_long = |length| SysError::refused(path, Refusal::TooLong { length, limit: limit.get() });
    let length = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if !limit.admits(length) {
        return Err(too_long(length));
    }
    let mut bytes = Vec::new();
    // One more than allowed, so that a file that grows meanwhile is noticed.
    let mut bounded = File::from(fd).take(limit.get().saturating_add(1));
    bounded.read_to_end(&mut bytes).map_err(|error| SysError::io("read", path, error))?;
    if !limit.admits(bytes.len() as u64) {
        return Err(too_long(bytes.len() as u64));
    }
    Ok(bytes)
}

/// The files `*.toml` of a configuration folder, sorted; none where the folder is missing. A folder
/// in which others may write is refused, because they could add a file.
pub fn config_files(folder: &Path) -> Result<Vec<PathBuf>, SysError> {
    let real = match folder.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SysError::io("find", folder, error)),
    };
    let dir = Dir::open(real)?;
    let stat = rustix::fs::fstat(dir.fd()).map_err(|errno| SysError::io("examine", folder, errno))?;
    refuse_writable(stat.st_mode, folder)?;
    let wanted = |name: &String| !name.starts_with('.') && Path::new(name).extension().is_some_and(|end| end == "toml");
    Ok(dir.names()?.into_iter().filter(wanted).map(|name| folder.join(name)).collect())
}

/// Whether this process runs as the superuser, whose folders lie elsewhere.
#[must_use]
pub fn running_as_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn refuse_writable(mode: u32, path: &Path) -> Result<(), SysError> {
    if mode & 0o022 != 0 {
        return Err(SysError::refused(path, Refusal::WritableByOthers { mode: mode & 0o7777 }));
    }
    Ok(())
}
