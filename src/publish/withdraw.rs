use std::path::{Path, PathBuf};

use super::listing::{LISTING, LISTING_LIMIT, Listing, ListingError};
use super::tree::lock;
use crate::console::{Exit, ToolError};
use crate::sys::{Dir, OperatorFile, SysError};
use crate::types::Version;

/// Whether releases are taken from nodes that have not gone there, or given back to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// No node takes them any more.
    Made,
    /// Nodes may take them again.
    Undone,
}

/// Why the listing stayed as it was.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// The file system says no.
    #[error("{0}. The listing is as it was, and nodes may still take what it lists")]
    Storage(#[from] SysError),
    /// The listing is none, or does not have them.
    #[error("{} was left as it is: {source}", path.display())]
    Listing {
        /// The listing.
        path: PathBuf,
        /// Why.
        source: ListingError,
    },
    /// Another run is publishing into the same folder.
    #[error("another run is publishing into {}; the listing is as it was. Try again when it is done", .0.display())]
    Busy(PathBuf),
}

impl ToolError for WithdrawError {
    fn exit(&self) -> Exit {
        match self {
            Self::Storage(_) => Exit::Storage,
            Self::Listing { source: ListingError::NotListed(_), .. } => Exit::Usage,
            Self::Listing { .. } => Exit::Verification,
            Self::Busy(_) => Exit::Busy,
        }
    }
}

/// Withdraws these versions from the listing of the tree, or undoes that: all of them, in one step, or
/// none. Returns those whose state changed.
///
/// A withdrawn release stays in the listing as a draft, which no node takes, and its files stay where
/// they are: its version is never used for anything else.
pub fn withdraw(tree: &Path, versions: &[Version], what: Withdrawal) -> Result<Vec<Version>, WithdrawError> {
    let root = Dir::of_operator(tree)?;
    let path = root.path().join(LISTING);
    let _lock = lock(&root)?.ok_or_else(|| WithdrawError::Busy(root.path().to_owned()))?;
    let failed = |source| WithdrawError::Listing { path: path.clone(), source };
    let mut listing = Listing::parse(&OperatorFile::read(&path, LISTING_LIMIT)?).map_err(failed)?;
    let mut changed = Vec::new();
    for version in versions {
        if listing.set_draft(version, what == Withdrawal::Made).map_err(failed)? {
            changed.push(version.clone());
        }
    }
    if !changed.is_empty() {
        root.replace(LISTING, &listing.to_bytes(), 0o644)?;
    }
    Ok(changed)
}
