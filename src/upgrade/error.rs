use crate::archive::ArchiveError;
use crate::crypto::SignatureLength;
use crate::fetch::{AssetError, FetchError, SourceError};
use crate::install::InstallError;
use crate::ledger::LedgerError;
use crate::rollout::Refusal;
use crate::state::StateError;
use crate::sys::SysError;
use crate::types::{ReleaseId, StateEpochs, Version};

use super::probe::ProbeError;

/// Why an upgrade did not come about. The running version is untouched in every case.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// There is no source to ask.
    #[error(
        "no release source is configured, so nothing was looked for; set `source.listing` to the URL of a releases.json, \
         or to the folder that holds it, or `source.github` to a repository; or carry a bundle here and name it with \
         `upgrade --from`"
    )]
    NoSource,
    /// What is configured is no source.
    #[error("{0}; nothing was looked for, and what runs is untouched. Correct it, and restart the node")]
    Source(SourceError),
    /// The source could not be asked, or its answer could not be used.
    #[error("nothing new could be fetched: {0}. What runs is untouched; a running node tries again at its next look")]
    Fetch(#[from] FetchError),
    /// A trial cannot be begun again: its archive is gone.
    #[error(
        "cannot begin the trial of {version} again: its archive is not in the cache any more, and no source offers it. Offer it again, or name its bundle with `upgrade --from`"
    )]
    NoLongerOffered {
        /// The release.
        version: Version,
    },
    /// The release has nothing for this target.
    #[error("cannot use release {version}: {source}. What runs is untouched")]
    Asset {
        /// The release.
        version: Version,
        /// Why.
        source: AssetError,
    },
    /// Policy stands against it.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The signature file is none.
    #[error(
        "cannot install {id}: {source}. Either the download was tampered with, or the release was not published whole; \
         what runs is untouched"
    )]
    SignatureFile {
        /// The release.
        id: Box<ReleaseId>,
        /// What is wrong with it.
        source: SignatureLength,
    },
    /// The archive did not verify, or does not hold what it must.
    #[error("cannot install {id}: {source}. What runs is untouched")]
    Archive {
        /// The release.
        id: Box<ReleaseId>,
        /// Why.
        source: ArchiveError,
    },
    /// The candidate did not survive its probe.
    #[error("cannot install {id}: {source}. It was not tried, and what runs is untouched; `history` keeps the reason")]
    Probe {
        /// The release.
        id: Box<ReleaseId>,
        /// Why.
        source: ProbeError,
    },
    /// A sibling is trying a version, and an operator asked for one here.
    #[error(
        "node {by} of this host tries a version just now, and only one at a time may; ask again when its verdict is in: see `status --node {by}`"
    )]
    SiblingTries {
        /// The sibling.
        by: crate::types::NodeName,
        /// What was asked for.
        version: Version,
    },
    /// It cannot open the job's state: that is too old for it.
    #[error(
        "cannot install {id}: the job's state here is of epoch {found}, and that release {epochs}. Go by a release in \
         between that reads epoch {found} and writes {} or more. It was not tried, and what runs is untouched",
        epochs.reads_from
    )]
    StateTooOld {
        /// The release.
        id: Box<ReleaseId>,
        /// The epoch that is there.
        found: u32,
        /// What the release understands.
        epochs: StateEpochs,
    },
    /// It cannot open the job's state: a newer version has migrated that, and what was before is gone.
    #[error(
        "cannot go to {version}: the job's state here is of epoch {found}, that version {epochs}, and no state is kept here \
         that it could open. What runs is untouched; go to a version that reads epoch {found}"
    )]
    StateGone {
        /// The version.
        version: Version,
        /// The epoch that is there.
        found: u32,
        /// What the version understands.
        epochs: StateEpochs,
    },
    /// The same, and nobody has asked for a version whose state is an older one.
    #[error(
        "does not go to {version} by itself: the job's state here is of epoch {found}, and that version {epochs}, so that \
         what was written since would be set aside. `upgrade --version {version}` does that where a state is kept that it \
         can open; a newer release that reads epoch {found} needs nobody"
    )]
    StateTooNew {
        /// The version.
        version: Version,
        /// The epoch that is there.
        found: u32,
        /// What the version understands.
        epochs: StateEpochs,
    },
    /// Too little room to save the job's state and to bring it back.
    #[error(
        "{} has {free} bytes free, and going to {version} migrates the job's state, which takes {needed} to be saved and \
         brought back; nothing was stopped or tried, and what runs is untouched. Make room there, and ask again",
        folder.display()
    )]
    StateSpace {
        /// The version.
        version: Version,
        /// The node's folder.
        folder: std::path::PathBuf,
        /// What is needed, in bytes.
        needed: u64,
        /// What there is, in bytes.
        free: u64,
    },
    /// The epoch of the job's state cannot be found out.
    #[error("{0}; nothing was tried, and what runs is untouched")]
    State(#[from] StateError),
    /// This install cannot upgrade itself; the node only tells of releases.
    #[error("{version} is available, but {reason}")]
    Unsupported {
        /// What there is.
        version: Version,
        /// Why it is not taken.
        reason: String,
    },
    /// The launcher could not begin the trial.
    #[error("the trial of {version} could not begin: {reason}. What runs is untouched; see `status`, and try again")]
    Launcher {
        /// The version.
        version: Version,
        /// Why.
        reason: String,
    },
    /// There is no version to go back to.
    #[error(
        "this node keeps no version {} to go back to; `status` shows which one it keeps, and \
         `upgrade --version X --allow-downgrade` fetches another",
        version.as_ref().map_or("before this one".to_owned(), ToString::to_string)
    )]
    NothingToGoBackTo {
        /// The one that was asked for.
        version: Option<Version>,
    },
    /// This install cannot upgrade itself, or its folder cannot be used.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The node has no history now, and so no vetoes.
    #[error(
        "{reason}. The node serves without its history meanwhile, and upgrades to nothing; it tries to open it again by itself"
    )]
    NoLedger {
        /// Why it could not be opened.
        reason: String,
    },
    /// A file or folder could not be used.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// Too little room for the archive and the version.
    #[error(
        "{} has {free} bytes free, and the download needs {needed}; nothing was downloaded. \
         Make room there (`cache prune`, where the cache is on the same file system), and ask again",
        folder.display()
    )]
    NoSpace {
        /// Where.
        folder: std::path::PathBuf,
        /// What is needed, in bytes.
        needed: u64,
        /// What there is, in bytes.
        free: u64,
    },
    /// A task of this process ended early.
    #[error("the upgrade was cut short: {0}. What runs is untouched; try again, and look into the log")]
    CutShort(#[from] tokio::task::JoinError),
}

