use std::path::PathBuf;

use crate::sys::SysError;
use crate::types::Sha256Digest;

/// Why the install folder cannot be used as asked.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// This user may not write beside the committed binary: the node can run, but not upgrade itself.
    #[error(
        "this install in {} cannot upgrade itself: {source}. \
         Upgrade it with whatever installed it, or move the binary into a folder that this user owns",
        folder.display()
    )]
    Unsupported {
        /// The folder that would have to be written.
        folder: PathBuf,
        /// What the system, or our own rule, says.
        source: SysError,
    },
    /// The committed path leads nowhere usable.
    #[error(
        "the path of the running program, {}, has no folder, no plain name or no record beside it; start it by the path \
         at which it is installed",
        .0.display()
    )]
    NoFolder(PathBuf),
    /// The committed path is no text, and goes through messages that are.
    #[error("the path of the running program, {}, is not UTF-8; install it at one that is", .0.display())]
    NotUtf8(PathBuf),
    /// Somebody put another binary at the committed path.
    #[error(
        "{} is not the binary any more that the nodes here run: somebody installed another one, and it is left as it is. \
         Restart the nodes: they run what is installed, and upgrade from there",
        .0.display()
    )]
    Replaced(PathBuf),
    /// A record is not what this program writes.
    #[error("{} is damaged ({reason}), and was left as it is; move it away, and it is made anew", path.display())]
    Record {
        /// The record's file.
        path: PathBuf,
        /// What the parser says.
        reason: serde_json::Error,
    },
    /// A binary's content is not what its record says.
    #[error(
        "{} has digest {found}, and its record says {expected}; it is not run. Somebody changed it: look who may \
         write there, and remove it, so that it is fetched again",
        path.display()
    )]
    Digest {
        /// The binary.
        path: PathBuf,
        /// What the handle holds.
        found: Sha256Digest,
        /// What was recorded.
        expected: Sha256Digest,
    },
    /// The new version would lack the file capabilities of the committed one, and this user may not set
    /// them.
    #[error(
        "{} would lack the file capabilities of {}, and this user may not set them ({source}); nothing was tried or committed. \
         As root: setfattr -n security.capability -v 0x{value} {}. Better for good: AmbientCapabilities= in the service's unit, which survives upgrades",
        to.display(), from.display(), to.display()
    )]
    Capabilities {
        /// The committed binary.
        from: PathBuf,
        /// The new version's.
        to: PathBuf,
        /// The capabilities as the kernel stores them, in hexadecimal.
        value: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The host's lock stayed taken.
    #[error("another process of this host has held {} for too long; nothing was changed. Try again", .0.display())]
    Busy(PathBuf),
    /// A file or folder could not be used.
    #[error(transparent)]
    Sys(#[from] SysError),
}
