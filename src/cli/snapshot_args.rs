//! The words of `exuvia snapshot`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::args::span;
use crate::snapshot::{Recipient, SnapshotId};

#[derive(Debug, Args)]
pub(super) struct SnapshotArgs {
    #[command(subcommand)]
    pub(super) verb: SnapshotVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotVerb {
    /// Take one now, while the node runs or not
    Create(Create),
    /// Those that there are, as they describe themselves: nothing is verified
    Ls,
    /// What one says of itself: nothing is verified
    Inspect(Inspect),
    /// Check one: signature, node, lengths, digests
    Verify(Verify),
    /// Put the state back as it was; the present one is moved aside. The node must be stopped
    Restore(Restore),
    /// Check one, open its seal and unpack it into a new folder
    Open(Open),
    /// Remove those that are too many or too old. The newest stays always
    Prune(PruneSnapshots),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Seal it for this age recipient (age1…) and for the node itself; may be repeated
    #[arg(long, value_name = "AGE1…", value_parser = recipient)]
    pub(super) recipient: Vec<Recipient>,
}

fn recipient(text: &str) -> Result<Recipient, String> {
    text.parse().map_err(|_| "is not an age recipient (age1…), as `age-keygen` prints it".to_owned())
}

/// A snapshot of this node by its name, or any file.
#[derive(Clone, Debug)]
pub(super) enum Which {
    Id(SnapshotId),
    File(PathBuf),
}

impl FromStr for Which {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::File(text.into()), Self::Id))
    }
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Its name, or a file
    #[arg(value_name = "SNAPSHOT")]
    pub(super) which: Which,
}

#[derive(Debug, Args)]
pub(super) struct Trusting {
    /// Its name, or a file
    #[arg(value_name = "SNAPSHOT")]
    pub(super) which: Which,
    /// Believe these keys instead of the node's own: PEM texts, such as another node's trust/snapshot.pem
    #[arg(long, value_name = "FILE")]
    pub(super) trusted_keys: Option<PathBuf>,
    /// Take a snapshot of another node, too: one of the trusted keys must have signed it all the same
    #[arg(long)]
    pub(super) allow_other_node: bool,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) trusting: Trusting,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    pub(super) trusting: Trusting,
    /// Opens the seal beside the node's own identity: a file that `age-keygen` made; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(super) identity: Vec<PathBuf>,
    /// Put back a state of an older schema than the present one, too
    #[arg(long)]
    pub(super) allow_older_schema: bool,
}

#[derive(Debug, Args)]
pub(super) struct Open {
    #[command(flatten)]
    pub(super) trusting: Trusting,
    /// Opens the seal beside the node's own identity: a file that `age-keygen` made; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(super) identity: Vec<PathBuf>,
    /// The new folder (0700), which must not be there yet
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct PruneSnapshots {
    /// Keep so many of the newest at most
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) keep: usize,
    /// Remove what is older, such as 30d
    #[arg(long, value_name = "SPAN", default_value = "90d", value_parser = span)]
    pub(super) max_age: jiff::SignedDuration,
    /// Keep this one, whatever its age; may be repeated
    #[arg(long, value_name = "ID")]
    pub(super) named: Vec<SnapshotId>,
    /// Only say what would be removed
    #[arg(long)]
    pub(super) dry_run: bool,
}
