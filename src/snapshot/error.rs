use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use super::id::SnapshotId;
use super::state::Role;
use crate::console::{Exit, ToolError};
use crate::crypto::{KeyError, KeyringError, SignError};
use crate::sys::SysError;
use crate::types::NodeId;

/// Why a snapshot was not taken, believed or put back. Where nothing else is said, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file or folder cannot be reached, or must not be believed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// Another process takes, prunes or restores one just now.
    #[error("another process is at work on the snapshots in {}; nothing was changed. Try again", .0.display())]
    Busy(PathBuf),
    /// Not enough room for what is to be written.
    #[error(
        "{needed} bytes are needed in {}, and {free} are free there; nothing was changed. Free some space, or prune snapshots",
        folder.display()
    )]
    Space {
        /// Where.
        folder: PathBuf,
        /// How many bytes would be written at most.
        needed: u64,
        /// How many this user may write.
        free: u64,
    },
    /// A file of the state is not there.
    #[error("there is no {} to take a snapshot of; nothing was made. Has the node run, and is this its data folder?", .0.display())]
    NoState(PathBuf),
    /// A database in which nothing was ever made: of a wrong path, as a rule.
    #[error("{} is an empty database; nothing was made. Is this the data folder that was meant?", .0.display())]
    EmptyDatabase(PathBuf),
    /// Not a database.
    #[error("{} is not a SQLite database; nothing was made. Look at what lies there", .0.display())]
    NotADatabase(PathBuf),
    /// The database stayed locked.
    #[error("{} stayed locked by another process; nothing was made. Try again", .0.display())]
    Locked(PathBuf),
    /// The disk is full.
    #[error("the disk is full ({} could not be written); nothing was made. Free some space, or prune snapshots", .0.display())]
    Full(PathBuf),
    /// Anything else that SQLite reports.
    #[error("{} cannot be copied: {source}; nothing was made. Check it with `PRAGMA integrity_check`", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// What was written cannot be written or read on.
    #[error("cannot write {}: {source}; nothing was changed. Look at the space and the health of its disk", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No randomness, or a machine that computes wrongly.
    #[error("the snapshot cannot be signed: {0}; nothing was made")]
    Sign(#[from] SignError),
    /// No snapshot of that name.
    #[error("there is no snapshot {0}; `snapshot ls` lists those that there are")]
    NotFound(SnapshotId),
    /// A key of the node, in its `trust` folder, is damaged.
    #[error("{} {source}; put it back from a backup, or move it away, and later snapshots get a new one", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// Not an age identity.
    #[error("{} is not an age identity (a line AGE-SECRET-KEY-1…); name the file that `age-keygen` made", .0.display())]
    Identity(PathBuf),
    /// A list of trusted keys without a key.
    #[error("{} holds no PEM public key; name a text of such keys (a node keeps its own in trust/snapshot.pem)", .0.display())]
    NoTrustedKeys(PathBuf),
    /// A list of trusted keys holds something else.
    #[error("{}: {source}; a list of trusted keys is a text of PEM public keys (the node's trust/snapshot.pem)", path.display())]
    TrustedKeys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyringError,
    },
    /// No trusted key signed it.
    #[error(
        "{} was not signed by a trusted snapshot key{}; do not use it. If it comes from another node of yours, name that node's trust/snapshot.pem with --trusted-keys",
        path.display(),
        claim.as_ref().map(|node| format!(" (it says that it is of node {node})")).unwrap_or_default()
    )]
    NotSigned {
        /// The file.
        path: PathBuf,
        /// The node that it claims to be of: not believed.
        claim: Option<NodeId>,
    },
    /// Signed or not, it is not what a snapshot must be.
    #[error("{} is not a whole snapshot: {reason}; do not use it, and take another", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The rule that it breaks.
        #[source]
        reason: FormatError,
    },
    /// Signed, for another name than it has.
    #[error("{} is the snapshot {found} under another's name; do not use it", path.display())]
    OtherSnapshot {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: SnapshotId,
    },
    /// Another content than the one that a record names.
    #[error("{} is not the file that the node's record names; do not use it", .0.display())]
    OtherContent(PathBuf),
    /// Of another node.
    #[error(
        "this is a snapshot of node {found}, and this is node {wanted}; nothing was changed. --allow-other-node takes it all the same"
    )]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Who wanted it.
        wanted: NodeId,
    },
    /// The state of another program.
    #[error(
        "this is the state of another program (application id {found:#010x}, and {wanted:#010x} is expected); nothing was changed"
    )]
    OtherProgram {
        /// What it says.
        found: i32,
        /// What was expected.
        wanted: i32,
    },
    /// Of a schema before the present one.
    #[error(
        "this snapshot has the schema {found}, and the state here the newer {present}; nothing was changed. --allow-older-schema takes it all the same: only a program that reads {found} can run on it"
    )]
    OlderSchema {
        /// The epoch of the snapshot.
        found: i32,
        /// The epoch of the present state.
        present: i32,
    },
    /// Of a schema that the program does not know.
    #[error(
        "this snapshot has the schema {found}, and this program reads {newest} at most; nothing was changed. Restore it with the version that took it"
    )]
    NewerSchema {
        /// The epoch of the snapshot.
        found: i32,
        /// The newest epoch that the program reads.
        newest: i32,
    },
    /// A later snapshot of the same node is there.
    #[error(
        "there is a later snapshot, {newest}; nothing was changed. Name this one by its id to restore it all the same"
    )]
    Older {
        /// The newest one.
        newest: SnapshotId,
    },
    /// No identity opens the seal.
    #[error(
        "the snapshot is sealed, and none of the identities at hand opens it; nothing was changed. Name one with --identity"
    )]
    Sealed,
    /// Recipients that cannot be combined, or none.
    #[error("cannot seal: {0}; nothing was made")]
    Seal(#[source] age::EncryptError),
    /// What a restore left unfinished is damaged.
    #[error("{} is damaged; the state before the restore is in the state.rejected folder beside it", .0.display())]
    Journal(PathBuf),
}

