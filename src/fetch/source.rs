use std::fs::File;
use std::io::Seek;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderValue;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use url::Url;

use super::Progress;
use super::body::Body;
use super::error::FetchError;
use super::folder::{ReleaseFolder, lost};
use super::http::{Answer, Get, Http};
use super::listing::{Asset, Listing, Origin, Skipped};
use super::location::Location;
use super::reach::{Reach, UrlRefusal, shown};
use super::settings::HttpSettings;
use super::shared::{Kept, Shared, Unusable, entity_tag};
use crate::sys::{Lock, PrivateDir};
use crate::types::ByteLimit;

/// How recent a listing must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// What a sibling fetched a short time ago will do; else the server is asked whether its listing
    /// changed. For polling.
    Shared,
    /// Whole, from the server itself. For an operator's demand.
    Unconditional,
}

/// A static release listing on a web server or in a folder.
///
/// # What a shared listing can do
/// Whoever can write to the shared folder can plant a listing there, date it to this moment again
/// and again, and give it the server's own entity tag, so that the server confirms it for ever. It
/// cannot make a node run anything (signatures), nor connect anywhere new ([`Reach`]); it can hide
/// releases. It does so at most for `unconditional_every` (a day): after that time since this
/// process last received the whole listing from the server, or since its first request, the listing
/// is fetched whole, whatever the shared copy says. That time is kept in this process alone. A
/// restart begins it anew, unless the caller keeps [`Self::last_whole`] in a place of its own and
/// hands it back to [`Self::with_last_whole`]; a time in the future makes the next fetch whole.
#[derive(Debug)]
pub struct StaticListing {
    location: Location,
    http: Http,
    shared: Option<Shared>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    last_whole: Option<Timestamp>,
    relying_since: Option<Timestamp>,
    said: Vec<Skipped>,
}

const TURN_POLL: Duration = Duration::from_millis(100);

impl StaticListing {
    /// A source at this location. `shared` is the folder in which the nodes of a host share listings;
    /// a folder of releases is read anew each time. Opens nothing yet.
    #[must_use]
    pub fn new(location: Location, settings: &HttpSettings, shared: Option<PrivateDir>) -> Self {
        let shared = match &location {
            Location::Web(url) => shared.map(|dir| Shared::new(dir, url.as_str(), settings.listing_limit)),
            Location::Folder(_) => None,
        };
        Self { location, http: Http::new(settings), shared, memory: Mutex::default() }
    }

    /// Remembers when an earlier process last received the whole listing.
    #[must_use]
    pub fn with_last_whole(self, at: Option<Timestamp>) -> Self {
        self.memory().last_whole = at;
        self
    }

