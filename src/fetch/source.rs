use std::fmt;
use std::fs::File;
use std::io::Seek;

use jiff::Timestamp;

use super::Progress;
use super::bundle::Bundle;
use super::error::FetchError;
use super::github::GitHubReleases;
use super::listing::{Asset, Listing};
use super::static_listing::StaticListing;
use super::tuf::TufSource;
use crate::tuf::Standing;
use crate::types::{ByteLimit, ReleaseTerms, Version};

/// How recent a listing must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// What a sibling fetched a short time ago will do; else the server is asked whether its listing
    /// changed. For polling.
    Shared,
    /// Whole, from the server itself. For an operator's demand.
    Unconditional,
}

/// Where releases come from. Whichever it is, what it offers is verified in the same way.
#[derive(Debug)]
pub enum ReleaseSource {
    /// A `releases.json`, on a web server with its mirrors, or in a folder.
    Listing(StaticListing),
    /// The releases of a repository, as GitHub's API tells them.
    GitHub(GitHubReleases),
    /// A repository of release metadata.
    Tuf(TufSource),
    /// What an operator carried here.
    Bundle(Bundle),
}

/// One of the places from which a file can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) index: usize,
    pub(super) shown: String,
    pub(super) is_last: bool,
}

impl Place {
    pub(super) fn only(shown: String) -> Self {
        Self { index: 0, shown, is_last: true }
    }

    /// Whether no other place is left to try.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.is_last
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for ReleaseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listing(source) => source.location().fmt(f),
            Self::GitHub(source) => source.fmt(f),
            Self::Tuf(source) => source.fmt(f),
            Self::Bundle(source) => source.fmt(f),
        }
    }
}

impl ReleaseSource {
    /// The releases on offer. `now` is the time of the caller's decision.
    pub async fn releases(&self, freshness: Freshness, now: Timestamp) -> Result<Listing, FetchError> {
        match self {
            Self::Listing(source) => source.releases(freshness, now).await,
            Self::GitHub(source) => source.releases(freshness, now).await,
            Self::Tuf(source) => source.releases(freshness, now).await,
            Self::Bundle(source) => source.releases(now).await,
        }
    }

    /// When the whole listing was last received from its server. `None`: never, or there is no server.
    #[must_use]
    pub fn last_whole(&self) -> Option<Timestamp> {
        match self {
            Self::Listing(source) => source.last_whole(),
            Self::GitHub(source) => source.last_whole(),
            Self::Tuf(source) => source.last_whole(),
            Self::Bundle(_) => None,
        }
    }

    /// How long the metadata is valid that this node trusts; `None` for sources without metadata, and before
    /// anything is trusted.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        match self {
            Self::Tuf(source) => source.standing(),
            Self::Listing(_) | Self::GitHub(_) | Self::Bundle(_) => None,
        }
    }

    /// What is known to be demanded of those who go to a release, without asking anybody: see
    /// [`TufSource::known_terms`].
    #[must_use]
    pub fn known_terms(&self, version: &Version) -> Option<ReleaseTerms> {
        match self {
            Self::Tuf(source) => source.known_terms(version),
            Self::Listing(_) | Self::GitHub(_) | Self::Bundle(_) => None,
        }
    }

    /// Goes on from what an earlier process remembered: it bounds what a shared copy can hide.
    pub fn remember_whole(&self, at: Timestamp) {
        match self {
            Self::Listing(source) => source.remember_whole(at),
            Self::GitHub(source) => source.remember_whole(at),
            Self::Tuf(source) => source.remember_whole(at),
            Self::Bundle(_) => {}
        }
    }

    /// Where this file can be had, in the order in which to try; at least one.
    #[must_use]
    pub fn places(&self, asset: &Asset) -> Vec<Place> {
        match self {
            Self::Listing(source) => source.places(asset),
            Self::Tuf(source) => source.places(asset),
            Self::GitHub(_) | Self::Bundle(_) => vec![Place::only(self.to_string())],
        }
    }

    /// Fetches one asset, at this place, into `into`, at most `cap` bytes, and returns its length.
    /// The file is overwritten; it is at its start afterwards, and empty after an error.
    pub async fn fetch_asset(
        &self,
        place: &Place,
        asset: &Asset,
        into: &mut File,
        cap: ByteLimit,
        progress: &mut Progress<'_>,
    ) -> Result<u64, FetchError> {
        match self {
            Self::Listing(source) => source.fetch_asset_at(place, asset, into, cap, progress).await,
            Self::GitHub(source) => source.fetch_asset(asset, into, cap, progress).await,
            Self::Tuf(source) => source.fetch_asset(place, asset, into, cap, progress).await,
            Self::Bundle(source) => source.fetch_asset(asset, into, cap, progress).await,
        }
    }
}

/// Empties the file, and refuses what is longer than allowed by its own statement.
pub(super) fn empty_before(asset: &Asset, into: &mut File, cap: ByteLimit) -> Result<(), FetchError> {
    empty(asset, into)?;
    if asset.size().is_some_and(|size| !cap.admits(size)) {
        return Err(FetchError::TooLong { url: asset.shown(), limit: cap });
    }
    Ok(())
}

/// Holds what was received against what was stated.
pub(super) fn whole_after(asset: &Asset, into: &mut File, received: u64) -> Result<u64, FetchError> {
    match asset.size() {
        Some(stated) if stated != received => {
            empty(asset, into)?;
            Err(FetchError::Length { url: asset.shown(), stated, received })
        }
        _ => Ok(received),
    }
}

fn empty(asset: &Asset, into: &mut File) -> Result<(), FetchError> {
    let write = |source| FetchError::Write { url: asset.shown(), source };
    into.set_len(0).and_then(|()| into.rewind()).map_err(write)
}
