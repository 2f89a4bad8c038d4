use std::io;

use super::export::LeftOut;
use crate::cache::CacheError;
use crate::fetch::FetchError;
use crate::sys::SysError;
use crate::types::Version;

/// Why a bundle was not made, or nothing taken from one.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The cache cannot be read.
    #[error("{0}")]
    Cache(#[from] CacheError),
    /// There is nothing to go in.
    #[error("the cache holds no release for this target, so there is nothing to export. No file was written")]
    Nothing,
    /// What was asked for, or all that there is, cannot go in.
    #[error("{version} cannot be exported: {reason}. No file was written")]
    LeftOut {
        /// The version.
        version: Version,
        /// Why not.
        reason: LeftOut,
    },
    /// The file cannot be written.
    #[error("{0}. No file was written")]
    Storage(#[from] SysError),
    /// A part of it cannot be written.
    #[error("cannot write the bundle {path}: {source}. No file was left; look at the space there")]
    Write {
        /// The bundle.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// What the node trusts is being brought up to date, and that does not end.
    #[error("another process has been using what this node trusts for too long; ask again when it is done")]
    TrustBusy,
    /// The bundle cannot be read.
    #[error("nothing was taken from the bundle: {0}")]
    Bundle(#[from] FetchError),
    /// The program is ending.
    #[error("cut short: {0}. What was stored until then is kept")]
    CutShort(#[from] tokio::task::JoinError),
}
