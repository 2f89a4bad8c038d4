use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::error::{Refusal, SysError};
use crate::types::ByteLimit;

/// An open regular file of ours, with the length that its handle had when it was judged.
#[derive(Debug)]
pub struct CheckedFile {
    /// The handle that was judged. Reading it may still meet a file that grows or shrinks: take
    /// [`Self::length`] as the bound, and verify what was read.
    pub file: File,
    /// Length in bytes, at most the limit that was asked for.
    pub length: u64,
}

/// Flags under which opening a hostile name neither follows, blocks, nor takes a terminal.
pub(super) const SAFE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl CheckedFile {
    /// Opens `name` below `dir` for reading, and judges the handle: a regular file, owned by this
    /// process's effective user, with one name, of at most `limit` bytes.
    pub(super) fn open(dir: impl AsFd, name: &str, shown: &Path, limit: ByteLimit) -> Result<Self, SysError> {
        Self::open_judged(dir, name, shown, limit, judge)
    }

    /// As [`Self::open`], but whoever owns the file, and however many names it has.
    pub(super) fn open_foreign(dir: impl AsFd, name: &str, shown: &Path, limit: ByteLimit) -> Result<Self, SysError> {
        Self::open_judged(dir, name, shown, limit, |stat, shown| {
            refuse(shown, kind_refusal(FileType::from_raw_mode(stat.st_mode)))
        })
    }

    /// Opens a program of ours: as [`Self::open`], except that it may have several names (a version
    /// is one file under its own name and under the committed one), and that nobody else may write to it.
    pub(super) fn open_program(dir: impl AsFd, name: &str, shown: &Path) -> Result<Self, SysError> {
        Self::open_judged(dir, name, shown, ByteLimit::bytes(1 << 62), |stat, shown| {
            let mode = stat.st_mode & 0o7777;
            let loose = (mode & 0o022 != 0).then_some(Refusal::WritableByOthers { mode });
            refuse(shown, kind_or_owner_refusal(stat).or(loose))
        })
    }

    fn open_judged(
        dir: impl AsFd,
        name: &str,
        shown: &Path,
        limit: ByteLimit,
        judge: impl Fn(&Stat, &Path) -> Result<(), SysError>,
    ) -> Result<Self, SysError> {
        let fd = rustix::fs::openat(dir, name, OFlags::RDONLY | SAFE, Mode::empty())
            .map_err(|errno| open_error(shown, "open", errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| SysError::io("examine", shown, errno))?;
        judge(&stat, shown)?;
        let length = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if !limit.admits(length) {
            return Err(SysError::refused(shown, Refusal::TooLong { length, limit: limit.get() }));
        }
        Ok(Self { file: File::from(fd), length })
    }

    /// Reads the whole file, never more than the length that was judged.
    pub fn read(self, shown: &Path) -> Result<Vec<u8>, SysError> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.length).unwrap_or(0));
        self.file.take(self.length).read_to_end(&mut bytes).map_err(|error| SysError::io("read", shown, error))?;
        Ok(bytes)
    }

    /// The handle alone.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.file.into()
    }
}

/// What a failed open(2) under [`SAFE`] says about the name.
pub(super) fn open_error(shown: &Path, action: &'static str, errno: Errno) -> SysError {
    match errno {
        // O_NOFOLLOW on a link, open(2) on a socket, opening a folder for writing.
        Errno::LOOP => SysError::refused(shown, Refusal::Symlink),
        Errno::NXIO => SysError::refused(shown, Refusal::NotRegular("socket")),
        Errno::ISDIR => SysError::refused(shown, Refusal::NotRegular("folder")),
        errno => SysError::io(action, shown, errno),
    }
}

/// The rule that a file of this kind breaks, if it is not a regular one.
pub(super) fn kind_refusal(kind: FileType) -> Option<Refusal> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some(Refusal::NotRegular("folder")),
        FileType::Fifo => Some(Refusal::NotRegular("FIFO")),
        FileType::CharacterDevice | FileType::BlockDevice => Some(Refusal::NotRegular("device")),
        FileType::Socket => Some(Refusal::NotRegular("socket")),
        FileType::Symlink => Some(Refusal::Symlink),
        FileType::Unknown => Some(Refusal::NotRegular("special file")),
    }
}

/// The rule that a file breaks by what it is or whose it is.
pub(super) fn kind_or_owner_refusal(stat: &Stat) -> Option<Refusal> {
    let ours = rustix::process::geteuid().as_raw();
    kind_refusal(FileType::from_raw_mode(stat.st_mode))
        .or_else(|| (stat.st_uid != ours).then_some(Refusal::OtherOwner { owner: stat.st_uid, ours }))
}

/// A regular file of ours with one name.
pub(super) fn judge(stat: &Stat, shown: &Path) -> Result<(), SysError> {
    let several = (stat.st_nlink > 1).then_some(Refusal::HardLinked(stat.st_nlink));
    refuse(shown, kind_or_owner_refusal(stat).or(several))
}

fn refuse(shown: &Path, refusal: Option<Refusal>) -> Result<(), SysError> {
    match refusal {
        None => Ok(()),
        Some(refusal) => Err(SysError::refused(shown, refusal)),
    }
}
