//! A repository of release metadata as a source of releases.

pub(super) mod carried;
mod place;
mod releases;
mod remote;

use std::fs::File;
use std::io::Seek;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::Progress;
use super::error::FetchError;
use super::folder::lost;
use super::http::{Get, Http};
use super::listing::{Asset, Listing, Origin};
use super::mirror::Mirror;
use super::reach::{HostName, Reach, UrlRefusal, shown};
use super::relay::{Reliance, say_skipped, take_turn};
use super::settings::HttpSettings;
use super::source::{Freshness, Place, empty_before, whole_after};
use crate::sys::{Loose, PrivateDir};
use crate::tuf::metadata::{AnyMetadata, TargetFile};
use crate::tuf::{Limits, Rules, SetAside, Standing, UpdateError, Updater};
use crate::types::{ByteLimit, Product, ReleaseTerms, Target, Version};
use carried::open_store;
use remote::{Remote, Sharing};

pub use place::{TargetsPlace, TargetsPlaceError};

/// Where github.com sends those who download what a release has.
const GITHUB_HOSTS: [&str; 2] = ["objects.githubusercontent.com", "release-assets.githubusercontent.com"];

/// A repository after The Update Framework, and the places of its files.
///
/// # What is remembered
/// The node's own trusted copy of the metadata lies in the folder `trust` among its data: never shared,
/// never rolled back, the floor below which nothing falls. What siblings keep is verified like what comes
/// from a server; where it does not hold, the server is asked, and it is used for as long as a
/// [`super::StaticListing`] would be.
///
/// # What a mirror can do
/// It is asked only where the place before it fails, or what that says is not trusted, and then for
/// everything: no answer is put together from several places. What it says is verified in the same way.
#[derive(Debug)]
pub struct TufSource {
    /// The metadata's own place, and its mirrors.
    metadata: Vec<Mirror>,
    targets: Vec<TargetsPlace>,
    root: &'static [u8],
    product: Product,
    target: Target,
    http: Http,
    /// The folder of what this node trusts.
    trust: PathBuf,
    sharing: Option<Sharing>,
    reliance: Reliance,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    consistent: bool,
    standing: Option<Standing>,
}

/// Whose releases, and what this node trusts.
#[derive(Clone, Debug)]
pub struct TufClient {
    /// The product.
    pub product: Product,
    /// The exact target triple.
    pub target: Target,
    /// The root that came with the program.
    pub root: &'static [u8],
    /// The folder of what this node trusts; made where it is missing.
    pub trust: PathBuf,
}

impl TufSource {
    /// A source with its metadata at the first of these places, or else at the next; files are had from the
    /// first of `targets` that has them. `shared` is the folder in which the nodes of a host share metadata.
    /// Opens nothing yet.
    #[must_use]
    pub fn new(
        metadata: Vec<Mirror>,
        targets: Vec<TargetsPlace>,
        client: TufClient,
        settings: &HttpSettings,
        shared: Option<PrivateDir>,
    ) -> Self {
        let mut settings = settings.clone();
        let is_github = |place: &TargetsPlace| place.own().is_some_and(|url| url.host_str() == Some("github.com"));
        if targets.iter().any(is_github) {
            settings.asset_hosts.extend(GITHUB_HOSTS.iter().filter_map(|host| host.parse::<HostName>().ok()));
        }
        let TufClient { product, target, root, trust } = client;
        let sharing = metadata.first().and_then(|own| Some(Sharing::new(shared?, own)));
        Self {
            metadata,
            targets,
            root,
            product,
            target,
            http: Http::new(&settings),
            trust,
            sharing,
            reliance: Reliance::default(),
            memory: Mutex::default(),
        }
    }

    /// As [`super::StaticListing::last_whole`].
    #[must_use]
    pub fn last_whole(&self) -> Option<Timestamp> {
        self.reliance.last_whole()
    }

    pub(super) fn remember_whole(&self, at: Timestamp) {
        self.reliance.remember_whole(Some(at));
    }

