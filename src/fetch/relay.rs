use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::error::FetchError;
use super::folder::lost;
use super::listing::{Listing, Origin, Skipped};
use super::settings::HttpSettings;
use super::shared::{Kept, Shared, Unusable};
use super::source::Freshness;
use crate::sys::Lock;

const TURN_POLL: Duration = Duration::from_millis(100);

/// The way to a listing that the nodes of a host go together: one of them asks the server, the
/// others read what it was told. How long that is believed, see [`super::StaticListing`].
#[derive(Debug)]
pub(super) struct Relay {
    shared: Option<Shared>,
    reliance: Reliance,
}

/// How far this process relies on what siblings keep, and what it has said about listings.
#[derive(Debug, Default)]
pub(super) struct Reliance(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    last_whole: Option<Timestamp>,
    relying_since: Option<Timestamp>,
    said: Vec<Skipped>,
}

/// Where the listing is.
pub(super) enum Way {
    /// A sibling's copy will do.
    Here(Listing),
    /// The server has to be asked.
    Ask(Ask),
}

/// What to ask with, and the turn to do it.
pub(super) struct Ask {
    pub(super) stale: Option<Kept>,
    pub(super) turn: Option<Lock>,
}

impl Relay {
    pub(super) fn new(shared: Option<Shared>) -> Self {
        Self { shared, reliance: Reliance::default() }
    }

    pub(super) fn remember_whole(&self, at: Option<Timestamp>) {
        self.reliance.remember_whole(at);
    }

    pub(super) fn last_whole(&self) -> Option<Timestamp> {
        self.reliance.last_whole()
    }

    /// Looks whether a sibling has asked lately, and waits while one is asking.
    pub(super) async fn begin(
        &self,
        settings: &HttpSettings,
        freshness: Freshness,
        now: Timestamp,
    ) -> Result<Way, FetchError> {
        let whole = freshness == Freshness::Unconditional || self.reliance.whole_is_due(settings, now);
        let Some(shared) = self.shared.as_ref().filter(|_| !whole) else {
            return Ok(Way::Ask(Ask { stale: None, turn: None }));
        };
        let started = Instant::now();
        if let (Some(listing), _) = kept(shared, settings, now).await? {
            return Ok(Way::Here(listing));
        }
        let turn = take_turn(shared, settings).await;
        // A sibling may have fetched it while this node waited.
        let waited = SignedDuration::try_from(started.elapsed()).unwrap_or_default();
        Ok(match kept(shared, settings, now.saturating_add(waited).unwrap_or(now)).await? {
            (Some(listing), _) => Way::Here(listing),
            (None, stale) => Way::Ask(Ask { stale, turn }),
        })
    }

    /// Passes on to siblings what the server said. Only for bytes that were parsed already.
    pub(super) async fn finish(&self, kept: Kept, origin: Origin) -> Result<(), FetchError> {
        if origin == Origin::Whole {
            self.reliance.remember_whole(Some(kept.fetched_at));
        }
        if let Some(shared) = &self.shared {
            on_disk(shared, move |shared| shared.store(&kept)).await?;
        }
        Ok(())
    }

    pub(super) fn say_skipped(&self, listing: &Listing) {
        say_skipped(&self.reliance, listing);
    }
}

/// Says each left-out entry once, for as long as it stays in the listing.
pub(super) fn say_skipped(reliance: &Reliance, listing: &Listing) {
    let mut memory = reliance.memory();
    for Skipped { tag, reason } in listing.skipped.iter().filter(|skipped| !memory.said.contains(skipped)) {
        tracing::info!(event = "listing_release_skipped", tag, "leaving out the release \"{tag}\": {reason}");
    }
    memory.said.clone_from(&listing.skipped);
}

impl Reliance {
    pub(super) fn last_whole(&self) -> Option<Timestamp> {
        self.memory().last_whole
    }

    pub(super) fn remember_whole(&self, at: Option<Timestamp>) {
        self.memory().last_whole = at;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Plain values: a panic elsewhere leaves nothing half-done in them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn whole_is_due(&self, settings: &HttpSettings, now: Timestamp) -> bool {
        let every = settings.unconditional_every;
        let mut memory = self.memory();
        let first = *memory.relying_since.get_or_insert(now);
        let age = now.duration_since(memory.last_whole.unwrap_or(first));
        age.is_negative() || SignedDuration::try_from(every).is_ok_and(|every| age >= every)
    }
}

/// The shared copy, parsed, when it is fresh; otherwise the stale copy, when there is one.
async fn kept(
    shared: &Shared,
    settings: &HttpSettings,
    now: Timestamp,
) -> Result<(Option<Listing>, Option<Kept>), FetchError> {
    let Some(kept) = on_disk(shared, Shared::load).await? else { return Ok((None, None)) };
    let Ok(listing) = Listing::parse(&kept.body, &settings.listing_limits) else {
        on_disk(shared, |shared| shared.discard(&Unusable::Body)).await?;
        return Ok((None, None));
    };
    if kept.is_fresh(now, settings.listing_lifetime) {
        return Ok((Some(Listing { origin: Origin::Sibling, ..listing }), None));
    }
    Ok((None, Some(kept)))
}

/// Waits until no sibling is fetching, for a bounded time; then goes on without a turn.
pub(super) async fn take_turn(shared: &Shared, settings: &HttpSettings) -> Option<Lock> {
    let deadline = Instant::now() + settings.sibling_patience;
    loop {
        match shared.try_lock() {
            Ok(Some(lock)) => return Some(lock),
            Ok(None) if Instant::now() < deadline => sleep(TURN_POLL).await,
            Ok(None) => {
                tracing::warn!(
                    event = "listing_turn_gave_up",
                    "another process has been fetching the release listing for too long; fetching it beside it"
                );
                return None;
            }
            Err(error) => {
                tracing::warn!(event = "listing_turn_failed", "{error}; fetching the release listing without a turn");
                return None;
            }
        }
    }
}

/// Reads a listing, and tells a web page in its place from mere nonsense.
pub(super) fn parse(
    bytes: &[u8],
    url: impl FnOnce() -> String,
    settings: &HttpSettings,
) -> Result<Listing, FetchError> {
    Listing::parse(bytes, &settings.listing_limits).map_err(|source| not_a_listing(bytes, url(), source))
}

pub(super) fn not_a_listing(bytes: &[u8], url: String, source: serde_json::Error) -> FetchError {
    if bytes.trim_ascii_start().first() == Some(&b'<') {
        FetchError::WebPage { url }
    } else {
        FetchError::NotAListing { url, source }
    }
}

async fn on_disk<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, FetchError> {
    let shared = shared.clone();
    lost(spawn_blocking(move || Ok(work(&shared)))).await
}
