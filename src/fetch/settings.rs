use std::path::PathBuf;
use std::time::Duration;

use super::listing::ListingLimits;
use super::reach::HostName;
use crate::types::ByteLimit;

/// Bounds and permissions for everything that goes over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a server may be silent: before its head, and between two pieces of a body.
    pub stall_timeout: Duration,
    /// The least that a body must bring, in bytes per second; zero for no such bound.
    pub minimum_rate: u64,
    /// The time over which [`Self::minimum_rate`] is measured; it slides along.
    pub rate_window: Duration,
    /// How long a listing may take, attempts and pauses included.
    pub listing_timeout: Duration,
    /// How long an asset may take, attempts and pauses included.
    pub asset_timeout: Duration,
    /// How often a request is tried, the first time included; zero means once.
    pub attempts: u32,
    /// The longest pause between attempts. A server that asks for a longer one ends the request,
    /// and its wish is in the error: see [`super::FetchError::retry_after`].
    pub longest_pause: Duration,
    /// The longest listing.
    pub listing_limit: ByteLimit,
    /// How much one listing may hold.
    pub listing_limits: ListingLimits,
    /// Hosts besides the listing's own from which assets may come, redirects included.
    pub asset_hosts: Vec<HostName>,
    /// Hosts that may be spoken to over plain http, besides loopback.
    pub plain_http_hosts: Vec<HostName>,
    /// A file with authorities, in PEM form, that vouch for servers besides those of the platform.
    pub ca_file: Option<PathBuf>,
    /// How long a listing that a sibling fetched serves this node too. A good value is the shortest
    /// interval at which a node polls: then the nodes of a host make one request per interval.
    pub listing_lifetime: Duration,
    /// How long to wait for a sibling that is fetching the listing just now.
    pub sibling_patience: Duration,
    /// The longest time that this process relies on shared copies and on `304 Not Modified` without
    /// asking the origin for the whole listing.
    pub unconditional_every: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            minimum_rate: 1024,
            rate_window: Duration::from_mins(1),
            listing_timeout: Duration::from_mins(1),
            asset_timeout: Duration::from_mins(30),
            attempts: 4,
            longest_pause: Duration::from_mins(1),
            listing_limit: ByteLimit::mib(8),
            listing_limits: ListingLimits::default(),
            asset_hosts: Vec::new(),
            plain_http_hosts: Vec::new(),
            ca_file: None,
            // One hour, less the fifth by which polling is jittered.
            listing_lifetime: Duration::from_mins(48),
            sibling_patience: Duration::from_secs(75),
            unconditional_every: Duration::from_hours(24),
        }
    }
}
