use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::snapshot_args::SnapshotArgs;
use crate::types::{NodeName, Sha256Digest, Target, Version};

/// A node that upgrades itself to releases that its pinned keys signed.
#[derive(Debug, Parser)]
#[command(after_long_help = "EXAMPLES\n  \
        Run a node that follows a release listing:\n    \
        exuvia --set source.listing=https://releases.example/releases.json run\n  \
        See whether there is something newer, for a script (exit code 100: yes):\n    \
        exuvia upgrade check\n  \
        Upgrade now, and watch:\n    \
        exuvia upgrade\n  \
        Find out why a release does not come:\n    \
        exuvia why 1.5.0\n  \
        Go back, and stay there until `unpin`:\n    \
        exuvia rollback\n\n\
        EXIT CODES\n  \
        0 done, or nothing to do   1 unexpected   2 usage   3 this install cannot upgrade itself\n  \
        4 verification failed   5 refused by policy (pin, pause, downgrade, veto)   6 source or network\n  \
        7 rolled back   8 busy, or no verdict: try again later   9 storage (space, permission)   100 `upgrade check`: an update is available\n  \
        `doctor`: 0 nothing stands against running and upgrading   2 configuration   3 runs, cannot upgrade itself   9 cannot run")]
pub(super) struct Cli {
    /// Read this configuration file instead of the system's
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Which node of this host [default: the one that the configuration names, else "default"]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) node: Option<NodeName>,
    /// Override a setting, such as trial.start=30s; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(super) set: Vec<(String, String)>,
    /// Print JSON instead of words, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE, such as poll.interval=10m")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the node: this is what the service manager starts
    Run,
    /// Go to a newer version, or find out whether there is one
    Upgrade(Upgrade),
    /// What the node runs and does
    Status,
    /// What the node tried, and what became of it
    History(History),
    /// Every gate before a release: what it looks at, and when it changes next
    Why(Why),
    /// Try a version again that failed on this node, from the next look on
    Unveto(Unveto),
    /// Go back to the version that the node ran before, and stay there until `unpin`
    Rollback(Rollback),
    /// Allow one version only, for all nodes that share this binary
    Pin(Pin),
    /// End a pin: follow new releases again
    Unpin,
    /// Start no upgrade until `resume`, or for a while; for all nodes that share this binary
    Pause(Pause),
    /// End a pause, so that upgrades start again
    Resume,
    /// Check whether a key that this program pins signed a release archive
    Verify(Verify),
    /// The shared cache of signed archives
    Cache(CacheArgs),
    /// Copies of the state that this node's job keeps: take, check, put back
    Snapshot(SnapshotArgs),
    /// Whether anything stands against running and upgrading here, and the command that mends it
    Doctor,
    /// A completion script for a shell, to standard output
    Completions(Completions),
    /// The manual page in roff, to standard output
    Man,
    /// For the service manager, as `.exuvia/rescue recover`: before each start, puts the version before back
    /// when a new one does not come up
    #[command(hide = true)]
    Recover(Recover),
    #[command(hide = true)]
    Worker,
    #[command(hide = true)]
    SelfDescribe,
    #[command(hide = true)]
    Rehearse,
    #[command(hide = true)]
    AskHealth(AskHealth),
    #[command(hide = true)]
    KeepState,
    #[command(hide = true)]
    RestoreState(RestoreState),
}

#[derive(Debug, Args)]
pub(super) struct RestoreState {
    /// The snapshot
    pub(super) snapshot: String,
    /// Its digest
    pub(super) digest: Sha256Digest,
    /// The name under which the state that is there is set aside
    pub(super) aside: String,
}

