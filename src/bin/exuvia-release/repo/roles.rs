use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::repo::Rotation;
use exuvia::tuf::metadata::RoleType;

use super::common::{At, By, RoleName, public_keys, report};

/// Publish what is complete, and new editions of what expires before long. For a timer.
///
/// Makes a snapshot and a timestamp of everything that has its signatures by now, and a new timestamp or
/// snapshot when less than half of its time is left. Needs the keys of these two roles alone. Where nothing
/// is to be done, nothing is written.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-release repo refresh --to repo --key keys/online.key      # hourly, by a timer")]
pub(super) struct Refresh {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    by: By,
}

impl Refresh {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let refresh = || {
            let engineers = self.by.read()?;
            self.at.open()?.refresh(&engineers)
        };
        report(refresh(), &self.at, json)
    }
}

/// Change who signs for a role.
///
/// Drafts the next root, which enough keys of the present root and enough of the next one must sign. It is
/// published together with everything that the new keys have to sign anew. Sign with the retiring key as
/// well, where you hold it still: then no reader gets an error in between.
#[derive(Args)]
#[command(after_long_help = "EXAMPLES\n  \
    A new key for the machine that publishes; the old one signs a last time:\n    \
    exuvia-release repo rotate --role timestamp --to repo --add keys/online2.pem --remove online \\\n        \
    --key keys/me.key --key keys/online2.key --key keys/online.key\n  \
    Bob leaves, dave comes, and two of three sign:\n    \
    exuvia-release repo rotate --role root --to repo --add keys/dave.pem --remove bob --threshold 2 \\\n        \
    --key keys/alice.key\n    \
    exuvia-release repo sign --to repo --key keys/carol.key")]
pub(super) struct Rotate {
    #[command(flatten)]
    at: At,
    /// The role.
    #[arg(long, value_enum)]
    role: RoleName,
    /// A public key that signs for it from now on. May be repeated.
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
    /// A key that does not any more: its name, or the beginning of its id. May be repeated.
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// How many keys must sign from now on [default: as before].
    #[arg(long, value_name = "N")]
    threshold: Option<u64>,
    #[command(flatten)]
    by: By,
}

impl Rotate {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let rotate = || {
            let engineers = self.by.read()?;
            let rotation =
                Rotation { add: public_keys(&self.add)?, remove: self.remove.clone(), threshold: self.threshold };
            self.at.open()?.rotate(self.role.into(), &rotation, &engineers)
        };
        report(rotate(), &self.at, json)
    }
}

/// Give the root or the targets more time: a next edition, otherwise unchanged.
///
/// `repo status` says when they expire. From then on no node upgrades by itself.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-release repo renew --role targets --to repo --key keys/me.key --key keys/online.key")]
pub(super) struct Renew {
    #[command(flatten)]
    at: At,
    /// The role: root or targets. The others are renewed by `repo refresh`.
    #[arg(long, value_enum)]
    role: RoleName,
    #[command(flatten)]
    by: By,
}

impl Renew {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let renew = || {
            let engineers = self.by.read()?;
            let mut desk = self.at.open()?;
            match RoleType::from(self.role) {
                RoleType::Root => desk.rotate(RoleType::Root, &Rotation::default(), &engineers),
                RoleType::Targets => desk.renew_targets(&engineers),
                RoleType::Snapshot | RoleType::Timestamp => desk.refresh(&engineers),
            }
        };
        report(renew(), &self.at, json)
    }
}
