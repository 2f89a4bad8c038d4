use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::sys::SysError;
use crate::types::StateEpochs;

/// Why the job's state cannot be opened. It is as it was in every case.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Its folder or file cannot be reached, or must not be believed.
    #[error("cannot use the job's state: {0}")]
    Sys(#[from] SysError),
    /// The product declares none.
    #[error("this product declares no state; `App::with_state` does")]
    NotDeclared,
    /// There is none, although this version made one, or wanted to: what a newer version would make in its place
    /// could not be taken back.
    #[error(
        "the job's state is missing: it could not be made when this worker started, or was removed since; another \
         worker begins a new one as soon as the disk allows it"
    )]
    Missing,
    /// The product's [`App`](crate::node::App) does not name that file.
    #[error("this product declares no file {0:?} of its state; `App::with_state_files` does")]
    FileNotDeclared(String),
    /// The disk did not let it be opened when this worker started.
    #[error("the job's state could not be opened when this worker started, for the reason in the log; it is as it was")]
    Unusable,
    /// It has to be migrated, and the launcher has not given its word: nothing could bring it back yet.
    #[error(
        "the job's state is of epoch {found}, and this version writes {writes}: it is migrated only after a snapshot was \
         taken, and the launcher said so; it was left as it is"
    )]
    NotAllowed {
        /// The epoch that is there.
        found: u32,
        /// The epoch that this version writes.
        writes: u32,
    },
    /// No step of this version leads on from there.
    #[error(
        "the job's state is of epoch {found}, and this version {epochs}; it was left as it is. \
         Go by a version in between that reads epoch {found}"
    )]
    TooOld {
        /// The epoch that is there.
        found: u32,
        /// What this version understands.
        epochs: StateEpochs,
    },
    /// A newer version has migrated it.
    #[error(
        "the job's state is of epoch {found}, and this version {epochs}: a newer one has migrated it, and it was left as \
         it is. Install that version again, or bring back what was saved before"
    )]
    TooNew {
        /// The epoch that is there.
        found: u32,
        /// What this version understands.
        epochs: StateEpochs,
    },
    /// It is damaged. The version that serves moves it aside at its next start.
    #[error(
        "the job's state in {} {damage}; it was left as it is. The node moves it aside when the version that serves starts \
         again, and begins a new one",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// Another process kept it locked.
    #[error("the job's state is in use by another process; it was left as it is. Try again")]
    Busy,
    /// No room, or a quota.
    #[error("the disk is full, and the job's state cannot be written; it is as it was. Free some space")]
    Full,
    /// The disk fails, is read-only, or does not permit it.
    #[error("the job's state cannot be read or written: {0}. Check the disk and its permissions")]
    Storage(#[source] rusqlite::Error),
    /// A step of the migration failed.
    #[error("the migration of the job's state to epoch {to} failed: {source}; that step was undone")]
    Step {
        /// The epoch that the step leads to.
        to: u32,
        /// What the database says.
        source: rusqlite::Error,
    },
    /// Anything else that the database reports.
    #[error("the job's state failed: {0}")]
    Database(#[source] rusqlite::Error),
}

/// What is wrong with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A folder, link or device has its name, or that of its journal.
    #[error("is not a regular file")]
    NotAFile,
    /// It does not begin as a database does.
    #[error("is not a database")]
    NotADatabase,
    /// Its pages contradict each other.
    #[error("is damaged")]
    Pages,
    /// It is a database of some other program.
    #[error("is the database of another program")]
    Foreign,
}

impl StateError {
    /// Whether the disk or a permission is at fault.
    #[must_use]
    pub fn is_storage(&self) -> bool {
        matches!(self, Self::Sys(_) | Self::Full | Self::Storage(_) | Self::Damaged { .. } | Self::Busy | Self::Missing)
    }
}

/// Either what is wrong with the file, or another error.
#[derive(Debug)]
pub(super) enum Trouble {
    Damage(Damage),
    Error(StateError),
}

impl From<StateError> for Trouble {
    fn from(error: StateError) -> Self {
        Self::Error(error)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Error(match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => return Self::Damage(Damage::NotADatabase),
            Some(ErrorCode::DatabaseCorrupt) => return Self::Damage(Damage::Pages),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StateError::Busy,
            Some(ErrorCode::DiskFull) => StateError::Full,
            Some(
                ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied,
            ) => StateError::Storage(error),
            _ => StateError::Database(error),
        })
    }
}
