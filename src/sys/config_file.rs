//! Configuration: written by an administrator, so its owner is often not the user who reads it, and
//! links are followed (mounted and generated files are links). What matters is who else can write.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::dir::Dir;
use super::error::{Refusal, SysError};
use super::operator::OperatorFile;
use crate::types::ByteLimit;

/// Reads a whole configuration file: a regular one, at most `limit` bytes, that neither its group
/// nor others may write to. Judged on the open handle; a FIFO does not block.
pub fn read_config(path: &Path, limit: ByteLimit) -> Result<Vec<u8>, SysError> {
    let OperatorFile { file, mode, .. } = OperatorFile::open(path, limit)?;
    refuse_writable(mode, path)?;
    let mut bytes = Vec::new();
    // One more than allowed, so that a file that grows meanwhile is noticed.
    let mut bounded = file.take(limit.get().saturating_add(1));
    bounded.read_to_end(&mut bytes).map_err(|error| SysError::io("read", path, error))?;
    if !limit.admits(bytes.len() as u64) {
        let length = bytes.len() as u64;
        return Err(SysError::refused(path, Refusal::TooLong { length, limit: limit.get() }));
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
