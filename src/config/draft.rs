use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::settings::{
    CacheLimits, HealthChecks, Job, Limits, Log, LogFormat, Mirror, Poll, Rollout, Settings, Source, State, Trial,
};
use crate::types::{ByteLimit, Channel};

/// Settings under construction: what depends on other things is still open.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) settings: Settings,
    pub(super) cache_dir: Option<PathBuf>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) listing_ttl: Option<Duration>,
}

impl Draft {
    /// Placeholders: each of them is set from the table, which a test shows.
    pub(super) fn unset() -> Self {
        Self {
            settings: Settings {
                node: "unset".parse().expect("a plain name"),
                listen: None,
                job: Job::default(),
                state: State::default(),
                cache_dir: PathBuf::new(),
                data_dir: PathBuf::new(),
                source: Source {
                    listing: None,
                    github: None,
                    tuf: None,
                    targets: Vec::new(),
                    github_api: String::new(),
                    mirrors: Vec::new(),
                    ca_file: None,
                    minimum_rate: ByteLimit::bytes(1),
                    asset_hosts: Vec::new(),
                    allow_plain_http: Vec::new(),
                },
                poll: Poll { interval: Duration::ZERO, jitter: 0.0, listing_ttl: Duration::ZERO },
                rollout: Rollout {
                    window: Duration::ZERO,
                    channel: Channel::Stable,
                    windows: Vec::new(),
                    time_zone: TimeZone::UTC,
                },
                cache: CacheLimits { max_size: ByteLimit::bytes(1), max_age: Duration::ZERO },
                mirror: Mirror { listen: None, peers: Vec::new(), transfers: 0, rate: ByteLimit::bytes(1) },
                trial: Trial {
                    start: Duration::ZERO,
                    probation: Duration::ZERO,
                    longest_probation: Duration::ZERO,
                    sibling_probation: Duration::ZERO,
                    handoff: Duration::ZERO,
                    drain: Duration::ZERO,
                    watchdog: Duration::ZERO,
                    tries: 0,
                    probe: Duration::ZERO,
                    sibling_verdict: Duration::ZERO,
                    siblings_at_once: 0,
                },
                health: HealthChecks {
                    command: Vec::new(),
                    url: None,
                    every: Duration::ZERO,
                    timeout: Duration::ZERO,
                    failures: 0,
                },
                limits: Limits { archive: ByteLimit::bytes(1), binary: ByteLimit::bytes(1) },
                log: Log { format: LogFormat::Text, filter: String::new() },
            },
            cache_dir: None,
            data_dir: None,
            listing_ttl: None,
        }
    }
}