#[derive(Debug, Args)]
pub(super) struct AskHealth {
    /// The address
    pub(super) url: url::Url,
    /// How long it may take, in milliseconds
    pub(super) within_ms: u64,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(super) struct Upgrade {
    #[command(subcommand)]
    pub(super) verb: Option<UpgradeVerb>,
    /// Go to this version, whatever channel and rollout say
    #[arg(long, value_name = "VERSION")]
    pub(super) version: Option<Version>,
    /// Take releases from this bundle, a folder or a tar file of one, instead of the configured source
    #[arg(long, value_name = "BUNDLE")]
    pub(super) from: Option<PathBuf>,
    /// Judge the release metadata in the bundle as it was at this time (RFC 3339) instead of now: for hosts that
    /// bundles reach late. A bundle without metadata is refused then
    #[arg(long, value_name = "TIME", requires = "from", value_parser = past)]
    pub(super) valid_at: Option<jiff::Timestamp>,
    /// Go there also when it is older; the node is pinned to it then
    #[arg(long)]
    pub(super) allow_downgrade: bool,
    /// Try a version again that failed on this node
    #[arg(long, requires = "version")]
    pub(super) lift_veto: bool,
    /// Only say what would be done; nothing is downloaded
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Return when the trial has begun, without waiting for the verdict
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Where no node runs: replace the binary at once. That gives up the trial: what does not serve is found
    /// out by the next start, and put back only by a service manager that runs the rescue before each start
    #[arg(long, conflicts_with_all = ["no_wait", "dry_run"])]
    pub(super) commit_untried: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum UpgradeVerb {
    /// Exit with 100 when there is an update, with 0 when there is none
    Check,
}

#[derive(Debug, Args)]
pub(super) struct Why {
    /// The version in question [default: what the node would go to by itself]
    #[arg(value_name = "VERSION")]
    pub(super) version: Option<Version>,
}

#[derive(Debug, Args)]
pub(super) struct Unveto {
    /// The version; `history` shows which ones are vetoed
    #[arg(value_name = "VERSION")]
    pub(super) version: Version,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// Only if this is the version that the node keeps to go back to; see `status`
    #[arg(long, value_name = "VERSION")]
    pub(super) to: Option<Version>,
    /// Return when the trial has begun, without waiting for the verdict
    #[arg(long)]
    pub(super) no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// How many attempts, newest first
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(super) limit: u32,
    /// Everything about one attempt, by its number
    #[arg(value_name = "ATTEMPT", value_parser = attempt)]
    pub(super) attempt: Option<crate::ledger::AttemptId>,
}

#[derive(Debug, Args)]
pub(super) struct Pin {
    /// The version to stay on, or to go to
    pub(super) version: Version,
}

#[derive(Debug, Args)]
pub(super) struct Pause {
    /// End by itself at this time (RFC 3339, such as 2027-01-31T06:00:00Z)
    #[arg(long, value_name = "TIME", conflicts_with = "span", value_parser = time)]
    pub(super) until: Option<jiff::Timestamp>,
    /// End by itself after this time (such as 2h, or 3d)
    #[arg(long = "for", value_name = "SPAN", value_parser = span, allow_hyphen_values = true)]
    pub(super) span: Option<jiff::SignedDuration>,
}

fn time(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| "is not a time such as 2027-01-31T06:00:00Z".to_owned())
}

fn past(text: &str) -> Result<jiff::Timestamp, String> {
    let time = time(text)?;
    if time <= jiff::Timestamp::now() { Ok(time) } else { Err("must not lie in the future".to_owned()) }
}

fn attempt(text: &str) -> Result<crate::ledger::AttemptId, String> {
    text.parse().map_err(|_| "is not the number of an attempt; `history` lists them".to_owned())
}

/// A friendly span; a day is 24 hours.
pub(super) fn span(text: &str) -> Result<jiff::SignedDuration, String> {
    let wanted = |_| "must be a time such as 90m, 2h or 3d".to_owned();
    let span: jiff::Span = text.parse().map_err(wanted)?;
    let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(wanted)?;
    if span.is_positive() { Ok(span) } else { Err("must be longer than nothing".to_owned()) }
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The archive
    pub(super) file: PathBuf,
    /// Its signature [default: FILE.sig]
    #[arg(long, value_name = "FILE")]
    pub(super) sig: Option<PathBuf>,
    /// The version that it must be signed as
    #[arg(long, value_name = "VERSION")]
    pub(super) version: Version,
    /// The target that it must be signed for [default: this program's]
    #[arg(long, value_name = "TRIPLE")]
    pub(super) target: Option<Target>,
}

#[derive(Debug, Args)]
pub(super) struct Recover {
    /// The committed binary: the path that the service manager starts
    #[arg(long, value_name = "PATH")]
    pub(super) committed: PathBuf,
    /// After the service ended: note how, from what the service manager says of it in the environment
    #[arg(long, conflicts_with = "now")]
    pub(super) ended: bool,
    /// Put the version before back at once, however often the new one has failed
    #[arg(long)]
    pub(super) now: bool,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    pub(super) verb: CacheVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum CacheVerb {
    /// What is in it, as it describes itself: nothing is verified
    Ls,
    /// Verify all of it as an upgrade would; what does not hold is removed
    Verify,
    /// Remove what is too old, then the oldest until the rest is small enough
    Prune(Prune),
    /// Write a bundle for hosts that are not connected: archives, their signatures, and the release metadata that
    /// this node trusts. There, `upgrade --from` or `cache import` takes it
    Export(Export),
    /// Verify each release of a bundle and keep it in the cache. Nothing is upgraded by that
    Import(ImportBundle),
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The bundle, a tar file that must not be there yet
    #[arg(value_name = "BUNDLE")]
    pub(super) bundle: PathBuf,
    /// This version, and others that are named so [default: every one that the cache holds for this target]
    #[arg(long, value_name = "VERSION")]
    pub(super) version: Vec<Version>,
}

#[derive(Debug, Args)]
pub(super) struct ImportBundle {
    /// The bundle: a folder, or a tar file of one
    #[arg(value_name = "BUNDLE")]
    pub(super) bundle: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Prune {
    /// Remove what was stored longer ago, such as 30d [default: the setting `cache.max_age`]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(super) max_age: Option<jiff::SignedDuration>,
    /// Keep at most so much, such as 500MiB [default: the setting `cache.max_size`]
    #[arg(long, value_name = "SIZE")]
    pub(super) max_size: Option<crate::types::ByteLimit>,
    /// Only say what would be removed
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl Cli {
    /// The options before the verb, to start the same program again with the same ones.
    pub(super) fn options(&self) -> Vec<OsString> {
        let mut options = Vec::new();
        let mut push = |name: &str, value: OsString| options.extend([OsString::from(name), value]);
        if let Some(config) = &self.config {
            push("--config", config.into());
        }
        if let Some(node) = &self.node {
            push("--node", node.as_str().into());
        }
        for (key, value) in &self.set {
            push("--set", format!("{key}={value}").into());
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_exit_codes_and_every_verb_are_in_the_help() {
        let help = Cli::command().render_long_help().to_string();
        for word in ["EXIT CODES", "why", "unveto", "doctor", "completions", "man", "cache", "snapshot"] {
            assert!(help.contains(word), "{word}");
        }
    }

    #[test]
    fn the_same_options_start_the_same_program_again() {
        let line = ["exuvia", "--config", "/c.toml", "--node", "a", "--set", "poll.interval=1s", "run"];
        let cli = Cli::parse_from(line);
        let again: Vec<OsString> =
            [OsString::from("exuvia")].into_iter().chain(cli.options()).chain(["run".into()]).collect();
        assert_eq!(again, line.map(OsString::from));
    }
}
