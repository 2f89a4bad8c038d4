//! From a release to a binary among the versions: cache, patch, neighbour or download, verify, extract, publish.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::engine::{CacheAnswer, Engine, Observer, PatchAnswer, Step};
use super::error::UpgradeError;
use super::neighbours::{self, Accept, Asked, Wanted};
use super::offer::Offer;
use super::patch;
use super::route::Route;
use super::space::require_space;
use crate::archive::{ArchiveError, StagedBinary, UntrustedArchive, VerifiedArchive};
use crate::cache::{DownloadTurn, Fetching, Lookup, Turn};
use crate::crypto::Signature;
use crate::fetch::{Asset, Chosen, Place, Release, ReleaseSource};
use crate::install::{Claim, Installed};
use crate::ledger::AttemptId;
use crate::sys::SysError;
use crate::types::{ArchiveFormat, ReleaseId, Version};

/// Give up waiting for a sibling's download that makes no progress for so long.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where the verified archive came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Cache,
    Download,
    Neighbour(SocketAddr),
    Patch,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cache => f.write_str("from the cache"),
            Self::Download => f.write_str("downloaded"),
            Self::Neighbour(address) => write!(f, "from the neighbour {address}"),
            Self::Patch => f.write_str("made by patches"),
        }
    }
}

/// A release that lies among the versions, where no clean-up takes it as long as this value lives.
pub(super) struct Staged {
    pub(super) installed: Installed,
    pub(super) claim: Claim,
    pub(super) origin: Origin,
}

/// Makes a verified release executable, under its own name among the versions.
pub(super) async fn stage(
    engine: &Arc<Engine>,
    offer: &Offer,
    version: &Version,
    attempt: AttemptId,
    observer: &Observer,
) -> Result<Staged, UpgradeError> {
    let id = engine.release(version);
    if let Some(staged) = from_cache(engine, &id, observer).await? {
        return publish(engine, staged, Origin::Cache).await;
    }
    let turn = wait_for_turn(engine, &id, observer).await?;
    if turn.is_some()
        && let Some(staged) = from_cache(engine, &id, observer).await?
    {
        return publish(engine, staged, Origin::Cache).await;
    }
    let (Some(release), Some(source)) = (offer.release(version), &offer.source) else {
        return Err(UpgradeError::NoLongerOffered { version: version.clone() });
    };
    let chosen = release
        .choose(&engine.product, &engine.target)
        .map_err(|source| UpgradeError::Asset { version: version.clone(), source })?;
    if let Some(route) = patch::plan(engine, &offer.listing, version, chosen.archive.size().unwrap_or(0)).await {
        match by_patches(engine, source, release, (&id, &route), turn.as_ref(), observer).await {
            Ok(staged) => {
                note_patched(engine, attempt, &id, &route, chosen.archive.size(), observer);
                return publish(engine, staged, Origin::Patch).await;
            }
            Err(reason) => note_unpatched(engine, attempt, &id, &route, &reason, observer),
        }
    }
    let (archive, origin, fetching) = obtain(engine, source, &id, &chosen, turn.as_ref(), observer).await?;
    let staged = extract(engine, archive, origin, observer).await?;
    // It is in the cache now, where siblings and neighbours look next.
    drop((turn, fetching));
    publish(engine, staged, origin).await
}

async fn by_patches(
    engine: &Arc<Engine>,
    source: &ReleaseSource,
    release: &Release,
    (id, route): (&ReleaseId, &Route),
    turn: Option<&DownloadTurnSlot>,
    observer: &Observer,
) -> Result<StagedBinary, String> {
    let signature = release.tar_signature(&engine.product, &engine.target);
    let followed = patch::follow(engine, source, signature, (id, route), turn, observer).await;
    let tar = followed.map_err(|error| error.to_string())?;
    extract(engine, tar, Origin::Patch, observer).await.map_err(|error| error.to_string())
}