/// The rule of the format that a file breaks.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// Ends in the middle.
    #[error("it ends too early")]
    Truncated,
    /// Something else where this entry must be.
    #[error("the entry {0} is not where it must be")]
    Entry(&'static str),
    /// A length above its limit.
    #[error("it states a length of {0} bytes, which is more than any snapshot has")]
    TooLong(u64),
    /// Bytes that should be zero.
    #[error("there is something between its entries")]
    Padding,
    /// Bytes behind the end.
    #[error("something follows its end")]
    Trailing,
    /// Not the JSON that a manifest is.
    #[error("its manifest is not one: {0}")]
    Manifest(#[source] serde_json::Error),
    /// The same facts in other bytes.
    #[error("its manifest is not in the canonical form")]
    NotCanonical,
    /// Another format or version of it.
    #[error("its format is not exuvia-snapshot-v1")]
    OtherFormat,
    /// No file, or too many.
    #[error("it states {0} files; 1 to 64 are possible")]
    Files(usize),
    /// A role twice.
    #[error("it states {0} twice")]
    Repeated(Role),
    /// The payload's length or digest is not the signed one.
    #[error("its payload is not the one that was signed")]
    OtherPayload,
    /// Inside the payload is not exactly what the manifest states.
    #[error("its payload does not hold what its manifest states")]
    Payload,
    /// Its content has another digest than the signed one.
    #[error("its {0} is not the one that was signed")]
    OtherFile(Role),
    /// Not Zstandard, or not decompressible within the signed lengths.
    #[error("its payload cannot be decompressed: {0}")]
    Compression(#[source] io::Error),
}

impl ToolError for SnapshotError {
    fn exit(&self) -> Exit {
        match self {
            Self::Busy(_) | Self::Locked(_) => Exit::Busy,
            Self::NotFound(_)
            | Self::Identity(_)
            | Self::TrustedKeys { .. }
            | Self::NoTrustedKeys(_)
            | Self::Seal(_) => Exit::Usage,
            Self::NotSigned { .. }
            | Self::Malformed { .. }
            | Self::OtherSnapshot { .. }
            | Self::OtherContent(_)
            | Self::OtherProgram { .. }
            | Self::Sealed => Exit::Verification,
            Self::OtherNode { .. } | Self::OlderSchema { .. } | Self::NewerSchema { .. } | Self::Older { .. } => {
                Exit::Policy
            }
            Self::Sign(_) => Exit::Unexpected,
            Self::Sys(_)
            | Self::Space { .. }
            | Self::NoState(_)
            | Self::EmptyDatabase(_)
            | Self::NotADatabase(_)
            | Self::Full(_)
            | Self::Database { .. }
            | Self::Write { .. }
            | Self::Key { .. }
            | Self::Journal(_) => Exit::Storage,
        }
    }
}

impl SnapshotError {
    pub(super) fn of_database(path: PathBuf, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(path),
            Some(ErrorCode::DiskFull) => Self::Full(path),
            Some(ErrorCode::NotADatabase) => Self::NotADatabase(path),
            _ => Self::Database { path, source },
        }
    }

    pub(super) fn of_write(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::Full(path),
            _ => Self::Write { path, source },
        }
    }
}
