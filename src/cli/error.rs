use crate::cache::CacheError;
use crate::carry::{CarryError, LeftOut};
use crate::config::ConfigError;
use crate::console::{Exit, ToolError};
use crate::install::InstallError;
use crate::launcher::LauncherError;
use crate::ledger::LedgerError;
use crate::node::{AppError, Failure, FailureKind, WorkerError};
use crate::snapshot::SnapshotError;
use crate::sys::SysError;
use crate::types::{NodeIdError, NodeName, Version};
use crate::upgrade::UpgradeError;

/// What ends a program of a node.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error("the configuration is not usable: {0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Launcher(#[from] LauncherError),
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(
        "node {0} is running, and its state cannot be exchanged under it; nothing was changed. Stop the node first, and start it again afterwards"
    )]
    RestoreWhileRunning(NodeName),
    #[error("the id in the node's ledger {0}; nothing was changed. Restart the node, which looks its ledger over")]
    NodeId(NodeIdError),
    #[error(transparent)]
    Sys(#[from] SysError),
    #[error("{}", .0.message)]
    Node(Failure),
    #[error(
        "{0} did not prove itself and was rolled back ({1}). Still running {2}; see `history`",
        version,
        reason,
        running
    )]
    RolledBack { version: Version, reason: String, running: Version },
    #[error(
        "the trial of {version} ended without a verdict on it ({reason}). Still running {running}; \
         it is not vetoed: try again when what stood in the way has passed"
    )]
    NoVerdict { version: Version, reason: String, running: Version },
    #[error("the node did not finish within {waited_s} s; the upgrade goes on by itself: see `status` and `history`")]
    OutOfPatience { waited_s: u64 },
    #[error("cannot talk to the node: {0}. It was not changed; run this as the node's own user, and look into its log")]
    Talk(std::io::Error),
    #[error(
        "node {0} is running, and tries releases before it commits them; --commit-untried is for an install on which it does not run. \
         Leave the flag away, or stop the node first. Nothing was changed"
    )]
    NodeRuns(NodeName),
    #[error("the node broke off without an answer; what came of it is in `history`, and in its log")]
    BrokenOff,
    #[error("{file} does not verify: no key that this program pins signed it as {release}. Do not install it")]
    NotSigned { file: String, release: String },
    #[error("{0} cached archive(s) did not hold and were removed; they are downloaded again when they are needed")]
    CacheRejected(usize),
    #[error("this node has no veto on {0}, so nothing was lifted; `history` shows its vetoes")]
    NoSuchVeto(Version),
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    #[error("nothing was asked for; say one of: {0}. `--help` explains them")]
    NoVerb(String),
    #[error("no node {node} has run from this install, only {known}; choose one with --node, or `run` it first")]
    NoSuchNode { node: NodeName, known: String },
    #[error(transparent)]
    Carry(#[from] CarryError),
    #[error("{0} release(s) of the bundle were not taken into the cache; the reasons are above")]
    NotImported(usize),
    #[error("there is no attempt {0} in the history; `history` lists those that there are")]
    NoSuchAttempt(crate::ledger::AttemptId),
}

impl ToolError for CliError {
    fn exit(&self) -> Exit {
        match self {
            Self::App(_) | Self::Talk(_) | Self::BrokenOff | Self::OutOfPatience { .. } => Exit::Unexpected,
            Self::Config(_)
            | Self::NoSuchAttempt(_)
            | Self::NoSuchNode { .. }
            | Self::NoSuchVeto(_)
            | Self::NoVerb(_) => Exit::Usage,
            Self::Launcher(error) => match error {
                LauncherError::Running { .. } => Exit::Busy,
                LauncherError::Install(error) => of_install(error),
                LauncherError::Sys(_) => Exit::Storage,
                LauncherError::Listen { .. } | LauncherError::System(_) => Exit::Unexpected,
            },
            Self::Worker(error) => match error {
                WorkerError::Launcher(_) => Exit::Usage,
                WorkerError::Install(error) => of_install(error),
                WorkerError::Ledger(_) | WorkerError::Sys(_) => Exit::Storage,
                WorkerError::State(error) if error.is_storage() => Exit::Storage,
                WorkerError::App(_)
                | WorkerError::Io(_)
                | WorkerError::Job(_)
                | WorkerError::Protocol { .. }
                | WorkerError::State(_) => Exit::Unexpected,
            },
            Self::Install(error) => of_install(error),
            Self::Ledger(_) | Self::Cache(_) | Self::Sys(_) | Self::Output(_) => Exit::Storage,
            Self::Snapshot(error) => error.exit(),
            Self::NodeId(_) => Exit::Storage,
            Self::NodeRuns(_) | Self::RestoreWhileRunning(_) => Exit::Busy,
            Self::Node(failure) => of_kind(failure.kind),
            Self::RolledBack { .. } => Exit::RolledBack,
            Self::NoVerdict { .. } => Exit::Busy,
            Self::NotSigned { .. } | Self::CacheRejected(_) | Self::NotImported(_) => Exit::Verification,
            Self::Carry(error) => match error {
                CarryError::LeftOut { reason: LeftOut::Rejected(_), .. } => Exit::Verification,
                CarryError::Nothing | CarryError::LeftOut { .. } => Exit::Usage,
                CarryError::TrustBusy => Exit::Busy,
                CarryError::Bundle(_) => Exit::Source,
                CarryError::Cache(_) | CarryError::Storage(_) | CarryError::Write { .. } => Exit::Storage,
                CarryError::CutShort(_) => Exit::Unexpected,
            },
        }
    }
}

fn of_install(error: &InstallError) -> Exit {
    match error {
        InstallError::Unsupported { .. } | InstallError::NoFolder(_) | InstallError::NotUtf8(_) => Exit::Unsupported,
        InstallError::Replaced(_) => Exit::Policy,
        InstallError::Busy(_) => Exit::Busy,
        InstallError::Record { .. }
        | InstallError::Digest { .. }
        | InstallError::Capabilities { .. }
        | InstallError::Sys(_) => Exit::Storage,
    }
}

fn of_kind(kind: FailureKind) -> Exit {
    match kind {
        FailureKind::Verification => Exit::Verification,
        FailureKind::Policy => Exit::Policy,
        FailureKind::Source => Exit::Source,
        FailureKind::Storage => Exit::Storage,
        FailureKind::Busy => Exit::Busy,
        FailureKind::Unsupported => Exit::Unsupported,
        FailureKind::Usage => Exit::Usage,
        FailureKind::Unexpected => Exit::Unexpected,
    }
}

impl From<UpgradeError> for CliError {
    fn from(error: UpgradeError) -> Self {
        Self::Node(Failure::of(&error))
    }
}
