use std::path::PathBuf;

use super::place::PlaceError;
use crate::archive::ArchiveError;
use crate::console::{Exit, ToolError};
use crate::crypto::SignatureLength;
use crate::publish::key_file::KeyFileError;
use crate::sys::SysError;
use crate::tuf::metadata::{RoleType, SignerError, WriteError};
use crate::tuf::{FormatError, MetadataError};
use crate::types::{RolloutPolicyError, Version};

/// Why a repository was not changed, or cannot be. What readers see is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The place of the repository.
    #[error("{0}. What readers see is as it was, or whole and new")]
    Place(#[from] PlaceError),
    /// A file beside it.
    #[error("{0}. Nothing was changed")]
    Storage(#[from] SysError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Nothing is there.
    #[error("{0} holds no repository; make one with `exuvia-release repo init`")]
    NotARepository(String),
    /// Something is there already.
    #[error("{0} holds a repository already, and it was left as it is; see `exuvia-release repo status`")]
    AlreadyThere(String),
    /// Another run is at work.
    #[error("another run is changing {0}; nothing was changed. Try again when it is done")]
    Busy(String),
    /// The right to publish has passed to somebody else meanwhile.
    #[error("another run has taken over {0}, because this one took too long; nothing was published. Try again")]
    Overtaken(String),
    /// The right to remove files has passed to somebody else meanwhile.
    #[error(
        "another run has taken over {place}, because this one took too long; it had removed {removed} files that no \
         reader needs, and stopped. Try again"
    )]
    SweepOvertaken {
        /// The repository.
        place: String,
        /// How many were gone by then.
        removed: usize,
    },
    /// Metadata of roles that this tool does not read, which name files of their own.
    #[error(
        "{0} delegates to other roles, whose files cannot be told from those that nobody needs; nothing was removed. \
         Remove superseded files with the tool that made it"
    )]
    Delegates(String),
    /// What lies there does not hold together.
    #[error(
        "what is published in {place} does not verify: {source}. Nothing was changed. Either it was tampered with, or \
         a copy of it is not complete: put back what was published last"
    )]
    Published {
        /// The repository.
        place: String,
        /// Why not.
        source: MetadataError,
    },
    /// A file that the published metadata names is gone.
    #[error("{path} is missing, and published metadata names it; nothing was changed. Put it back")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file that cannot be read as metadata.
    #[error("{path} is not metadata: {source}. Nothing was changed; a draft can be given up with `repo discard`")]
    Format {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A root without what this tool writes into it.
    #[error("the root does not say whose product it is: another tool made it, and nothing was changed")]
    NoCharter,
    /// A draft that was made for an older state.
    #[error(
        "the draft of {role} is version {draft}, and version {published} is published: it was made for an older \
         state. Nothing was changed; give it up with `repo discard`, and make it again"
    )]
    Stale {
        /// The role.
        role: RoleType,
        /// The draft's version.
        draft: u64,
        /// The published one.
        published: u64,
    },
    /// A key that no role knows.
    #[error("{} is the key {keyid}, which no role of this repository knows; nothing was changed", path.display())]
    UnknownKey {
        /// The key file.
        path: PathBuf,
        /// Its id.
        keyid: String,
    },
    /// A key that has signed everything that it may sign.
    #[error("{} has signed the draft of {role} already; nothing was changed. See `repo status` for who is missing", path.display())]
    SignedAlready {
        /// The key file.
        path: PathBuf,
        /// The draft.
        role: RoleType,
    },
    /// No draft waits for that key.
    #[error("no draft waits for {}; nothing was changed. See `repo status`", .0.display())]
    NothingToSign(PathBuf),
    /// No draft at all.
    #[error("there is no draft of {0}; nothing was changed")]
    NoDraft(RoleType),
    /// More signatures than keys, or none.
    #[error("{threshold} of {keys} keys cannot sign for {role}: choose 1 to {keys}. Nothing was changed")]
    Threshold {
        /// The role.
        role: RoleType,
        /// How many should sign.
        threshold: u64,
        /// How many could.
        keys: usize,
    },
    /// A key to be taken away that the role does not have.
    #[error("{role} has no key {key:?}, or more than one that begins so; nothing was changed. See `repo status`")]
    NoSuchKey {
        /// The role.
        role: RoleType,
        /// What was asked for.
        key: String,
    },
    /// A metadata file of the next version that somebody else wrote.
    #[error(
        "{0} is there already with other content, so another run publishes to the same place; nothing that readers \
         see was changed. See `repo status`; if nothing names that file, remove it"
    )]
    Taken(String),
    /// No such release.
    #[error("version {0} is no release of this repository; nothing was changed. See `repo status`")]
    NoRelease(Version),
    /// The packed tree does not have it.
    #[error("{} holds no archive of {product} with its signature; nothing was changed. Pack it first", path.display())]
    NoArchive {
        /// The folder of the version.
        path: PathBuf,
        /// The product.
        product: String,
    },
    /// Two archives for one target.
    #[error("{0} is packed twice for the same target, as .tar.zst and .tar.gz; nothing was changed. Remove one")]
    TwoArchives(String),
    /// A signature file that is none.
    #[error("{path} is not a signature: {source}. Nothing was changed")]
    SignatureLength {
        /// The file.
        path: String,
        /// Its length.
        source: SignatureLength,
    },
    /// An archive that a node would refuse.
    #[error("nodes would refuse {path}: {source}. Nothing was changed")]
    Archive {
        /// The archive.
        path: String,
        /// Why.
        source: ArchiveError,
    },
    /// A version that was something else once.
    #[error(
        "{0} was published already with other content, and stays what it was: give the new content a new version. \
         Nothing was changed"
    )]
    PublishedOtherwise(String),
    /// Waves that nobody can follow.
    #[error("the rollout {0}; nothing was changed")]
    Rollout(#[from] RolloutPolicyError),
    /// A file that would not be read again.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// No signature could be made.
    #[error(transparent)]
    Sign(#[from] SignerError),
    /// There is no higher version.
    #[error("{0} has the highest version that there is; nothing was changed")]
    LastVersion(RoleType),
}

impl ToolError for RepoError {
    fn exit(&self) -> Exit {
        match self {
            Self::Place(error) => error.exit(),
            Self::Key(error) => error.exit(),
            Self::Storage(_) => Exit::Storage,
            Self::Busy(_) | Self::Overtaken(_) | Self::SweepOvertaken { .. } | Self::Taken(_) => Exit::Busy,
            Self::Published { .. } | Self::Missing { .. } | Self::Format { .. } => Exit::Verification,
            Self::NoCharter | Self::Delegates(_) => Exit::Verification,
            Self::SignatureLength { .. } | Self::Archive { .. } | Self::PublishedOtherwise(_) => Exit::Verification,
            Self::Write(_) | Self::Sign(_) | Self::LastVersion(_) => Exit::Unexpected,
            Self::NotARepository(_)
            | Self::AlreadyThere(_)
            | Self::Stale { .. }
            | Self::UnknownKey { .. }
            | Self::SignedAlready { .. }
            | Self::NothingToSign(_)
            | Self::NoDraft(_)
            | Self::Threshold { .. }
            | Self::NoSuchKey { .. }
            | Self::NoRelease(_)
            | Self::NoArchive { .. }
            | Self::TwoArchives(_)
            | Self::Rollout(_) => Exit::Usage,
        }
    }
}