impl UpgradeError {
    /// A stable word for metrics, logs and JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoSource => "no-source",
            Self::Source(_) => "source",
            Self::Fetch(error) => error.kind(),
            Self::NoLongerOffered { .. } => "no-longer-offered",
            Self::Asset { .. } => "asset",
            Self::Refused(_) => "refused",
            Self::SignatureFile { .. } => "signature",
            Self::Archive { source: ArchiveError::NotSigned { .. }, .. } => "signature",
            Self::Archive { .. } => "archive",
            Self::Probe { .. } => "probe",
            Self::Launcher { .. } => "launcher",
            Self::SiblingTries { .. } => "busy",
            Self::StateTooOld { .. } | Self::StateGone { .. } | Self::StateTooNew { .. } | Self::State(_) => "state",
            Self::Unsupported { .. } => "unsupported",
            Self::NothingToGoBackTo { .. } => "nothing-to-go-back-to",
            Self::Install(InstallError::Unsupported { .. } | InstallError::NotUtf8(_)) => "unsupported",
            Self::Install(InstallError::Replaced(_)) => "replaced",
            Self::Install(_) => "install",
            Self::Ledger(_) | Self::NoLedger { .. } => "ledger",
            Self::Sys(_) | Self::NoSpace { .. } | Self::StateSpace { .. } => "storage",
            Self::CutShort(_) => "cut-short",
        }
    }

    /// Whether the release itself is at fault, so that trying it again would end the same way.
    #[must_use]
    pub fn blames_release(&self) -> bool {
        match self {
            Self::Probe { source, .. } => !source.blames_host() && !source.was_killed(),
            Self::Archive { source: ArchiveError::Content { .. }, .. } => true,
            Self::StateTooOld { .. } | Self::StateTooNew { .. } => true,
            _ => false,
        }
    }

    /// Whether the same work may go better later, without anybody's doing.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Fetch(_) | Self::Launcher { .. } | Self::SiblingTries { .. } => true,
            Self::Ledger(_) | Self::NoLedger { .. } | Self::Sys(_) => true,
            Self::State(error) => error.is_storage(),
            Self::Install(error) => matches!(error, InstallError::Busy(_)),
            Self::Archive { .. } | Self::Probe { .. } => self.is_storage(),
            _ => false,
        }
    }

    /// Whether something that claimed to be a release did not verify.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        match self {
            Self::SignatureFile { .. } => true,
            Self::Fetch(error) => error.is_verification(),
            Self::Probe { source, .. } => !source.blames_host() && !source.was_killed(),
            Self::Archive { source, .. } => {
                matches!(source, ArchiveError::NotSigned { .. } | ArchiveError::Content { .. })
            }
            _ => false,
        }
    }

    /// Whether the place is at fault from which the files were had, so that another one may do better.
    #[must_use]
    pub(super) fn blames_place(&self) -> bool {
        match self {
            Self::Fetch(error) => !error.is_ours(),
            Self::SignatureFile { .. } | Self::Archive { source: ArchiveError::NotSigned { .. }, .. } => true,
            _ => false,
        }
    }

    /// Whether a whole download turned out not to be what was signed, and the next one would, too. A
    /// wrong length or a page in its place passes by itself, and costs little.
    #[must_use]
    pub(super) fn spoils_download(&self) -> bool {
        self.blames_place() && self.is_verification()
    }

    /// How long the source asks to be left alone, if it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Fetch(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether the disk or a permission is at fault.
    #[must_use]
    pub fn is_storage(&self) -> bool {
        match self {
            Self::Archive { .. } | Self::Probe { .. } => !self.is_verification(),
            Self::Install(error) => !matches!(
                error,
                InstallError::Unsupported { .. }
                    | InstallError::NotUtf8(_)
                    | InstallError::Replaced(_)
                    | InstallError::Busy(_)
            ),
            Self::Ledger(_) | Self::NoLedger { .. } | Self::Sys(_) => true,
            Self::NoSpace { .. } | Self::StateSpace { .. } => true,
            Self::State(error) => error.is_storage(),
            Self::Fetch(error) => matches!(error.kind(), "write" | "trust"),
            _ => false,
        }
    }
}