fn note_patched(
    engine: &Engine,
    attempt: AttemptId,
    id: &ReleaseId,
    Route { from, hops, bytes }: &Route,
    whole: Option<u64>,
    observer: &Observer,
) {
    observer(Step::Patched { version: id.version.clone(), answer: PatchAnswer::Applied });
    let whole = whole.unwrap_or(0);
    tracing::info!(event = "release_patched", release = %id, from = %from, patches = hops.len(), bytes, whole);
    let detail = format!("from {from} by {} patch(es): {bytes} bytes instead of {whole}", hops.len());
    note(engine, attempt, "patched", &detail);
}

fn note_unpatched(
    engine: &Engine,
    attempt: AttemptId,
    id: &ReleaseId,
    Route { from, .. }: &Route,
    reason: &str,
    observer: &Observer,
) {
    observer(Step::Patched { version: id.version.clone(), answer: PatchAnswer::Refused });
    tracing::warn!(event = "patch_refused", release = %id, from = %from, %reason, "downloads the whole archive");
    note(engine, attempt, "patch-refused", &format!("from {from}: {reason}; downloads the whole archive"));
}

/// What cannot be noted was noted in the log, and stops no upgrade.
fn note(engine: &Engine, attempt: AttemptId, name: &str, detail: &str) {
    if let Err(error) = engine.ledger.event(attempt, name, detail, Timestamp::now()) {
        tracing::error!(event = "history_not_written", %error);
    }
}

