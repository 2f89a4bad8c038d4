use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use reqwest::header::ETAG;
use url::Url;

use super::Progress;
use super::body::Body;
use super::error::FetchError;
use super::folder::ReleaseFolder;
use super::http::{Answer, Get, Http};
use super::listing::{Asset, Listing, Origin};
use super::location::Location;
use super::mirror::Mirror;
use super::reach::{HostName, Reach, UrlRefusal, shown};
use super::relay::{Ask, Relay, Way, parse};
use super::settings::HttpSettings;
use super::shared::{Kept, Shared, entity_tag};
use super::source::{Freshness, Place, empty_before, whole_after};
use crate::sys::PrivateDir;
use crate::types::ByteLimit;

/// A static release listing on a web server or in a folder.
///
/// # What a shared listing can do
/// Whoever can write to the shared folder can plant a listing there, date it to this moment again
/// and again, and give it the server's own entity tag, so that the server confirms it for ever. It
/// cannot make a node run anything (signatures), nor connect anywhere new ([`Reach`]); it can hide
/// releases. It does so at most for `unconditional_every` (a day): after that time since this
/// process last received the whole listing from the server, or since its first request, the listing
/// is fetched whole, whatever the shared copy says. That time is kept in this process alone. A
/// restart begins it anew, unless the caller keeps [`Self::last_whole`] in a place of its own, as a
/// node does, and hands it back to [`Self::with_last_whole`]; a time in the future makes the next fetch whole.
///
/// # What a mirror can do
/// It is asked only when the listing's own server fails, and then as long as that lasts. It can hide
/// releases like any server, and waste one download: what does not verify is had from the next
/// place. Its entity tags are never kept: they would be taken for the listing's own.
#[derive(Debug)]
pub struct StaticListing {
    location: Location,
    mirrors: Vec<Mirror>,
    http: Http,
    relay: Relay,
    // Which place had the listing last: the one to ask for files first.
    served_by: AtomicUsize,
}

impl StaticListing {
    /// A source at this location. `shared` is the folder in which the nodes of a host share listings;
    /// a folder of releases is read anew each time. Opens nothing yet.
    #[must_use]
    pub fn new(location: Location, settings: &HttpSettings, shared: Option<PrivateDir>) -> Self {
        let shared = match &location {
            Location::Web(url) => shared.map(|dir| Shared::new(dir, url.as_str(), settings.listing_limit)),
            Location::Folder(_) => None,
        };
        let (http, relay) = (Http::new(settings), Relay::new(shared));
        Self { location, mirrors: Vec::new(), http, relay, served_by: AtomicUsize::new(0) }
    }

    /// Adds mirrors, to be tried in this order. A folder has none.
    #[must_use]
    pub fn with_mirrors(self, mirrors: Vec<Mirror>) -> Self {
        let Location::Web(own) = &self.location else { return self };
        let mut settings = self.http.settings().clone();
        let hosts = mirrors.iter().map(Mirror::url).chain([own]).filter_map(HostName::of);
        settings.asset_hosts.extend(hosts);
        Self { http: Http::new(&settings), mirrors, ..self }
    }

    /// Remembers when an earlier process last received the whole listing.
    #[must_use]
    pub fn with_last_whole(self, at: Option<Timestamp>) -> Self {
        self.relay.remember_whole(at);
        self
    }

    pub(super) fn remember_whole(&self, at: Timestamp) {
        self.relay.remember_whole(Some(at));
    }

