use rusqlite::ErrorCode;

use crate::sys::SysError;

/// Why the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Its folder or file cannot be reached, or must not be believed.
    #[error("cannot use the node's ledger: {0}")]
    Sys(#[from] SysError),
    /// Another process kept it locked.
    #[error("the node's ledger is in use by another process; nothing was recorded. Try again")]
    Busy,
    /// No room, or a quota.
    #[error("the disk is full, and the node's ledger cannot be written; nothing was recorded. Free some space")]
    Full,
    /// The disk fails, is read-only, or does not permit it.
    #[error("the node's ledger cannot be written: {0}; nothing was recorded. Check the disk and its permissions")]
    Storage(#[source] rusqlite::Error),
    /// The file is damaged. The next start sets it aside.
    #[error("the node's ledger {0}; restart the node, which sets the file aside and makes a new one")]
    Corrupt(Corruption),
    /// The operating system has no randomness for a node id.
    #[error("cannot draw a node id: the operating system has no randomness; nothing was recorded. Try again")]
    Random,
    /// Anything else that the database reports.
    #[error("the node's ledger failed: {0}; nothing was recorded. Try again, and restart the node if it stays so")]
    Database(#[source] rusqlite::Error),
}

impl LedgerError {
    /// Whether it can be opened later, perhaps, without anybody's doing: a full disk gets room, a mount comes
    /// back. What must not be believed stays so.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Busy | Self::Full | Self::Storage(_) => true,
            Self::Sys(error) => error.refusal().is_none(),
            Self::Corrupt(_) | Self::Random | Self::Database(_) => false,
        }
    }
}

/// What is wrong with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// A folder, link or device has its name, or that of its journal.
    #[error("is not a regular file")]
    NotAFile,
    /// It does not begin as a database does.
    #[error("is not a database")]
    NotADatabase,
    /// Its pages contradict each other.
    #[error("is damaged")]
    Damaged,
    /// It is a database of some other program.
    #[error("is the database of another program")]
    Foreign,
    /// Its tables are not those that it says it has.
    #[error("lacks a table")]
    Incomplete,
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(
                ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied,
            ) => Self::Storage(error),
            Some(ErrorCode::NotADatabase) => Self::Corrupt(Corruption::NotADatabase),
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(Corruption::Damaged),
            _ => Self::Database(error),
        }
    }
}