/// The binary from the cache. An archive that verifies and yet cannot be extracted is removed, and
/// counts as missing: it costs one download.
async fn from_cache(
    engine: &Arc<Engine>,
    id: &ReleaseId,
    observer: &Observer,
) -> Result<Option<StagedBinary>, UpgradeError> {
    let Some(archive) = look_up(engine, id, observer).await? else { return Ok(None) };
    match extract(engine, archive, Origin::Cache, observer).await {
        Ok(staged) => Ok(Some(staged)),
        Err(UpgradeError::Archive { source: source @ ArchiveError::Content { .. }, .. }) => {
            tracing::warn!(event = "cache_poisoned", release = %id, reason = %source, "removed; downloads it again");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn look_up(
    engine: &Arc<Engine>,
    id: &ReleaseId,
    observer: &Observer,
) -> Result<Option<VerifiedArchive>, UpgradeError> {
    let (engine, id, observer) = (engine.clone(), id.clone(), observer.clone());
    observer(Step::Verifying { version: id.version.clone() });
    blocking(move || {
        let Some(cache) = &engine.cache else { return Ok(None) };
        let tell = |answer| observer(Step::Cached { version: id.version.clone(), answer });
        match cache.lookup(&id, &engine.trust.believed, engine.install.staging(), &engine.settings.limits) {
            Ok(Lookup::Hit(archive)) => {
                tell(CacheAnswer::Hit);
                tracing::info!(event = "cache_hit", release = %id);
                Ok(Some(archive))
            }
            Ok(Lookup::Miss) => {
                tell(CacheAnswer::Miss);
                tracing::debug!(event = "cache_miss", release = %id);
                Ok(None)
            }
            Ok(Lookup::Rejected(rejection)) => {
                tell(CacheAnswer::Rejected);
                tracing::warn!(event = "cache_rejected", release = %id, reason = %rejection);
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(event = "cache_unusable", %error);
                Ok(None)
            }
        }
    })
    .await
}

async fn wait_for_turn(
    engine: &Arc<Engine>,
    id: &ReleaseId,
    observer: &Observer,
) -> Result<Option<DownloadTurnSlot>, UpgradeError> {
    let (engine, id, observer) = (engine.clone(), id.clone(), observer.clone());
    blocking(move || {
        let Some(cache) = &engine.cache else { return Ok(None) };
        let mut waiting = |done| observer(Step::WaitingForDownload { version: id.version.clone(), done });
        match cache.download_turn(&id, PATIENCE, &mut waiting) {
            Turn::Mine(turn) => Ok(Some(Arc::new(std::sync::Mutex::new(turn)))),
            Turn::GaveUp(reason) => {
                tracing::warn!(event = "download_turn_given_up", release = %id, %reason, "downloads for itself");
                Ok(None)
            }
        }
    })
    .await
}

pub(super) type DownloadTurnSlot = Arc<std::sync::Mutex<DownloadTurn>>;

/// Tells the siblings that wait for it how far a download is.
pub(super) fn tell_siblings(turn: Option<&DownloadTurnSlot>, bytes: u64) {
    if let Some(turn) = turn {
        turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner).progress(bytes);
    }
}

/// Has the archive from a neighbour, or else from the source. What is returned beside it tells neighbours to wait,
/// until it is dropped.
async fn obtain(
    engine: &Arc<Engine>,
    source: &ReleaseSource,
    id: &ReleaseId,
    chosen: &Chosen,
    turn: Option<&DownloadTurnSlot>,
    observer: &Observer,
) -> Result<(VerifiedArchive, Origin, Option<Fetching>), UpgradeError> {
    require_space(engine, &chosen.archive)?;
    let mut fetching = None;
    if let Some(wanted) = Wanted::of(&id.version, &chosen.archive, engine.settings.limits.archive) {
        let (shared, release, format) = (engine.clone(), id.clone(), chosen.format);
        let accept: Accept<_> = Arc::new(move |file, signature: &Signature| {
            verified(&shared, file, &release, format, signature).map_err(|error| error.to_string())
        });
        match neighbours::ask(engine, &wanted, observer, turn, &accept).await {
            Asked::Had(archive, neighbour) => {
                tracing::info!(event = "release_downloaded", release = %id, place = %neighbour);
                return Ok((archive, Origin::Neighbour(neighbour), None));
            }
            Asked::Origin(begun) => fetching = begun,
        }
    }
    let archive = download(engine, source, id, chosen, (turn, &mut fetching), observer).await?;
    Ok((archive, Origin::Download, fetching))
}

fn verified(
    engine: &Engine,
    file: File,
    id: &ReleaseId,
    format: ArchiveFormat,
    signature: &Signature,
) -> Result<VerifiedArchive, ArchiveError> {
    UntrustedArchive::from_private_file(file, format)?.verify(id, signature, &engine.trust.believed)
}

/// Has the archive from the first place whose files verify. Each place is tried once: whether a
/// mirror lies or its server is away comes to the same.
async fn download(
    engine: &Arc<Engine>,
    source: &ReleaseSource,
    id: &ReleaseId,
    chosen: &Chosen,
    (turn, fetching): (Option<&DownloadTurnSlot>, &mut Option<Fetching>),
    observer: &Observer,
) -> Result<VerifiedArchive, UpgradeError> {
    let mut failed: Option<UpgradeError> = None;
    for place in source.places(&chosen.archive) {
        match download_at(engine, source, &place, id, chosen, (turn, fetching), observer).await {
            Ok(archive) => {
                tracing::info!(event = "release_downloaded", release = %id, place = %place);
                return Ok(archive);
            }
            Err(error) if !error.blames_place() => return Err(error),
            Err(error) => {
                if !place.is_last() {
                    tracing::warn!(event = "place_failed", place = %place, kind = error.kind(), %error, "trying the next");
                }
                // What was tampered with matters more than what was away.
                if failed.as_ref().is_none_or(|failed| error.is_verification() && !failed.is_verification()) {
                    failed = Some(error);
                }
            }
        }
    }
    Err(failed.expect("there is at least one place"))
}

async fn download_at(
    engine: &Arc<Engine>,
    source: &ReleaseSource,
    place: &Place,
    id: &ReleaseId,
    chosen: &Chosen,
    (turn, fetching): (Option<&DownloadTurnSlot>, &mut Option<Fetching>),
    observer: &Observer,
) -> Result<VerifiedArchive, UpgradeError> {
    let signature = fetch_signature(engine, source, place, id, &chosen.signature).await?;
    let version = id.version.clone();
    let mut file = engine.install.staging().unnamed_file()?;
    let mut progress = |done: u64, total: Option<u64>| {
        tell_siblings(turn, done);
        if let Some(fetching) = fetching {
            fetching.progress(done);
        }
        observer(Step::Downloading { version: version.clone(), done, total });
    };
    source.fetch_asset(place, &chosen.archive, &mut file, engine.settings.limits.archive, &mut progress).await?;
    observer(Step::Verifying { version: id.version.clone() });
    let (engine, id, format) = (engine.clone(), id.clone(), chosen.format);
    blocking(move || {
        let verified = verified(&engine, file, &id, format, &signature);
        verified.map_err(|source| UpgradeError::Archive { id: Box::new(id), source })
    })
    .await
}

async fn fetch_signature(
    engine: &Engine,
    source: &ReleaseSource,
    place: &Place,
    id: &ReleaseId,
    asset: &Asset,
) -> Result<Signature, UpgradeError> {
    let mut file = engine.install.staging().unnamed_file()?;
    source.fetch_asset(place, asset, &mut file, Signature::FILE_LIMIT, &mut |_, _| ()).await?;
    let read = Signature::read(&mut file).map_err(|error| SysError::read_of(engine.install.staging().path(), error))?;
    read.map_err(|source| UpgradeError::SignatureFile { id: Box::new(id.clone()), source })
}

/// Extracts, and only then shares a downloaded archive: what cannot be extracted is no use to anybody.
async fn extract(
    engine: &Arc<Engine>,
    archive: VerifiedArchive,
    origin: Origin,
    observer: &Observer,
) -> Result<StagedBinary, UpgradeError> {
    let (engine, observer) = (engine.clone(), observer.clone());
    blocking(move || {
        let version = archive.id().version.clone();
        let mut progress = |done| observer(Step::Extracting { version: version.clone(), done });
        let extracted = archive.extract(engine.install.staging(), &engine.settings.limits, &mut progress);
        match (extracted, &engine.cache, origin) {
            (Ok(staged), Some(cache), Origin::Download | Origin::Neighbour(_) | Origin::Patch) => {
                if let Err(error) = cache.store(&archive, &staged) {
                    tracing::warn!(event = "cache_not_stored", %error);
                }
                Ok(staged)
            }
            (Ok(staged), _, _) => Ok(staged),
            (Err(source), cache, origin) => {
                // A full disk, say, is not the archive's fault.
                if let (Some(cache), Origin::Cache, ArchiveError::Content { .. }) = (cache, origin, &source)
                    && let Err(error) = cache.discard(&archive)
                {
                    tracing::warn!(event = "cache_not_discarded", %error);
                }
                Err(UpgradeError::Archive { id: Box::new(archive.id().clone()), source })
            }
        }
    })
    .await
}

async fn publish(engine: &Arc<Engine>, staged: StagedBinary, origin: Origin) -> Result<Staged, UpgradeError> {
    let engine = engine.clone();
    blocking(move || {
        let installed = Installed { version: staged.id().version.clone(), digest: staged.digest() };
        let claim = engine.install.claim_version(&installed)?;
        // The same bytes may lie there already, and may even run: then they are left alone.
        if engine.install.open_version(&installed).is_err() {
            staged.publish_into(claim.dir().as_dir(), engine.install.program())?;
        }
        engine.install.carry_capabilities(&installed)?;
        Ok(Staged { installed, claim, origin })
    })
    .await
}

/// Runs what blocks on disk or processor where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UpgradeError> + Send + 'static,
) -> Result<T, UpgradeError> {
    tokio::task::spawn_blocking(work).await?
}