    /// When the whole listing was last received from the server itself.
    #[must_use]
    pub fn last_whole(&self) -> Option<Timestamp> {
        self.relay.last_whole()
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The releases on offer. `now` is the time of the caller's decision.
    pub async fn releases(&self, freshness: Freshness, now: Timestamp) -> Result<Listing, FetchError> {
        let settings = self.http.settings();
        let listing = match &self.location {
            Location::Folder(path) => {
                let bytes = ReleaseFolder::new(path).listing(settings.listing_limit).await?;
                parse(&bytes, || self.location.to_string(), settings)?
            }
            Location::Web(own) => match self.relay.begin(settings, freshness, now).await? {
                Way::Here(listing) => listing,
                Way::Ask(Ask { stale, turn }) => {
                    let listing = self.ask(own, stale, now).await?;
                    drop(turn);
                    listing
                }
            },
        };
        self.relay.say_skipped(&listing);
        Ok(listing)
    }

    /// Asks the listing's own server, and then each mirror, for the whole: the first answer counts.
    async fn ask(&self, own: &Url, stale: Option<Kept>, now: Timestamp) -> Result<Listing, FetchError> {
        let mut outcome = self.fetch(0, own, own, stale, now).await;
        for (index, mirror) in self.mirrors.iter().enumerate() {
            let Err(error) = &outcome else { break };
            if error.is_ours() {
                break;
            }
            tracing::warn!(event = "listing_mirror_asked", mirror = %mirror, "{error}; asking a mirror for the listing");
            let Some(url) = mirror.of(own, own) else { continue };
            match self.fetch(index + 1, own, &url, None, now).await {
                Ok(listing) => outcome = Ok(listing),
                // The first error is the one that matters: its server should have answered.
                Err(error) => tracing::warn!(event = "listing_mirror_failed", mirror = %mirror, "{error}"),
            }
        }
        outcome
    }

    async fn fetch(
        &self,
        place: usize,
        own: &Url,
        url: &Url,
        stale: Option<Kept>,
        now: Timestamp,
    ) -> Result<Listing, FetchError> {
        let settings = self.http.settings();
        let reach = self.reach(place, own);
        let get = Get {
            if_none_match: stale.as_ref().and_then(|kept| kept.etag.as_ref()),
            is_last: place == self.mirrors.len(),
            ..Get::new(url, &reach, settings.listing_limit, settings.listing_timeout)
        };
        let mut body = Body::Memory(Vec::new());
        let answer = self.http.get(&get, &mut body, &mut |_, _| {}).await?;
        let (kept, origin) = match (answer, body, stale) {
            (Answer::NotModified, _, Some(stale)) => (Kept { fetched_at: now, ..stale }, Origin::Confirmed),
            (Answer::Whole { head, .. }, Body::Memory(body), _) if place == 0 => {
                let etag = head.get(ETAG).and_then(|etag| entity_tag(etag.as_bytes()));
                (Kept { fetched_at: now, etag, name: None, body }, Origin::Whole)
            }
            (Answer::Whole { .. }, Body::Memory(body), _) => {
                (Kept { fetched_at: now, etag: None, name: None, body }, Origin::Mirror)
            }
            // Nothing was asked that this could answer.
            _ => return Err(FetchError::Status { url: shown(url), status: 304, retry_after: None }),
        };
        let listing = parse(&kept.body, || shown(url), settings)?;
        self.relay.finish(kept, origin).await?;
        self.served_by.store(place, Ordering::Relaxed);
        Ok(Listing { origin, ..listing })
    }

    /// Where this file can be had, in the order in which to try: the place that had the listing
    /// first, then the listing's own server, then the mirrors.
    #[must_use]
    pub fn places(&self, asset: &Asset) -> Vec<Place> {
        let own = match &self.location {
            Location::Folder(path) => return vec![Place::only(path.display().to_string())],
            Location::Web(own) => own,
        };
        let Ok(url) = own.join(&asset.address) else { return vec![Place::only(self.location.to_string())] };
        let mut places = vec![Place { index: 0, shown: shown(&url), is_last: false }];
        for (index, mirror) in self.mirrors.iter().enumerate() {
            if let Some(url) = mirror.of(own, &url) {
                places.push(Place { index: index + 1, shown: shown(&url), is_last: false });
            }
        }
        let first = self.served_by.load(Ordering::Relaxed);
        places.sort_by_key(|place| place.index != first);
        if let Some(last) = places.last_mut() {
            last.is_last = true;
        }
        places
    }

    /// Fetches one asset into `into`, from the first place that has it.
    pub async fn fetch_asset(
        &self,
        asset: &Asset,
        into: &mut File,
        cap: ByteLimit,
        progress: &mut Progress<'_>,
    ) -> Result<u64, FetchError> {
        let mut first = None;
        for place in self.places(asset) {
            match self.fetch_asset_at(&place, asset, into, cap, progress).await {
                Ok(length) => return Ok(length),
                Err(error) if error.is_ours() => return Err(error),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.expect("there is at least one place"))
    }

    /// Fetches one asset of this source, at this place, into `into`, at most `cap` bytes, and returns
    /// its length. The file is overwritten; it is at its start afterwards, and empty after an error.
    pub async fn fetch_asset_at(
        &self,
        place: &Place,
        asset: &Asset,
        into: &mut File,
        cap: ByteLimit,
        progress: &mut Progress<'_>,
    ) -> Result<u64, FetchError> {
        empty_before(asset, into, cap)?;
        let received = match &self.location {
            Location::Folder(path) => ReleaseFolder::new(path).copy(&asset.address, into, cap, progress).await?,
            Location::Web(own) => {
                let refused = || FetchError::Address { url: asset.shown(), refusal: UrlRefusal::NotAnAddress };
                let url = own.join(&asset.address).map_err(|_| refused())?;
                let mirrored = place.index.checked_sub(1).and_then(|index| self.mirrors.get(index)?.of(own, &url));
                // What lies outside the tree has one place only.
                let (place_index, url) = mirrored.map_or((0, url), |mirrored| (place.index, mirrored));
                let reach = self.reach(place_index, own);
                let within = self.http.settings().asset_timeout;
                let get = Get { is_last: place.is_last, ..Get::new(&url, &reach, cap, within) };
                self.http.download_as(get, into, progress).await?
            }
        };
        whole_after(asset, into, received)
    }

    fn reach(&self, place: usize, own: &Url) -> Reach {
        let settings = self.http.settings();
        let base = place.checked_sub(1).and_then(|index| self.mirrors.get(index)).map_or(own, Mirror::url);
        Reach::new(base.clone(), settings.asset_hosts.clone(), settings.plain_http_hosts.clone())
    }
}