    /// How long what this node trusts is valid. `None`: it trusts nothing yet, or that cannot be read.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let mut memory = self.memory();
        if memory.standing.is_none() {
            memory.standing =
                PrivateDir::open_existing(&self.trust, Loose::RefuseWritable).ok().and_then(|dir| Standing::read(&dir));
        }
        memory.standing.clone()
    }

    /// What the metadata that this node trusts already demands of those who go to a release. Nobody is asked,
    /// and whether it has expired does not matter: a demand is no offer.
    #[must_use]
    pub fn known_terms(&self, version: &Version) -> Option<ReleaseTerms> {
        let dir = PrivateDir::open_existing(&self.trust, Loose::RefuseWritable).ok()?;
        let limit = Limits::default().targets;
        let bytes = dir.read("targets.json", limit).ok()?;
        // Verified before it was stored, in a folder of this node's alone.
        let AnyMetadata::Targets(targets) = AnyMetadata::from_bytes(&bytes, limit).ok()? else { return None };
        let listing = releases::listing(&targets.signed, &self.product, &self.target, Origin::Whole);
        listing.releases.into_iter().find(|release| release.version == *version).map(|release| release.terms)
    }

    /// The releases on offer, as the metadata describes them. `now` judges all expiries.
    pub async fn releases(&self, freshness: Freshness, now: Timestamp) -> Result<Listing, FetchError> {
        let settings = self.http.settings();
        let whole = freshness == Freshness::Unconditional || self.reliance.whole_is_due(settings, now);
        let sharing = self.sharing.as_ref().filter(|_| !whole);
        // One node of a host asks, the others read what it was told.
        let turn = match sharing {
            Some(sharing) => take_turn(&sharing.turn(), settings).await,
            None => None,
        };
        let outcome = self.refresh(sharing, now).await;
        drop(turn);
        self.memory().standing = None;
        let listing = outcome.map_err(|error| self.dated(error))?;
        if listing.origin == Origin::Whole {
            self.reliance.remember_whole(Some(now));
        }
        say_skipped(&self.reliance, &listing);
        Ok(listing)
    }

    /// Until when what is trusted counts, where nothing newer could be had.
    fn dated(&self, error: FetchError) -> FetchError {
        if error.is_verification() || error.is_ours() {
            return error;
        }
        let standing = self.standing();
        match standing.as_ref().and_then(Standing::first_to_expire) {
            Some(role) => FetchError::Frozen { source: error.into(), role: role.role.clone(), until: role.expires },
            None => error,
        }
    }

    async fn refresh(&self, sharing: Option<&Sharing>, now: Timestamp) -> Result<Listing, FetchError> {
        let mut failed: Option<FetchError> = None;
        for (index, base) in self.metadata.iter().enumerate() {
            let outcome = match self.refresh_at(index, base, sharing, now).await {
                // What a sibling keeps must not stand between this node and the server.
                Err((error, true)) if error.is_metadata() => {
                    tracing::warn!(event = "metadata_shared_unusable", "{error}; asking the server itself");
                    self.refresh_at(index, base, None, now).await
                }
                outcome => outcome,
            };
            match outcome {
                Ok(listing) => return Ok(listing),
                Err((error, _)) if error.is_ours() => return Err(error),
                Err((error, _)) => {
                    if index + 1 < self.metadata.len() {
                        tracing::warn!(event = "metadata_place_failed", place = %base, "{error}; asking the next place");
                    }
                    // What was tampered with matters more than what was away.
                    if failed.as_ref().is_none_or(|failed| error.is_metadata() && !failed.is_metadata()) {
                        failed = Some(error);
                    }
                }
            }
        }
        Err(failed.expect("there is at least one place"))
    }

    /// One update in the order of the specification. An error says whether anything came from a sibling.
    async fn refresh_at(
        &self,
        index: usize,
        base: &Mirror,
        sharing: Option<&Sharing>,
        now: Timestamp,
    ) -> Result<Listing, (FetchError, bool)> {
        let store = open_store(&self.trust).await.map_err(|error| (error, false))?;
        let remote = Remote {
            http: &self.http,
            base,
            is_last: index + 1 == self.metadata.len(),
            shared: sharing.filter(|_| index == 0),
            now,
            origin: if index == 0 { Origin::Whole } else { Origin::Mirror },
            relied: false,
            received: Vec::new(),
        };
        let mut updater = Updater::new(remote, store, self.root.to_vec(), Rules::own());
        let outcome = updater.refresh(now).await.map(|refreshed| {
            let consistent = refreshed.set().root().consistent_snapshot == Some(true);
            (releases::listing(refreshed.targets(), &self.product, &self.target, Origin::Whole), consistent)
        });
        say_set_aside(updater.take_set_aside());
        let Remote { origin, relied, received, .. } = updater.into_repository();
        let (listing, consistent) = outcome.map_err(|error| (explained(base.to_string(), error), relied))?;
        self.memory().consistent = consistent;
        if let Some(sharing) = self.sharing.as_ref().filter(|_| index == 0) {
            sharing.store(received).await.map_err(|error| (error, false))?;
        }
        Ok(Listing { origin, ..listing })
    }

    /// Where this file can be had, in the order of the settings.
    #[must_use]
    pub fn places(&self, asset: &Asset) -> Vec<Place> {
        let consistent = self.memory().consistent;
        let address = |place: &TargetsPlace| place.address(asset.described.as_deref()?, consistent);
        let with = self.targets.iter().enumerate();
        let mut places: Vec<Place> = with
            .filter_map(|(index, place)| Some(Place { index, shown: shown(&address(place)?), is_last: false }))
            .collect();
        match places.last_mut() {
            Some(last) => last.is_last = true,
            None => places.push(Place::only(asset.shown())),
        }
        places
    }

    /// Fetches one asset at this place: exactly as long as the metadata says, and with the digests that it
    /// says, or not at all.
    pub(super) async fn fetch_asset(
        &self,
        place: &Place,
        asset: &Asset,
        into: &mut File,
        cap: ByteLimit,
        progress: &mut Progress<'_>,
    ) -> Result<u64, FetchError> {
        empty_before(asset, into, cap)?;
        let refused = || FetchError::Address { url: asset.shown(), refusal: UrlRefusal::NotAnAddress };
        let consistent = self.memory().consistent;
        let described = asset.described.as_ref().ok_or_else(refused)?;
        let at = self.targets.get(place.index).ok_or_else(refused)?;
        let (url, own) = (at.address(described, consistent).ok_or_else(refused)?, at.own().ok_or_else(refused)?);
        let settings = self.http.settings();
        let reach = Reach::new(own, settings.asset_hosts.clone(), settings.plain_http_hosts.clone());
        let cap = cap.min(ByteLimit::bytes(described.length.max(1)));
        let get = Get { is_last: place.is_last, ..Get::new(&url, &reach, cap, settings.asset_timeout) };
        let received = self.http.download_as(get, into, progress).await?;
        let received = whole_after(asset, into, received)?;
        hold_to(described, into, shown(&url)).await?;
        Ok(received)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Plain values: a panic elsewhere leaves nothing half-done in them.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for TufSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.metadata[0].fmt(f)
    }
}

