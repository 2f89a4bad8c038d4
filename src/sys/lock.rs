use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::dir::Dir;
use super::error::SysError;
use super::open::{SAFE, judge, open_error};

/// An exclusive lock on a file, for as long as this value lives (flock(2)).
///
/// The file must be a regular one of ours with one name. Lock files are never removed. After locking, the handle and the name must still be the same
/// file: otherwise somebody exchanged it, and two holders would each believe to be alone.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    pub(super) fn try_acquire(dir: &Dir, name: &str) -> Result<Option<Self>, SysError> {
        let shown = dir.path().join(name);
        for _ in 0..8 {
            let flags = OFlags::CREATE | OFlags::RDWR | SAFE;
            let fd = rustix::fs::openat(dir.fd(), name, flags, Mode::RUSR | Mode::WUSR)
                .map_err(|errno| open_error(&shown, "open the lock", errno))?;
            let file = File::from(fd);
            let ours = rustix::fs::fstat(&file).map_err(|errno| SysError::io("examine", &shown, errno))?;
            // A second name for somebody's file would have its content overwritten by our notes.
            judge(&ours, &shown)?;
            match fs4::FileExt::try_lock(&file) {
                Ok(()) => {}
                Err(fs4::TryLockError::WouldBlock) => return Ok(None),
                Err(fs4::TryLockError::Error(error)) => return Err(SysError::io("lock", shown, error)),
            }
            match rustix::fs::statat(dir.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(named) if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino) => {
                    return Ok(Some(Self { file }));
                }
                // Exchanged or removed in between: open what is there now.
                _ => {}
            }
        }
        Err(SysError::io("lock (it is exchanged again and again)", shown, io::ErrorKind::ResourceBusy))
    }

    /// The descriptor, to hand the lock on: it belongs to the open file, not to the process.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A second handle on the same lock, which lasts until both are gone.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()? })
    }

    /// Takes over a lock that arrived as a descriptor.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { file: File::from(fd) }
    }

    /// Writes a short note into the lock file, for those who wait: a progress counter.
    pub fn note(&mut self, note: &str) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(note.as_bytes())?;
        self.file.set_len(note.len() as u64)
    }

    /// Reads at most `limit` bytes of the note.
    pub fn read_note(&mut self, limit: u64) -> io::Result<String> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut note = String::new();
        Read::by_ref(&mut self.file).take(limit).read_to_string(&mut note)?;
        Ok(note)
    }
}

/// A lock on a folder itself, for as long as this value lives: for trees in which a lock file has no
/// business. The kernel releases it with the process, so that a kill leaves nothing behind.
#[derive(Debug)]
pub struct DirLock {
    _fd: OwnedFd,
}

impl Dir {
    /// Takes a lock on this folder itself, without waiting. `None` when somebody else holds it.
    pub fn try_lock_itself(&self) -> Result<Option<DirLock>, SysError> {
        self.flock_itself(FlockOperation::NonBlockingLockExclusive)
    }

    /// As [`Self::try_lock_itself`], beside others who share it. `None` when somebody has it alone.
    pub fn try_share_itself(&self) -> Result<Option<DirLock>, SysError> {
        self.flock_itself(FlockOperation::NonBlockingLockShared)
    }

    fn flock_itself(&self, how: FlockOperation) -> Result<Option<DirLock>, SysError> {
        // A handle of its own: flock(2) belongs to the open file, and clones of `self` share one.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.fd(), ".", flags, Mode::empty())
            .map_err(|errno| SysError::io("open the folder", self.path(), errno))?;
        match rustix::fs::flock(&fd, how) {
            Ok(()) => Ok(Some(DirLock { _fd: fd })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(SysError::io("lock the folder", self.path(), errno)),
        }
    }
}
