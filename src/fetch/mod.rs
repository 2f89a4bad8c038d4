//! What comes from outside: release listings and release assets, over HTTP or from a folder, and files that
//! neighbours have already.
//!
//! Nothing that this room returns is trusted: a listing only proposes, and an asset is bytes until
//! its signature has been verified. What the room guarantees, against a hostile server, mirror or
//! network position, and against whoever can write to the shared folder:
//! - every answer ends: head, body, silence, total time, redirects and attempts are all bounded,
//!   and a body is judged while it streams, never after it filled the disk;
//! - no request leaves for a place that the settings do not name: only http and https, never from
//!   https down to http, plain http to loopback only, and only the listing's own host and the
//!   configured asset hosts, at every hop;
//! - a download that breaks off goes on only behind bytes of the very same content;
//! - a failed download leaves an empty file, and a listing is shared with siblings only after it
//!   was parsed;
//! - a neighbour that lies, stalls or does not end costs a bounded time, and is left out from then on;
//! - nothing is sent that identifies anybody: no cookie, no credentials in an address, and a
//!   [`Token`] only to the API that it is for, never where that redirects to;
//! - a server that asks to be left alone is left alone;
//! - an asset is found by its exact name or not at all, and no name from outside becomes a path;
//! - the shared copy of a listing can be stale or hostile without lasting effect: see
//!   [`StaticListing`] for the exact bound.

mod asset;
mod backoff;
mod body;
mod bundle;
mod cause;
mod configured;
mod error;
mod folder;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod github;
mod health;
mod http;
mod link;
mod listing;
mod location;
mod mirror;
mod neighbours;
mod pace;
mod quiet;
mod reach;
mod relay;
mod resume;
mod settings;
mod shared;
mod source;
mod static_listing;
mod tar_bundle;
mod token;
mod tuf;

pub use asset::{AssetError, Chosen, OfferedPatch};
pub use backoff::backoff;
pub use bundle::Bundle;
pub use cause::Cause;
pub use configured::{Local, SourceError};
pub use error::{AuthoritiesError, FetchError};
pub use github::{GITHUB_API, GitHubReleases, Repository, RepositoryError};
pub use health::ask_health;
pub use http::Http;
pub use listing::{Asset, Listing, ListingLimits, Origin, Release, SkipReason, Skipped};
pub use location::{Location, LocationError};
pub use mirror::{Mirror, MirrorError};
pub use neighbours::{NeighbourError, Neighbours, Reply, UNDERWAY};
pub use reach::{HostName, HostNameError, Reach, UrlRefusal};
pub use settings::HttpSettings;
pub use source::{Freshness, Place, ReleaseSource};
pub use static_listing::StaticListing;
pub use tar_bundle::BundleError;
pub use token::{Token, TokenError};
pub use tuf::{TargetsPlace, TargetsPlaceError, TufClient, TufSource};

/// Receives the bytes so far, and the length that was announced, if any.
pub type Progress<'a> = dyn FnMut(u64, Option<u64>) + Send + 'a;