    /// When the whole listing was last received from the server itself.
    #[must_use]
    pub fn last_whole(&self) -> Option<Timestamp> {
        self.memory().last_whole
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The releases on offer. `now` is the time of the caller's decision.
    pub async fn releases(&self, freshness: Freshness, now: Timestamp) -> Result<Listing, FetchError> {
        let listing = match &self.location {
            Location::Folder(path) => {
                let bytes = ReleaseFolder::new(path).listing(self.http.settings().listing_limit).await?;
                self.parse(&bytes)?
            }
            Location::Web(url) => self.web_releases(url, freshness, now).await?,
        };
        self.say_skipped(&listing);
        Ok(listing)
    }

    async fn web_releases(&self, url: &Url, freshness: Freshness, now: Timestamp) -> Result<Listing, FetchError> {
        let whole = freshness == Freshness::Unconditional || self.whole_is_due(now);
        let Some(shared) = self.shared.as_ref().filter(|_| !whole) else {
            return self.fetch(url, None, now).await;
        };
        let started = Instant::now();
        if let (Some(listing), _) = self.kept(shared, now).await? {
            return Ok(listing);
        }
        let _turn = self.turn(shared).await;
        // A sibling may have fetched it while this node waited.
        let waited = SignedDuration::try_from(started.elapsed()).unwrap_or_default();
        match self.kept(shared, now.saturating_add(waited).unwrap_or(now)).await? {
            (Some(listing), _) => Ok(listing),
            (None, stale) => self.fetch(url, stale, now).await,
        }
    }

    /// Fetches one asset of this source into `into`, at most `cap` bytes, and returns its length. The
    /// file is overwritten; it is at its start afterwards, and empty after an error.
    pub async fn fetch_asset(
        &self,
        asset: &Asset,
        into: &mut File,
        cap: ByteLimit,
        progress: &mut Progress<'_>,
    ) -> Result<u64, FetchError> {
        let empty = |into: &mut File| {
            let write = |source| FetchError::Write { url: asset.shown(), source };
            into.set_len(0).and_then(|()| into.rewind()).map_err(write)
        };
        empty(into)?;
        if asset.size().is_some_and(|size| !cap.admits(size)) {
            return Err(FetchError::TooLong { url: asset.shown(), limit: cap });
        }
        let received = match &self.location {
            Location::Folder(path) => ReleaseFolder::new(path).copy(&asset.address, into, cap, progress).await?,
            Location::Web(own) => {
                let url = own
                    .join(&asset.address)
                    .map_err(|_| FetchError::Address { url: asset.shown(), refusal: UrlRefusal::NotAnAddress })?;
                self.http.download(&url, &self.reach(own), into, cap, progress).await?
            }
        };
        match asset.size() {
            Some(stated) if stated != received => {
                empty(into)?;
                Err(FetchError::Length { url: asset.shown(), stated, received })
            }
            _ => Ok(received),
        }
    }

    fn reach(&self, own: &Url) -> Reach {
        let settings = self.http.settings();
        Reach::new(own.clone(), settings.asset_hosts.clone(), settings.plain_http_hosts.clone())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Plain values: a panic elsewhere leaves nothing half-done in them.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn whole_is_due(&self, now: Timestamp) -> bool {
        let every = self.http.settings().unconditional_every;
        let mut memory = self.memory();
        let first = *memory.relying_since.get_or_insert(now);
        let age = now.duration_since(memory.last_whole.unwrap_or(first));
        age.is_negative() || SignedDuration::try_from(every).is_ok_and(|every| age >= every)
    }

    /// The shared copy, parsed, when it is fresh; otherwise the stale copy, when there is one.
    async fn kept(&self, shared: &Shared, now: Timestamp) -> Result<(Option<Listing>, Option<Kept>), FetchError> {
        let Some(kept) = on_disk(shared, Shared::load).await? else { return Ok((None, None)) };
        let Ok(listing) = Listing::parse(&kept.body, &self.http.settings().listing_limits) else {
            on_disk(shared, |shared| shared.discard(&Unusable::Body)).await?;
            return Ok((None, None));
        };
        if kept.is_fresh(now, self.http.settings().listing_lifetime) {
            return Ok((Some(Listing { origin: Origin::Sibling, ..listing }), None));
        }
        Ok((None, Some(kept)))
    }

    /// Waits until no sibling is fetching, for a bounded time; then goes on without a turn.
    async fn turn(&self, shared: &Shared) -> Option<Lock> {
        let deadline = Instant::now() + self.http.settings().sibling_patience;
        loop {
            match shared.try_lock() {
                Ok(Some(lock)) => return Some(lock),
                Ok(None) if Instant::now() < deadline => sleep(TURN_POLL).await,
                Ok(None) => {
                    tracing::warn!(
                        event = "listing.turn_gave_up",
                        "another process has been fetching the release listing for too long; fetching it beside it"
                    );
                    return None;
                }
                Err(error) => {
                    tracing::warn!(
                        event = "listing.turn_failed",
                        "{error}; fetching the release listing without a turn"
                    );
                    return None;
                }
            }
        }
    }

    async fn fetch(&self, url: &Url, stale: Option<Kept>, now: Timestamp) -> Result<Listing, FetchError> {
        let settings = self.http.settings();
        let get = Get {
            url,
            reach: &self.reach(url),
            cap: settings.listing_limit,
            within: settings.listing_timeout,
            if_none_match: stale.as_ref().and_then(|kept| kept.etag.as_ref()),
        };
        let mut body = Body::Memory(Vec::new());
        let answer = self.http.get(&get, &mut body, &mut |_, _| {}).await?;
        let (kept, origin) = match (answer, body, stale) {
            (Answer::NotModified, _, Some(stale)) => (Kept { fetched_at: now, ..stale }, Origin::Confirmed),
            (Answer::Whole { etag, .. }, Body::Memory(body), _) => {
                let etag = etag.as_ref().and_then(|etag: &HeaderValue| entity_tag(etag.as_bytes()));
                (Kept { fetched_at: now, etag, body }, Origin::Whole)
            }
            // Nothing was asked that this could answer.
            _ => return Err(FetchError::Status { url: shown(url), status: 304, retry_after: None }),
        };
        let listing = self.parse(&kept.body)?;
        if origin == Origin::Whole {
            self.memory().last_whole = Some(now);
        }
        if let Some(shared) = &self.shared {
            on_disk(shared, move |shared| shared.store(&kept)).await?;
        }
        Ok(Listing { origin, ..listing })
    }

    fn parse(&self, bytes: &[u8]) -> Result<Listing, FetchError> {
        Listing::parse(bytes, &self.http.settings().listing_limits).map_err(|source| {
            let url = self.location.to_string();
            if bytes.trim_ascii_start().first() == Some(&b'<') {
                FetchError::WebPage { url }
            } else {
                FetchError::NotAListing { url, source }
            }
        })
    }

    /// Each left-out entry once, for as long as it stays in the listing.
    fn say_skipped(&self, listing: &Listing) {
        let mut memory = self.memory();
        for Skipped { tag, reason } in listing.skipped.iter().filter(|skipped| !memory.said.contains(skipped)) {
            tracing::info!(event = "listing.release_skipped", tag, "leaving out the release \"{tag}\": {reason}");
        }
        memory.said.clone_from(&listing.skipped);
    }
}

async fn on_disk<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, FetchError> {
    let shared = shared.clone();
    lost(spawn_blocking(move || Ok(work(&shared)))).await
}
