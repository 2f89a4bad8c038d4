use std::sync::Arc;

use super::error::CarryError;
use crate::archive::{ArchiveError, Limits, UntrustedArchive};
use crate::cache::{Cache, CacheError, Lookup};
use crate::crypto::{Keyring, Release, Signature, SignatureLength};
use crate::fetch::{self, AssetError, Bundle, Chosen, FetchError, Progress};
use crate::sys::{PrivateDir, SysError};
use crate::types::{Product, ReleaseId, Target, Version};

/// Where the releases of a bundle go.
#[derive(Debug)]
pub struct Import {
    /// The cache of this host.
    pub cache: Cache,
    /// The keys that count here.
    pub keyring: Keyring<Release>,
    /// Where private copies are made.
    pub staging: PrivateDir,
    /// What is accepted.
    pub limits: Limits,
    /// The product.
    pub product: Product,
    /// The target.
    pub target: Target,
}

/// What became of one release of a bundle.
#[derive(Debug)]
pub enum Imported {
    /// It was verified, could be extracted, and is in the cache now.
    Stored,
    /// It is there already, and holds.
    There,
    /// It is not used.
    Refused(NotImported),
}

/// Why a release of a bundle is not used. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum NotImported {
    /// It has nothing for this product and target.
    #[error("{0}")]
    Asset(#[from] AssetError),
    /// Its files cannot be had from the bundle.
    #[error("{0}")]
    Fetch(#[from] FetchError),
    /// Its signature cannot be one.
    #[error("its signature cannot be one: {0}")]
    SignatureFile(#[from] SignatureLength),
    /// It does not verify, or cannot be extracted.
    #[error("{0}")]
    Archive(#[from] ArchiveError),
}

/// Verifies each release of a bundle under the keys that count here, and keeps it in the cache. Nothing is upgraded
/// by that, and freshness does not matter: an upgrade decides, as ever. `tell` hears what became of each.
pub async fn import(
    what: Import,
    bundle: &Bundle,
    progress: &mut Progress<'_>,
    tell: &mut (dyn FnMut(&Version, &Imported) + Send),
) -> Result<(), CarryError> {
    let what = Arc::new(what);
    for release in bundle.listing().await?.releases {
        let chosen = release.choose(&what.product, &what.target);
        let id =
            ReleaseId { product: what.product.clone(), version: release.version.clone(), target: what.target.clone() };
        let outcome = match chosen {
            Ok(chosen) => one(&what, bundle, id, &chosen, progress).await?,
            Err(error) => Imported::Refused(error.into()),
        };
        tell(&release.version, &outcome);
    }
    Ok(())
}

async fn one(
    what: &Arc<Import>,
    bundle: &Bundle,
    id: ReleaseId,
    chosen: &Chosen,
    progress: &mut Progress<'_>,
) -> Result<Imported, CarryError> {
    let (shared, wanted) = (what.clone(), id.clone());
    let there = tokio::task::spawn_blocking(move || {
        shared.cache.lookup(&wanted, &shared.keyring, &shared.staging, &shared.limits)
    });
    if matches!(there.await??, Lookup::Hit(_)) {
        return Ok(Imported::There);
    }
    let had = async {
        let signature = signature(what, bundle, &chosen.signature).await?;
        let mut file = what.staging.unnamed_file().map_err(FetchError::from)?;
        bundle.fetch_asset(&chosen.archive, &mut file, what.limits.archive, progress).await?;
        Ok::<_, NotImported>((file, signature))
    };
    let (file, signature) = match had.await {
        Ok(had) => had,
        Err(refused) => return Ok(Imported::Refused(refused)),
    };
    let (shared, format) = (what.clone(), chosen.format);
    let stored = tokio::task::spawn_blocking(move || -> Result<Result<(), NotImported>, CacheError> {
        let Import { cache, keyring, staging, limits, .. } = &*shared;
        let verified = UntrustedArchive::from_private_file(file, format)
            .and_then(|archive| archive.verify(&id, &signature, keyring))
            .and_then(|archive| archive.extract(staging, limits, &mut |_| ()).map(|staged| (archive, staged)));
        match verified {
            Ok((archive, staged)) => cache.store(&archive, &staged).map(Ok),
            Err(error) => Ok(Err(error.into())),
        }
    });
    Ok(match stored.await?? {
        Ok(()) => Imported::Stored,
        Err(refused) => Imported::Refused(refused),
    })
}

async fn signature(what: &Import, bundle: &Bundle, asset: &fetch::Asset) -> Result<Signature, NotImported> {
    let mut file = what.staging.unnamed_file().map_err(FetchError::from)?;
    bundle.fetch_asset(asset, &mut file, Signature::FILE_LIMIT, &mut |_, _| ()).await?;
    let read = Signature::read(&mut file);
    Ok(read.map_err(|error| FetchError::from(SysError::read_of(what.staging.path(), error)))??)
}
