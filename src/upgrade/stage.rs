//! From a release to a binary among the versions: cache or download, verify, extract, publish.

use std::fs::File;
use std::io::{Read, Seek};
use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Observer, Step};
use super::error::UpgradeError;
use crate::archive::{StagedBinary, UntrustedArchive, VerifiedArchive};
use crate::cache::{DownloadTurn, Lookup, Turn};
use crate::crypto::Signature;
use crate::fetch::{Asset, Chosen, Release};
use crate::install::Installed;
use crate::sys::{Place, SysError, file_owner};
use crate::types::{ByteLimit, ReleaseId};

/// Give up waiting for a sibling's download that makes no progress for so long.
const PATIENCE: Duration = Duration::from_mins(2);
/// Longer than any signature, so that the length is judged and not the cap met.
const SIGNATURE_CAP: ByteLimit = ByteLimit::kib(8);

/// Where the verified archive came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Cache,
    Download,
}

/// Makes a verified release executable, under its own name among the versions.
pub(super) async fn stage(
    engine: &Arc<Engine>,
    release: &Release,
    observer: &Observer,
) -> Result<(Installed, Origin), UpgradeError> {
    let id = engine.release(&release.version);
    let chosen = release
        .choose(&engine.product, &engine.target)
        .map_err(|source| UpgradeError::Asset { version: release.version.clone(), source })?;

    if let Some(archive) = look_up(engine, &id, observer).await? {
        let staged = extract(engine, archive, Origin::Cache, observer).await?;
        return Ok((publish(engine, staged).await?, Origin::Cache));
    }
    let turn = wait_for_turn(engine, &id, observer).await?;
    if turn.is_some()
        && let Some(archive) = look_up(engine, &id, observer).await?
    {
        let staged = extract(engine, archive, Origin::Cache, observer).await?;
        return Ok((publish(engine, staged).await?, Origin::Cache));
    }
    let archive = download(engine, &id, &chosen, turn.as_ref(), observer).await?;
    let staged = extract(engine, archive, Origin::Download, observer).await?;
    drop(turn);
    Ok((publish(engine, staged).await?, Origin::Download))
}

async fn look_up(
    engine: &Arc<Engine>,
    id: &ReleaseId,
    observer: &Observer,
) -> Result<Option<VerifiedArchive>, UpgradeError> {
    let (engine, id) = (engine.clone(), id.clone());
    observer(Step::Verifying { version: id.version.clone() });
    blocking(move || {
        let Some(cache) = &engine.cache else { return Ok(None) };
        match cache.lookup(&id, &engine.keyring, engine.install.staging(), &engine.settings.limits) {
            Ok(Lookup::Hit(archive)) => {
                tracing::info!(event = "cache_hit", release = %id);
                Ok(Some(archive))
            }
            Ok(Lookup::Miss) => {
                tracing::debug!(event = "cache_miss", release = %id);
                Ok(None)
            }
            Ok(Lookup::Rejected(rejection)) => {
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

type DownloadTurnSlot = Arc<std::sync::Mutex<DownloadTurn>>;

async fn download(
    engine: &Arc<Engine>,
    id: &ReleaseId,
    chosen: &Chosen,
    turn: Option<&DownloadTurnSlot>,
    observer: &Observer,
) -> Result<VerifiedArchive, UpgradeError> {
    require_space(engine, &chosen.archive)?;
    let signature = fetch_signature(engine, id, &chosen.signature).await?;
    let version = id.version.clone();
    let mut file = engine.install.staging().unnamed_file()?;
    let mut progress = |done: u64, total: Option<u64>| {
        if let Some(turn) = turn {
            turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner).progress(done);
        }
        observer(Step::Downloading { version: version.clone(), done, total });
    };
    source(engine)?.fetch_asset(&chosen.archive, &mut file, engine.settings.limits.archive, &mut progress).await?;
    observer(Step::Verifying { version: id.version.clone() });
    let (engine, id, format) = (engine.clone(), id.clone(), chosen.format);
    blocking(move || {
        let verified = UntrustedArchive::from_private_file(file, format)
            .and_then(|archive| archive.verify(&id, &signature, &engine.keyring));
        verified.map_err(|source| UpgradeError::Archive { id: Box::new(id), source })
    })
    .await
}

/// Room for the archive where it is staged and where it is kept, and for the version: as much as the
/// running one takes, for lack of a better guess. Said before anything is downloaded.
fn require_space(engine: &Engine, archive: &Asset) -> Result<(), UpgradeError> {
    let Some(length) = archive.size() else { return Ok(()) };
    if !engine.settings.limits.archive.admits(length) {
        // Refused for that, by the download.
        return Ok(());
    }
    let (_, _, version) = file_owner(&engine.install.committed_path())?;
    let install = engine.install.staging().path();
    let place = Place::of(install)?;
    let mut needed = length.saturating_add(version);
    if let Some(cache) = &engine.cache
        && let Ok(kept) = Place::of(cache.path())
    {
        if kept.device == place.device {
            needed = needed.saturating_add(length);
        } else if kept.free < length {
            tracing::warn!(event = "cache_full", free = kept.free, needed = length, "`cache prune` makes room");
        }
    }
    if place.free < needed {
        return Err(UpgradeError::NoSpace { folder: install.to_owned(), needed, free: place.free });
    }
    Ok(())
}

async fn fetch_signature(engine: &Engine, id: &ReleaseId, asset: &Asset) -> Result<Signature, UpgradeError> {
    let mut file = engine.install.staging().unnamed_file()?;
    source(engine)?.fetch_asset(asset, &mut file, SIGNATURE_CAP, &mut |_, _| ()).await?;
    let bytes = read_whole(&mut file).map_err(|error| SysError::read_of(engine.install.staging().path(), error))?;
    Signature::from_bytes(&bytes).map_err(|source| UpgradeError::SignatureFile { id: Box::new(id.clone()), source })
}

fn read_whole(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(SIGNATURE_CAP.get()).read_to_end(&mut bytes)?;
    Ok(bytes)
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
            (Ok(staged), Some(cache), Origin::Download) => {
                if let Err(error) = cache.store(&archive, &staged) {
                    tracing::warn!(event = "cache_not_stored", %error);
                }
                Ok(staged)
            }
            (Ok(staged), _, _) => Ok(staged),
            (Err(source), cache, origin) => {
                if let (Some(cache), Origin::Cache) = (cache, origin)
                    && let Err(error) = cache.discard(archive.id(), archive.key_id())
                {
                    tracing::warn!(event = "cache_not_discarded", %error);
                }
                Err(UpgradeError::Archive { id: Box::new(archive.id().clone()), source })
            }
        }
    })
    .await
}

async fn publish(engine: &Arc<Engine>, staged: StagedBinary) -> Result<Installed, UpgradeError> {
    let engine = engine.clone();
    blocking(move || {
        let installed = Installed { version: staged.id().version.clone(), digest: staged.digest() };
        // The same bytes may lie there already, and may even run: then they are left alone.
        if engine.install.open_version(&installed).is_err() {
            let dir = engine.install.make_version_dir(&installed)?;
            staged.publish_into(dir.as_dir(), engine.install.program())?;
        }
        engine.install.carry_capabilities(&installed)?;
        Ok(installed)
    })
    .await
}

pub(super) fn source(engine: &Engine) -> Result<&crate::fetch::StaticListing, UpgradeError> {
    engine.source.as_ref().ok_or(UpgradeError::NoSource)
}

/// Runs what blocks on disk or processor where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UpgradeError> + Send + 'static,
) -> Result<T, UpgradeError> {
    tokio::task::spawn_blocking(work).await?
}
