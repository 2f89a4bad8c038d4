use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use exuvia::publish::read_keyring;
use exuvia::publish::repo::{self, Edited, RepoError, Terms, Waves};
use exuvia::types::{Channel, RolloutPolicy, Version};
use jiff::Timestamp;

use super::common::{At, By, report_edit};

/// Add a release that `exuvia-release pack` made.
///
/// Every archive of that version and its signature become targets, after their signatures were verified
/// and they were extracted as a node would. What is said about a release can be changed later; the release
/// itself never is.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-release repo add-release 2.0.0 --to repo --from site --release-key pinned/2026-a.pem \\\n    \
    --minimum 1.4.0 --waves 1%@0h,10%@6h,100%@24h --key keys/me.key --key keys/online.key")]
pub(super) struct AddRelease {
    /// The version.
    version: Version,
    #[command(flatten)]
    at: At,
    /// The packed tree: the folder that holds a folder of that version.
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// A public key of those that nodes pin for archives. Repeat it for more than one; any of them suffices.
    #[arg(long, value_name = "FILE", required = true)]
    release_key: Vec<PathBuf>,
    /// Who goes there by itself: stable or beta.
    #[arg(long, value_name = "CHANNEL", default_value = "stable")]
    channel: Channel,
    /// Nodes below this version do not go there directly.
    #[arg(long, value_name = "VERSION")]
    minimum: Option<Version>,
    /// Nodes below this version have to run it before they go higher. May be repeated.
    #[arg(long, value_name = "VERSION")]
    barrier: Vec<Version>,
    /// The rollout: which share of the installs may go from when on, counted from the start.
    #[arg(long, value_name = "SHARE@TIME,…")]
    waves: Option<Waves>,
    /// When the rollout starts [default: now; without this and --waves, each node as it is set up].
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
    /// The address of the release notes, with https.
    #[arg(long, value_name = "URL", value_parser = https)]
    notes: Option<url::Url>,
    #[command(flatten)]
    by: By,
}

fn https(text: &str) -> Result<url::Url, String> {
    let url: url::Url = text.parse().map_err(|error: url::ParseError| error.to_string())?;
    if url.scheme() == "https" && url.has_host() { Ok(url) } else { Err("it must begin with https://".to_owned()) }
}

/// Now, in whole seconds, as metadata has them.
fn start_at(start: Option<Timestamp>) -> Timestamp {
    let start = start.unwrap_or_else(Timestamp::now);
    Timestamp::from_second(start.as_second()).unwrap_or(start)
}

impl AddRelease {
    pub(super) fn run(self, json: bool) -> ExitCode {
        report_edit(self.add(), &self.at, json)
    }

    fn add(&self) -> Result<Edited, RepoError> {
        let keys = read_keyring(&self.release_key)?;
        let engineers = self.by.read()?;
        let rollout = match (&self.waves, self.start) {
            (None, None) => None,
            (waves, start) => {
                let waves = waves.as_ref().map(|waves| waves.0.clone()).unwrap_or_default();
                Some(RolloutPolicy::new(start_at(start), waves)?)
            }
        };
        let terms = Terms {
            channel: self.channel,
            minimum: self.minimum.clone(),
            barriers: self.barrier.clone(),
            rollout,
            notes: self.notes.clone(),
        };
        self.at.open()?.add_release(&self.from, &self.version, &terms, &keys, &engineers)
    }
}

/// Move a release to another channel.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-release repo promote 1.5.0-rc.1 --to repo --channel stable --key keys/me.key --key keys/online.key")]
pub(super) struct Promote {
    /// The version.
    version: Version,
    #[command(flatten)]
    at: At,
    /// The channel: stable or beta.
    #[arg(long, value_name = "CHANNEL")]
    channel: Channel,
    #[command(flatten)]
    by: By,
}

impl Promote {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let edit = || {
            let engineers = self.by.read()?;
            self.at.open()?.promote(&self.version, self.channel, &engineers)
        };
        report_edit(edit(), &self.at, json)
    }
}

/// Start, halt or resume the rollout of a release.
///
/// Nodes hear of it with their next poll. Those that run the release already stay there.
#[derive(Args)]
#[command(after_long_help = "EXAMPLES\n  \
    exuvia-release repo rollout start 1.5.0 --to repo --waves 1%@0h,10%@6h,100%@24h --key keys/me.key \\\n    \
    --key keys/online.key\n  \
    exuvia-release repo rollout halt 1.5.0 --to repo --key keys/me.key --key keys/online.key")]
pub(super) struct Rollout {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Begin (anew), with these waves.
    Start {
        #[command(flatten)]
        of: Of,
        /// Which share of the installs may go from when on, counted from the start [default: all at once].
        #[arg(long, value_name = "SHARE@TIME,…")]
        waves: Option<Waves>,
        /// When it starts [default: now].
        #[arg(long, value_name = "TIME")]
        at_time: Option<Timestamp>,
    },
    /// Let no other node go there for now.
    Halt {
        #[command(flatten)]
        of: Of,
    },
    /// Go on where it was halted: the waves go by the time since the start.
    Resume {
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Args)]
struct Of {
    /// The version.
    version: Version,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    by: By,
}

impl Rollout {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let (of, rollout) = match self.what {
            What::Start { of, waves, at_time } => {
                (of, repo::Rollout::Start(start_at(at_time), waves.map(|waves| waves.0).unwrap_or_default()))
            }
            What::Halt { of } => (of, repo::Rollout::Halt),
            What::Resume { of } => (of, repo::Rollout::Resume),
        };
        let edit = || {
            let engineers = of.by.read()?;
            of.at.open()?.rollout(&of.version, &rollout, &engineers)
        };
        report_edit(edit(), &of.at, json)
    }
}

/// Withdraw releases: no node that has not taken them yet will.
///
/// They are no targets any more. Their files stay where they are, so that their versions are never used for
/// anything else; `add-release` offers the same archives again.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-release repo withdraw 1.5.0 --to repo --key keys/me.key --key keys/online.key")]
pub(super) struct Withdraw {
    /// The versions.
    #[arg(required = true, value_name = "VERSION")]
    versions: Vec<Version>,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    by: By,
}

impl Withdraw {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let edit = || {
            let engineers = self.by.read()?;
            self.at.open()?.withdraw(&self.versions, &engineers)
        };
        report_edit(edit(), &self.at, json)
    }
}
