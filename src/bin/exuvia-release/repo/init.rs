use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::repo::{self, Desk, RepoError, Settled, Span, open_place};
use exuvia::publish::say;
use exuvia::tuf::metadata::RoleType;
use exuvia::types::Product;
use jiff::Timestamp;

use super::common::{At, By, public_keys, report};

/// Make a repository: who signs for each role, how many of them must, and for how long it is valid.
///
/// Takes public keys, as `exuvia-keygen new` makes them. Each root key holder then signs the draft of the
/// root with `repo sign`, on a copy of the folder that is carried to them if need be. As soon as enough have
/// signed, it is published. With `--key`, those signatures are made at once.
#[derive(Args)]
#[command(after_long_help = "EXAMPLES\n  \
    Three engineers, two of whom must sign for a new root, and one for a release:\n    \
    exuvia-release repo init --to repo --product exuvia \\\n        \
    --root keys/alice.pem --root keys/bob.pem --root keys/carol.pem --threshold root=2 \\\n        \
    --targets keys/alice.pem --targets keys/bob.pem \\\n        \
    --timestamp keys/online.pem --valid timestamp=2d\n    \
    exuvia-release repo sign --to repo --key keys/alice.key")]
pub(super) struct Init {
    #[command(flatten)]
    at: At,
    /// The product whose releases it holds.
    #[arg(long, value_name = "NAME")]
    product: Product,
    /// A public key that signs for root. Keep its private half offline.
    #[arg(long, value_name = "FILE", required = true)]
    root: Vec<PathBuf>,
    /// A public key that signs for targets, and so for every release.
    #[arg(long, value_name = "FILE", required = true)]
    targets: Vec<PathBuf>,
    /// A public key that signs for timestamp.
    #[arg(long, value_name = "FILE", required = true)]
    timestamp: Vec<PathBuf>,
    /// A public key that signs for snapshot [default: those of timestamp].
    #[arg(long, value_name = "FILE")]
    snapshot: Vec<PathBuf>,
    /// How many keys must sign for a role, as in root=2 [default: 1; for root more than half].
    #[arg(long, value_name = "ROLE=N", value_parser = threshold)]
    threshold: Vec<(RoleType, u64)>,
    /// For how long an edition is valid, as in timestamp=2d [default: root=365d, targets=182d, snapshot=14d,
    /// timestamp=3d].
    #[arg(long, value_name = "ROLE=TIME", value_parser = valid)]
    valid: Vec<(RoleType, u64)>,
    #[command(flatten)]
    by: By,
}

fn role(text: &str) -> Result<(RoleType, &str), String> {
    let (name, value) = text.split_once('=').ok_or("write ROLE=VALUE")?;
    let known = RoleType::ALL.into_iter().find(|kind| kind.as_str() == name);
    Ok((known.ok_or("the roles are root, targets, snapshot and timestamp")?, value))
}

fn threshold(text: &str) -> Result<(RoleType, u64), String> {
    let (role, value) = role(text)?;
    Ok((role, value.parse().map_err(|_| "write a number, as in root=2")?))
}

fn valid(text: &str) -> Result<(RoleType, u64), String> {
    let (role, value) = role(text)?;
    let Span(time) = value.parse().map_err(|error: repo::SpanError| format!("{value:?} {error}"))?;
    if time.as_secs() < 60 {
        return Err("less than a minute is too short".to_owned());
    }
    Ok((role, time.as_secs()))
}

impl Init {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let outcome = self.make();
        let is_done = outcome.as_ref().is_ok_and(|settled| !settled.published.is_empty());
        let code = report(outcome, &self.at, json);
        if is_done && !json {
            let root = format!("{}/public/metadata/1.root.json", self.at.place.trim_end_matches('/'));
            say(&format!("The root of trust for builds is {root}: copy it to root.json beside their pinned keys."));
        }
        code
    }

    fn make(&self) -> Result<Settled, RepoError> {
        let snapshot = if self.snapshot.is_empty() { &self.timestamp } else { &self.snapshot };
        let keys = BTreeMap::from([
            (RoleType::Root, public_keys(&self.root)?),
            (RoleType::Targets, public_keys(&self.targets)?),
            (RoleType::Snapshot, public_keys(snapshot)?),
            (RoleType::Timestamp, public_keys(&self.timestamp)?),
        ]);
        let engineers = self.by.read()?;
        let online = keys[&RoleType::Timestamp].iter().chain(&keys[&RoleType::Snapshot]);
        for named in online {
            if keys[&RoleType::Root].iter().any(|root| root.key.keyid() == named.key.keyid()) {
                eprintln!(
                    "warning: {} signs for root and is online as well; use another key for one of them",
                    named.name
                );
            }
        }
        let init = repo::Init {
            product: self.product.clone(),
            keys,
            thresholds: self.threshold.iter().copied().collect(),
            valid: self.valid.iter().copied().collect(),
        };
        Ok(Desk::init(|| open_place(&self.at.place, true), &init, &engineers, Timestamp::now())?.1)
    }
}
