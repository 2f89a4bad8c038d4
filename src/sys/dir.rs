use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::error::{Refusal, SysError};
use super::lock::Lock;
use super::new_file::NewFile;
use super::open::{CheckedFile, SAFE, kind_or_owner_refusal};
use crate::types::ByteLimit;

/// A folder held by an open handle. Every name is resolved relative to that handle.
#[derive(Clone, Debug)]
pub struct Dir {
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

/// What has a name in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it is a folder; anything else is counted as a file.
    pub is_folder: bool,
    /// When its content was last changed, by the file system's clock.
    pub modified: SystemTime,
    /// Its length in bytes.
    pub length: u64,
}

/// When its content was last changed; nothing before 1970.
fn moment(stat: &rustix::fs::Stat) -> SystemTime {
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(stat.st_mtime).unwrap_or(0), nanos)
}

impl Dir {
    /// Opens an existing folder. Its last component may not be a symbolic link; nothing else is checked.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SysError> {
        let path = path.into();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| dir_error(&path, errno))?;
        Ok(Self { fd: Arc::new(fd), path })
    }

    /// Where the folder was when it was opened: for messages, and for programs that need a path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names this very folder among all of the host, whatever its path is.
    pub fn identity(&self) -> Result<String, SysError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|errno| SysError::io("examine", &self.path, errno))?;
        Ok(format!("{:x}-{:x}", stat.st_dev, stat.st_ino))
    }

    /// A path that leads through the open handle, whatever happened to the folder's name since. It
    /// is short, too: a socket's address has room for 107 bytes only.
    #[must_use]
    pub fn handle_path(&self, name: &str) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd()))
    }

    fn shown(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn plain<'a>(&self, name: &'a str) -> Result<&'a str, SysError> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(SysError::refused(self.shown(name), Refusal::BadName));
        }
        Ok(name)
    }

    /// Refuses a folder in which somebody other than this user and root may exchange files.
    pub fn refuse_if_others_may_write(&self) -> Result<(), SysError> {
        let stat = rustix::fs::fstat(self.fd()).map_err(|errno| SysError::io("examine", &self.path, errno))?;
        let ours = rustix::process::geteuid().as_raw();
        let mode = stat.st_mode & 0o7777;
        let refusal = if stat.st_uid != ours && stat.st_uid != 0 {
            Refusal::OtherOwner { owner: stat.st_uid, ours }
        } else if mode & 0o022 != 0 {
            Refusal::WritableByOthers { mode }
        } else {
            return Ok(());
        };
        Err(SysError::refused(&self.path, refusal))
    }

    /// Opens a regular file of ours for reading. See [`CheckedFile`].
    pub fn open_file(&self, name: &str, limit: ByteLimit) -> Result<CheckedFile, SysError> {
        CheckedFile::open(self.fd.as_fd(), self.plain(name)?, &self.shown(name), limit)
    }

    /// Opens a program of ours for reading and executing by handle. It may have several names.
    pub fn open_program(&self, name: &str) -> Result<CheckedFile, SysError> {
        CheckedFile::open_program(self.fd.as_fd(), self.plain(name)?, &self.shown(name))
    }

    /// Opens a regular file for reading, whoever owns it: for content that is verified after it was
    /// read. Neither follows a link nor blocks.
    pub fn open_foreign_file(&self, name: &str, limit: ByteLimit) -> Result<CheckedFile, SysError> {
        CheckedFile::open_foreign(self.fd.as_fd(), self.plain(name)?, &self.shown(name), limit)
    }

    /// Opens the folder `name`, whoever owns it: for content that is verified after it was read. A
    /// link is not followed.
    pub fn foreign_subdir(&self, name: &str) -> Result<Self, SysError> {
        let shown = self.shown(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.fd.as_fd(), self.plain(name)?, flags, Mode::empty())
            .map_err(|errno| dir_error(&shown, errno))?;
        Ok(Self { fd: Arc::new(fd), path: shown })
    }

    /// Reads a whole regular file of ours, at most `limit` bytes.
    pub fn read(&self, name: &str, limit: ByteLimit) -> Result<Vec<u8>, SysError> {
        self.open_file(name, limit)?.read(&self.shown(name))
    }

    /// Starts a new file that appears under its name only when it is complete. See [`NewFile`].
    pub fn new_file(&self, mode: u32) -> Result<NewFile, SysError> {
        NewFile::create(self, mode)
    }

    /// Replaces `name` by `bytes`, atomically and durably.
    pub fn replace(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), SysError> {
        let mut file = self.new_file(mode)?;
        io::Write::write_all(&mut file, bytes).map_err(|error| SysError::io("write", self.shown(name), error))?;
        file.publish(name)
    }

    /// An open file without a name: it vanishes with its last handle, also after SIGKILL.
    pub fn unnamed_file(&self) -> Result<fs::File, SysError> {
        tempfile::tempfile_in(self.handle_path(""))
            .map_err(|error| SysError::io("create a private file in", &self.path, error))
    }

    /// Removes a file. Gone already is fine.
    pub fn remove(&self, name: &str) -> Result<(), SysError> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes an empty folder. Gone already is fine.
    pub fn remove_dir(&self, name: &str) -> Result<(), SysError> {
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: &str, flags: AtFlags) -> Result<(), SysError> {
        match rustix::fs::unlinkat(self.fd.as_fd(), self.plain(name)?, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(SysError::io("remove", self.shown(name), errno)),
        }
    }

    /// Removes whatever `name` is, with everything in it. Never follows a link.
    pub fn remove_tree(&self, name: &str) -> Result<(), SysError> {
        let path = self.handle_path(self.plain(name)?);
        let outcome = match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SysError::io("remove", self.shown(name), error))
            }
            _ => Ok(()),
        }
    }

    /// Renames within this folder, replacing what has the new name. Durable after [`Self::sync`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), SysError> {
        self.rename_into(from, self, to)
    }

    /// Renames into another folder of the same file system, replacing what has the new name there.
    /// Durable after [`Self::sync`] of both.
    pub fn rename_into(&self, from: &str, dir: &Self, to: &str) -> Result<(), SysError> {
        rustix::fs::renameat(self.fd.as_fd(), self.plain(from)?, dir.fd.as_fd(), dir.plain(to)?)
            .map_err(|errno| SysError::io("rename to", dir.shown(to), errno))
    }

    /// Renames within this folder; an error where something has the new name already.
    pub(super) fn rename_to_new(&self, from: &str, to: &str) -> Result<(), SysError> {
        let (old, new) = (self.plain(from)?, self.plain(to)?);
        match rustix::fs::renameat_with(self.fd.as_fd(), old, self.fd.as_fd(), new, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // Not every file system knows the flag; a hard link never replaces either.
            Err(Errno::INVAL | Errno::NOSYS) => {
                self.link_from(self, from, to)?;
                self.remove(from)
            }
            Err(errno) => Err(SysError::io("create", self.shown(to), errno)),
        }
    }

    /// Gives the file `name` of `from` a second name here (hard link). Fails where that name exists.
    pub fn link_from(&self, from: &Self, name: &str, new_name: &str) -> Result<(), SysError> {
        let (old, new) = (from.plain(name)?, self.plain(new_name)?);
        rustix::fs::linkat(from.fd.as_fd(), old, self.fd.as_fd(), new, AtFlags::empty())
            .map_err(|errno| SysError::io("link to", self.shown(new_name), errno))
    }

    /// Gives the very file behind the handle another name here (hard link), whatever its old names lead to
    /// by now. Fails where the name exists, and where the file has lost its last name.
    pub fn link_handle(&self, file: &fs::File, new_name: &str) -> Result<(), SysError> {
        use std::os::fd::AsRawFd;
        let (link, new) = (format!("/proc/self/fd/{}", file.as_raw_fd()), self.plain(new_name)?);
        rustix::fs::linkat(rustix::fs::CWD, link, self.fd.as_fd(), new, AtFlags::SYMLINK_FOLLOW)
            .map_err(|errno| SysError::io("link to", self.shown(new_name), errno))
    }

    /// Sets the permission bits of what has that name, a socket for instance. For folders of ours
    /// alone: somebody else could exchange the name in between.
    pub fn set_mode(&self, name: &str, mode: u32) -> Result<(), SysError> {
        rustix::fs::chmodat(self.fd.as_fd(), self.plain(name)?, Mode::from_raw_mode(mode), AtFlags::empty())
            .map_err(|errno| SysError::io("set the mode of", self.shown(name), errno))
    }

    /// The permission bits of what has that name; `None`: nothing has. Follows no link.
    pub fn mode(&self, name: &str) -> Result<Option<u32>, SysError> {
        match rustix::fs::statat(self.fd.as_fd(), self.plain(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.st_mode & 0o7777)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(SysError::io("examine", self.shown(name), errno)),
        }
    }

    /// Makes renames, links and removals in this folder durable.
    pub fn sync(&self) -> Result<(), SysError> {
        rustix::fs::fsync(self.fd.as_fd()).map_err(|errno| SysError::io("sync", &self.path, errno))
    }

    /// Names in this folder, sorted. Names that are not UTF-8 are left out: none of ours is.
    pub fn names(&self) -> Result<Vec<String>, SysError> {
        let failed = |errno: Errno| SysError::io("list", &self.path, errno);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(self.fd.as_fd()).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// When what has that name last changed, and its length in bytes. Follows no link, opens nothing.
    pub fn modified(&self, name: &str) -> Result<(SystemTime, u64), SysError> {
        let stat = rustix::fs::statat(self.fd.as_fd(), self.plain(name)?, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| SysError::io("examine", self.shown(name), errno))?;
        Ok((moment(&stat), u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// What has that name; `None`: nothing has. Follows no link, opens nothing.
    pub fn look(&self, name: &str) -> Result<Option<Seen>, SysError> {
        match rustix::fs::statat(self.fd.as_fd(), self.plain(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Seen {
                is_folder: FileType::from_raw_mode(stat.st_mode).is_dir(),
                modified: moment(&stat),
                length: u64::try_from(stat.st_size).unwrap_or(0),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(SysError::io("examine", self.shown(name), errno)),
        }
    }

    /// What the clock of the file system says: when a file that is made in this folder now was last changed. A file
    /// system on another host has a clock of its own.
    pub fn clock(&self) -> Result<SystemTime, SysError> {
        let mut file = self.unnamed_file()?;
        io::Write::write_all(&mut file, b".").map_err(|error| SysError::io("write in", &self.path, error))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| SysError::io("examine a file in", &self.path, errno))?;
        Ok(moment(&stat))
    }

    /// Whether anything of that name is there, of whatever kind.
    pub fn exists(&self, name: &str) -> Result<bool, SysError> {
        match rustix::fs::statat(self.fd.as_fd(), self.plain(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(SysError::io("examine", self.shown(name), errno)),
        }
    }

    /// Judges the file `name` without opening it: a regular file of ours, or nothing (`false`).
    ///
    /// For files that a library opens again by name, in folders into which only we write. A second
    /// handle of ours would be harmful there: closing it releases the locks (POSIX) that the library
    /// holds on the same file.
    pub fn judge_file(&self, name: &str) -> Result<bool, SysError> {
        let shown = self.shown(name);
        match rustix::fs::statat(self.fd.as_fd(), self.plain(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match kind_or_owner_refusal(&stat) {
                None => Ok(true),
                Some(refusal) => Err(SysError::refused(shown, refusal)),
            },
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(SysError::io("examine", shown, errno)),
        }
    }

    /// Makes an empty file `name` (0600) where there is none. See [`Self::judge_file`].
    pub fn ensure_file(&self, name: &str) -> Result<(), SysError> {
        if self.judge_file(name)? {
            return Ok(());
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | SAFE;
        match rustix::fs::openat(self.fd.as_fd(), name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(_) => self.sync(),
            Err(Errno::EXIST) => self.judge_file(name).map(drop),
            Err(errno) => Err(SysError::io("create", self.shown(name), errno)),
        }
    }

    /// Opens the folder `name`, making it (0755) where it is missing. For trees that others may read
    /// and whose content is verified by whoever uses it.
    pub fn public_subdir(&self, name: &str) -> Result<Self, SysError> {
        self.make_subdir(name, 0o755)?;
        self.foreign_subdir(name)
    }

    /// Makes the folder `name`, durably, where nothing has that name.
    pub(super) fn make_subdir(&self, name: &str, mode: u32) -> Result<(), SysError> {
        match rustix::fs::mkdirat(self.fd.as_fd(), self.plain(name)?, Mode::from_raw_mode(mode)) {
            Ok(()) => self.sync(),
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(SysError::io("make the folder", self.shown(name), errno)),
        }
    }

    /// Takes a lock on the file `name`, without waiting. `None` when somebody else holds it.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>, SysError> {
        Lock::try_acquire(self, self.plain(name)?)
    }

    /// Removes temporary files whose writer is dead. Safe beside writers that live.
    pub fn sweep(&self) -> Result<usize, SysError> {
        NewFile::sweep(self)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether two handles lead to the same file.
#[must_use]
pub fn same_file(a: &fs::File, b: &fs::File) -> bool {
    match (rustix::fs::fstat(a), rustix::fs::fstat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

fn dir_error(path: &Path, errno: Errno) -> SysError {
    // O_DIRECTORY | O_NOFOLLOW answers ENOTDIR for a link too: look again to name the reason.
    let is_link =
        || rustix::fs::lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    match errno {
        Errno::LOOP => SysError::refused(path, Refusal::Symlink),
        Errno::NOTDIR if is_link() => SysError::refused(path, Refusal::Symlink),
        Errno::NOTDIR => SysError::refused(path, Refusal::NotADirectory),
        errno => SysError::io("open the folder", path, errno),
    }
}