fn say_set_aside(set_aside: Vec<SetAside>) {
    for SetAside { file, reason } in set_aside {
        tracing::warn!(event = "trust_set_aside", file, %reason, "what this node remembered there is not used");
    }
}

/// Why an update from there ended, with the address of the file.
fn explained(url: String, error: UpdateError<FetchError>) -> FetchError {
    match error {
        UpdateError::Metadata(source) => FetchError::Metadata { url, source: Box::new(source) },
        UpdateError::Absent { file } => FetchError::NoMetadata { url: format!("{url}{file}") },
        UpdateError::TooLong { file, limit } => FetchError::TooLong { url: format!("{url}{file}"), limit },
        UpdateError::Download { source, .. } => source,
        UpdateError::Storage(error) => FetchError::Trust(error),
        UpdateError::Target { source, .. } => FetchError::NotDescribed { url, source },
        UpdateError::Write(source) => FetchError::Write { url, source },
    }
}

/// Holds what was received against its description; what differs is not kept. The file is at its start afterwards.
pub(super) async fn hold_to(described: &TargetFile, into: &mut File, url: String) -> Result<(), FetchError> {
    let write = |source| FetchError::Write { url: url.clone(), source };
    let (described, mut copy) = (described.clone(), into.try_clone().map_err(write)?);
    let verified = lost(spawn_blocking(move || Ok(described.verify(&mut copy)))).await?.map_err(write)?;
    into.rewind().map_err(write)?;
    if let Err(source) = verified {
        into.set_len(0).map_err(write)?;
        return Err(FetchError::NotDescribed { url, source });
    }
    Ok(())
}
