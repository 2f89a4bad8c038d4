use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::types::{ByteLimit, Channel, NodeName, WeeklyWindow};

/// Everything that can be configured, checked. Each field is a key of [`super::KEYS`], described there.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `node`: the node's name on this host.
    pub node: NodeName,
    /// `listen`: where the node answers over HTTP; `None` when it is off.
    pub listen: Option<SocketAddr>,
    /// `job.*`
    pub job: Job,
    /// `state.*`
    pub state: State,
    /// `cache_dir`: shared by all nodes of one user.
    pub cache_dir: PathBuf,
    /// `data_dir`: this node's alone.
    pub data_dir: PathBuf,
    /// `source.*`
    pub source: Source,
    /// `poll.*`
    pub poll: Poll,
    /// `rollout.*`
    pub rollout: Rollout,
    /// `mirror.*`
    pub mirror: Mirror,
    /// `trial.*`
    pub trial: Trial,
    /// `health.*`
    pub health: HealthChecks,
    /// `cache.*`
    pub cache: CacheLimits,
    /// `limits.*`
    pub limits: Limits,
    /// `log.*`
    pub log: Log,
}

/// What the node's job is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Where the job listens, in the order in which it takes its listeners.
    pub listen: Vec<SocketAddr>,
}

impl Job {
    /// The most listeners that a launcher hands on for it.
    pub const MOST_LISTENERS: u8 = 8;
}

/// What becomes of the job's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Who may open what is saved before a migration, beside the node itself: public keys of age (`age1…`). Nobody:
    /// it is not sealed.
    pub recipients: Vec<String>,
}

/// Where releases come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The URL of `releases.json`, or the folder that holds it. `None`: nothing to poll.
    pub listing: Option<String>,
    /// A repository whose releases are followed instead, as `owner/name`.
    pub github: Option<String>,
    /// The base URL of release metadata that is followed instead.
    pub tuf: Option<String>,
    /// Where the files are that the metadata describes: base URLs, or URLs with `{version}` and `{name}`.
    pub targets: Vec<String>,
    /// The API that knows the repository.
    pub github_api: String,
    /// Base URLs of trees that are the same as the one around the listing, or as that of the metadata.
    pub mirrors: Vec<String>,
    /// A PEM file with authorities besides those of the platform.
    pub ca_file: Option<PathBuf>,
    /// The least that a download must bring in a second.
    pub minimum_rate: ByteLimit,
    /// Hosts besides the listing's own from which archives may be fetched: `host` or `host:port`.
    pub asset_hosts: Vec<String>,
    /// Hosts that may be spoken to without TLS: `host` or `host:port`. Loopback always may.
    pub allow_plain_http: Vec<String>,
}

/// When to look for releases.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// Time between two looks.
    pub interval: Duration,
    /// How far each interval is stretched or shrunk at random, as a fraction: 0 to 0.5.
    pub jitter: f64,
    /// For how long a listing fetched by a sibling is used.
    pub listing_ttl: Duration,
}

/// How a release reaches many nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Every node waits its own part of this time after it first saw a release. Zero: none waits.
    pub window: Duration,
    /// Whether pre-releases are gone to.
    pub channel: Channel,
    /// When an upgrade may begin by itself. None: at any time.
    pub windows: Vec<WeeklyWindow>,
    /// Whose clock on the wall [`Self::windows`] mean.
    pub time_zone: TimeZone,
}

/// What hosts give each other of what they keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where this node serves the cache of its host to others; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Who is asked before the origin: `host` or `host:port`.
    pub peers: Vec<String>,
    /// How many files are sent at a time: 1 to 200.
    pub transfers: u8,
    /// Bytes in a second that are sent, to all together.
    pub rate: ByteLimit,
}

/// How a candidate has to prove itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Until the candidate must have said that it is ready.
    pub start: Duration,
    /// For how long it must then stay healthy.
    pub probation: Duration,
    /// How long that may last in all while nobody can tell its health.
    pub longest_probation: Duration,
    /// The same as [`Self::probation`], where a sibling on this host has already proved the release.
    pub sibling_probation: Duration,
    /// For how long the candidate must prove itself as a launcher.
    pub handoff: Duration,
    /// How long a leaving worker may finish what it has begun.
    pub drain: Duration,
    /// The longest silence of a healthy worker.
    pub watchdog: Duration,
    /// How often a trial may be cut short from outside before it counts as failed: 1 to 10.
    pub tries: u8,
    /// How long a candidate may take to describe itself.
    pub probe: Duration,
    /// For how long to wait for, and believe, a sibling's verdict.
    pub sibling_verdict: Duration,
    /// How many nodes of a host may follow to a proven release at a time: 1 to 64.
    pub siblings_at_once: u8,
}

/// Who is asked how a candidate is, besides the candidate itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChecks {
    /// A command and its arguments, run without a shell. Empty: none.
    pub command: Vec<String>,
    /// An address of this host.
    pub url: Option<String>,
    /// Time between two rounds of checks.
    pub every: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Unhealthy answers in a row that a candidate is failed for: 1 to 10.
    pub failures: u8,
}

/// How much the cache may keep. It is tidied after an upgrade, and by `cache prune`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// All archives together.
    pub max_size: ByteLimit,
    /// The time since an archive was stored.
    pub max_age: Duration,
}

/// The most that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of a release archive.
    pub archive: ByteLimit,
    /// Length of the binary in it.
    pub binary: ByteLimit,
}

impl Default for Limits {
    fn default() -> Self {
        Self { archive: ByteLimit::mib(512), binary: ByteLimit::mib(1024) }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// Directives such as `info` or `warn,exuvia::fetch=debug`.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text for each event.
    Text,
    /// One JSON object for each event.
    Json,
}
