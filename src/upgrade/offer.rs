//! What a source offers, and the source itself, to fetch it from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::engine::{Engine, Observer, Step};
use super::error::UpgradeError;
use super::stage::blocking;
use crate::fetch::{Bundle, Freshness, HttpSettings, Listing, Release, ReleaseSource};
use crate::rollout::Available;
use crate::types::Version;

/// What is on offer.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// `None` where nobody could be asked, for a trial that goes on from the cache.
    pub(super) source: Option<Arc<ReleaseSource>>,
    pub(super) listing: Listing,
    /// The version whose trial goes on; on offer whatever the source says by now.
    pub(super) resumed: Option<Version>,
}

impl Offer {
    /// Asks the bundle that an operator named, or else the configured source.
    pub(super) async fn ask(
        engine: &Engine,
        bundle: Option<&Path>,
        freshness: Freshness,
        now: Timestamp,
        observer: &Observer,
    ) -> Result<Self, UpgradeError> {
        observer(Step::Checking);
        let source = match bundle {
            Some(path) => open(path.to_owned()).await?,
            None => engine.source.clone().ok_or(UpgradeError::NoSource)?,
        };
        let listing = source.releases(freshness, now).await?;
        Ok(Self { source: Some(source), listing, resumed: None })
    }

    /// The release of that version, if it is offered.
    pub(super) fn release(&self, version: &Version) -> Option<&Release> {
        self.listing.releases.iter().find(|release| release.version == *version)
    }

    /// The versions that this node could go to.
    pub(super) fn available(&self, engine: &Engine) -> Vec<Available> {
        let mut available: Vec<Available> = self
            .listing
            .releases
            .iter()
            .filter(|release| release.choose(&engine.product, &engine.target).is_ok())
            .map(|release| Available { version: release.version.clone(), prerelease: release.prerelease })
            .collect();
        if let Some(version) = &self.resumed
            && !available.iter().any(|available| available.version == *version)
        {
            available.push(Available { version: version.clone(), prerelease: version.is_prerelease() });
        }
        available
    }
}

async fn open(path: PathBuf) -> Result<Arc<ReleaseSource>, UpgradeError> {
    let bundle = blocking(move || Ok(Bundle::open(&path, &HttpSettings::default())?)).await?;
    Ok(Arc::new(ReleaseSource::Bundle(bundle)))
}
