//! A release by patches, from a tar that is in the cache already.
//!
//! What a patch makes is verified as any tar is; so a patch can save bytes, and nothing else. Whatever is
//! odd about it ends here, is named in the history, and costs one download of the whole archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use super::engine::{Engine, Observer, Step};
use super::neighbours::{self, Accept, Asked, Wanted};
use super::route::{Route, cheapest};
use super::stage::{DownloadTurnSlot, tell_siblings};
use crate::archive::{ArchiveError, Tar, UntrustedArchive, VerifiedArchive, tar_limit};
use crate::cache::{CacheError, Fetching, Lookup};
use crate::crypto::{Signature, SignatureLength};
use crate::delta::{PatchError, UntrustedPatch, VerifiedPatch};
use crate::fetch::{self, Asset, FetchError, Listing, OfferedPatch, Progress, ReleaseSource};
use crate::sys::{Place, SysError, file_owner};
use crate::types::{ByteLimit, Packing, ReleaseId, Sha256Digest, Version};

/// Why a release was not made by patches.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPatched {
    #[error("the cache cannot be used: {0}")]
    Cache(#[from] CacheError),
    #[error("the cache does not have {0} any more")]
    NoBase(Version),
    #[error("the patch begins with another tar of {0} than the one that is here")]
    OtherBase(Version),
    #[error("the release has no signature for its tar")]
    NoTarSignature,
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("its signature cannot be one: {0}")]
    SignatureFile(#[from] SignatureLength),
    #[error("the patch was refused: {0}")]
    Patch(#[from] PatchError),
    #[error("{0}")]
    Archive(#[from] ArchiveError),
    #[error("the tars need {needed} bytes, and {free} are free")]
    NoSpace { needed: u64, free: u64 },
    #[error(transparent)]
    Storage(#[from] SysError),
    #[error("it was cut short: {0}")]
    CutShort(#[from] tokio::task::JoinError),
}

/// The cheapest way to a release from what is in the cache, if there is one that costs less than `whole`.
pub(super) async fn plan(engine: &Arc<Engine>, listing: &Listing, to: &Version, whole: u64) -> Option<Route> {
    let here = {
        let engine = engine.clone();
        blocking(move || {
            let Some(cache) = &engine.cache else { return Ok(BTreeSet::new()) };
            Ok(cache.versions(&engine.product, &engine.target, &engine.trust.believed)?)
        })
    };
    cheapest(listing, (&engine.product, &engine.target), &here.await.ok()?, to, whole)
}

/// Follows the route, and verifies what comes out as the tar of `id`.
pub(super) async fn follow(
    engine: &Arc<Engine>,
    source: &ReleaseSource,
    tar_signature: Option<&Asset>,
    (id, route): (&ReleaseId, &Route),
    turn: Option<&DownloadTurnSlot>,
    observer: &Observer,
) -> Result<VerifiedArchive, NotPatched> {
    let tar_signature = tar_signature.ok_or(NotPatched::NoTarSignature)?;
    let mut tar = base(engine, route).await?;
    let mut before = 0;
    for (number, (patch, makes)) in route.hops.iter().enumerate() {
        if !patch.name.begins_with(tar.digest()) {
            return Err(NotPatched::OtherBase(patch.name.from().clone()));
        }
        let mut progress = |done: u64, _: Option<u64>| {
            let done = before + done;
            tell_siblings(turn, done);
            observer(Step::Downloading { version: id.version.clone(), done, total: Some(route.bytes) });
        };
        let hop = Hop { offered: patch, makes: engine.release(makes), base: tar.digest() };
        let (patched, fetching) = obtain(engine, source, &hop, turn, (observer, &mut progress)).await?;
        before += patch.length;
        let shared = engine.clone();
        let made = blocking(move || {
            let made = patched.apply(&tar, shared.install.staging(), tar_limit(&shared.settings.limits))?;
            share(&shared, &patched);
            // Neighbours find it in the cache from now on.
            drop(fetching);
            Ok(made)
        })
        .await?;
        if number + 1 == route.hops.len() {
            let signature = fetch_signature(engine, source, tar_signature).await?;
            return verified(engine, made, makes, signature).await;
        }
        tar = blocking(move || Ok(Tar::of_private_file(made).map_err(ArchiveError::Copy)?)).await?;
    }
    Err(NotPatched::NoBase(route.from.clone()))
}

/// The tar that the first patch begins with, verified as ever.
async fn base(engine: &Arc<Engine>, route: &Route) -> Result<Tar, NotPatched> {
    let (engine, id, bytes) = (engine.clone(), engine.release(&route.from), route.bytes);
    blocking(move || {
        let staging = engine.install.staging();
        let (_, _, running) = file_owner(&engine.install.committed_path())?;
        // The base, what is made of it, and the version itself, for lack of a better guess.
        let (needed, free) = (running.saturating_mul(3).saturating_add(bytes), Place::of(staging.path())?.free);
        if free < needed {
            return Err(NotPatched::NoSpace { needed, free });
        }
        let Some(cache) = &engine.cache else { return Err(NotPatched::NoBase(id.version)) };
        match cache.lookup(&id, &engine.trust.believed, staging, &engine.settings.limits)? {
            Lookup::Hit(archive) => Ok(archive.into_tar(staging, &engine.settings.limits)?),
            Lookup::Miss => Err(NotPatched::NoBase(id.version)),
            Lookup::Rejected(rejection) => {
                tracing::warn!(event = "cache_rejected", release = %id, reason = %rejection);
                Err(NotPatched::NoBase(id.version))
            }
        }
    })
    .await
}

async fn verified(
    engine: &Arc<Engine>,
    made: File,
    version: &Version,
    signature: Signature,
) -> Result<VerifiedArchive, NotPatched> {
    let (engine, id) = (engine.clone(), engine.release(version));
    blocking(move || {
        let untrusted = UntrustedArchive::from_private_file(made, Packing::Tar)?;
        Ok(untrusted.verify(&id, &signature, &engine.trust.believed)?)
    })
    .await
}

/// One patch of a route.
struct Hop<'a> {
    offered: &'a OfferedPatch,
    makes: ReleaseId,
    base: Sha256Digest,
}

/// The patch from a neighbour, or else from the first place where it and its signature hold; then what is returned
/// beside it tells neighbours to wait, until it is dropped.
async fn obtain(
    engine: &Arc<Engine>,
    source: &ReleaseSource,
    hop: &Hop<'_>,
    turn: Option<&DownloadTurnSlot>,
    (observer, progress): (&Observer, &mut Progress<'_>),
) -> Result<(VerifiedPatch, Option<Fetching>), NotPatched> {
    let Hop { offered, makes, .. } = hop;
    let cap = ByteLimit::bytes(offered.length.max(1).min(engine.settings.limits.archive.get()));
    let mut fetching = None;
    if let Some(wanted) = Wanted::of(&makes.version, &offered.patch, cap) {
        let (shared, id, base) = (engine.clone(), makes.clone(), hop.base);
        let accept: Accept<_> = Arc::new(move |file, signature: &Signature| {
            let patch = UntrustedPatch::from_private_file(file);
            patch
                .and_then(|patch| patch.verify(&id, base, signature, &shared.trust.believed))
                .map_err(|error| error.to_string())
        });
        match neighbours::ask(engine, &wanted, observer, turn, &accept).await {
            Asked::Had(patch, neighbour) => {
                tracing::info!(event = "patch_from_neighbour", release = %makes, place = %neighbour);
                return Ok((patch, None));
            }
            Asked::Origin(begun) => fetching = begun,
        }
    }
    let mut progress = |done: u64, total: Option<u64>| {
        if let Some(fetching) = &mut fetching {
            fetching.progress(done);
        }
        progress(done, total);
    };
    let mut failed = None;
    for place in source.places(&offered.patch) {
        let mut verified = async || -> Result<VerifiedPatch, NotPatched> {
            let signature = signature_at(engine, source, &place, &offered.signature).await?;
            let mut file = engine.install.staging().unnamed_file()?;
            source.fetch_asset(&place, &offered.patch, &mut file, cap, &mut progress).await?;
            verified_patch(engine, hop, file, signature).await
        };
        match verified().await {
            Ok(patch) => return Ok((patch, fetching)),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    Err(failed.expect("there is at least one place"))
}

async fn verified_patch(
    engine: &Arc<Engine>,
    hop: &Hop<'_>,
    file: File,
    signature: Signature,
) -> Result<VerifiedPatch, NotPatched> {
    let (engine, id, base) = (engine.clone(), hop.makes.clone(), hop.base);
    blocking(move || {
        let patch = UntrustedPatch::from_private_file(file)?;
        Ok(patch.verify(&id, base, &signature, &engine.trust.believed)?)
    })
    .await
}

/// Keeps a patch that could be applied, where there are neighbours who may want it.
fn share(engine: &Engine, patch: &VerifiedPatch) {
    let mirror = &engine.settings.mirror;
    if let Some(cache) = engine.cache.as_ref().filter(|_| mirror.listen.is_some() || !mirror.peers.is_empty())
        && let Err(error) = cache.store_patch(patch)
    {
        tracing::warn!(event = "cache_not_stored", %error);
    }
}

async fn fetch_signature(engine: &Engine, source: &ReleaseSource, asset: &Asset) -> Result<Signature, NotPatched> {
    let mut failed = None;
    for place in source.places(asset) {
        match signature_at(engine, source, &place, asset).await {
            Ok(signature) => return Ok(signature),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    Err(failed.expect("there is at least one place"))
}

async fn signature_at(
    engine: &Engine,
    source: &ReleaseSource,
    place: &fetch::Place,
    asset: &Asset,
) -> Result<Signature, NotPatched> {
    let mut file = engine.install.staging().unnamed_file()?;
    source.fetch_asset(place, asset, &mut file, Signature::FILE_LIMIT, &mut |_, _| ()).await?;
    Ok(Signature::read(&mut file).map_err(|error| SysError::read_of(engine.install.staging().path(), error))??)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NotPatched> + Send + 'static,
) -> Result<T, NotPatched> {
    tokio::task::spawn_blocking(work).await?
}
