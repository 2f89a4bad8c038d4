use std::io;
use std::path::PathBuf;

/// A failed operation on a file or folder: what was tried, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum SysError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb phrase: "open", "rename to".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system would have allowed it; we do not.
    #[error("refusing {}: {refusal}", path.display())]
    Refused {
        /// What was refused.
        path: PathBuf,
        /// The rule that it breaks.
        refusal: Refusal,
    },
}

/// The rule that a file or folder breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A symbolic link where a real file or folder must be.
    #[error("it is a symbolic link; replace it by a real file or folder of your own")]
    Symlink,
    /// Something other than a regular file: FIFO, socket, device or folder.
    #[error("it is a {0}, not a regular file; remove it, or name another file")]
    NotRegular(&'static str),
    /// Not a folder.
    #[error("it is not a folder; move it away")]
    NotADirectory,
    /// Owned by somebody else.
    #[error("it belongs to user id {owner}, and this process runs as user id {ours}; run as its owner, or chown it")]
    OtherOwner {
        /// The user id found on the handle.
        owner: u32,
        /// The effective user id of this process.
        ours: u32,
    },
    /// Writable by group or others where that cannot be repaired by tightening.
    #[error(
        "group or others may write to it (mode {mode:o}), so its content cannot be trusted; check what is in it, then chmod go-w it"
    )]
    WritableByOthers {
        /// Permission bits found on the handle.
        mode: u32,
    },
    /// More than one name for the same file.
    #[error("it has {0} names (hard links), so somebody else may hold it open for writing; remove it")]
    HardLinked(u64),
    /// Longer than what is allowed here.
    #[error("it is {length} bytes long, and at most {limit} are accepted here")]
    TooLong {
        /// Length on the handle, in bytes.
        length: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The name leads to another file than the one that was written under it.
    #[error("somebody exchanged it while it was being written; remove it and look who may write to its folder")]
    Exchanged,
    /// On a file system that is mounted noexec.
    #[error(
        "its file system is mounted noexec, so no new version could be started from there; `mount -o remount,exec` it, or move the program"
    )]
    NoExec,
    /// In a place that a package manager looks after.
    #[error("{0} looks after this place, and would undo what others change there")]
    PackageManaged(&'static str),
    /// A name that is empty, `.`, `..`, or holds `/` or NUL.
    #[error("its name is not a plain file name")]
    BadName,
}

impl SysError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.into(), source: source.into() }
    }

    pub(crate) fn refused(path: impl Into<PathBuf>, refusal: Refusal) -> Self {
        Self::Refused { path: path.into(), refusal }
    }

    /// A failed read of something below `path`.
    pub fn read_of(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::io("read", path, source)
    }

    /// Whether the thing was simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether this process or system has run out of handles or memory: says nothing about the file.
    #[must_use]
    pub fn is_exhaustion(&self) -> bool {
        use rustix::io::Errno;
        let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
        matches!(self, Self::Io { source, .. } if source.raw_os_error().is_some_and(|code| exhausted.contains(&code)))
    }

    /// Whether it fails now and need not fail later: no room, no quota, a disk that failed to answer,
    /// no handles. Says nothing about what this user may do there.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        use rustix::io::Errno;
        let passing = [Errno::NOSPC, Errno::DQUOT, Errno::IO].map(Errno::raw_os_error);
        self.is_exhaustion()
            || matches!(self, Self::Io { source, .. } if source.raw_os_error().is_some_and(|code| passing.contains(&code)))
    }

    /// Whether something of that name was already there.
    #[must_use]
    pub fn already_exists(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
    }

    /// The rule that was broken, when it is a refusal of ours.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            Self::Io { .. } => None,
        }
    }
}
