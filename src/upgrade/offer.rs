//! What a source offers, and the source itself, to fetch it from.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::engine::{Engine, Observer, Step};
use super::error::UpgradeError;
use super::run::Carried;
use super::stage::blocking;
use super::verdicts::attempt_of;
use crate::fetch::{Bundle, Freshness, HttpSettings, Listing, Release, ReleaseSource};
use crate::install::Trial;
use crate::rollout::Available;
use crate::types::{ReleaseTerms, Sha256Digest, Version};

/// The event of an attempt that names the bundle it came from.
pub(super) const BUNDLE_EVENT: &str = "bundle";

/// What is on offer.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// `None` where nobody needs to be asked, for a trial that goes on from the cache.
    pub(super) source: Option<Arc<ReleaseSource>>,
    pub(super) listing: Listing,
    /// The version whose trial goes on, on offer although nobody lists it.
    pub(super) resumed: Option<Version>,
}

impl Offer {
    /// Asks the bundle that an operator named, or else the configured source.
    pub(super) async fn ask(
        engine: &Engine,
        from: Option<&Carried>,
        freshness: Freshness,
        now: Timestamp,
        observer: &Observer,
    ) -> Result<Self, UpgradeError> {
        observer(Step::Checking);
        let source = match from {
            Some(from) => open(engine, from).await?,
            None => engine.source.clone().map_err(UpgradeError::Source)?.ok_or(UpgradeError::NoSource)?,
        };
        let mut listing = source.releases(freshness, now).await?;
        if from.is_none() {
            note_reliance(engine, &source, now)?;
            engine.last_offer.keep(&listing);
        } else {
            // A listing does not say what has to run before its release; verified metadata may have.
            let known = |version: &Version| engine.source.as_ref().ok()?.as_ref()?.known_terms(version);
            for release in &mut listing.releases {
                // Who carries it here does not wait for its rollout.
                let known = if release.is_described() {
                    std::mem::take(&mut release.terms)
                } else {
                    known(&release.version).unwrap_or_default()
                };
                release.terms = ReleaseTerms { rollout: None, ..known };
            }
        }
        Ok(Self { source: Some(source), listing, resumed: None })
    }

    /// Asks again for a trial that was cut short. One that came from a bundle needs nobody who offers
    /// it: its archive is in the cache, and its signature decides as ever.
    pub(super) async fn again(
        engine: &Engine,
        trial: &Trial,
        freshness: Freshness,
        now: Timestamp,
        observer: &Observer,
    ) -> Result<Self, UpgradeError> {
        let from = bundle_of(engine, trial)?.map(|bundle| Carried { bundle, valid_at: None });
        let asked = Self::ask(engine, from.as_ref(), freshness, now, observer).await;
        match asked {
            Err(error) if from.is_some() => {
                tracing::info!(event = "bundle_gone", %error, "going on from the cache");
                Ok(Self { resumed: Some(trial.candidate.version.clone()), ..Self::default() })
            }
            asked => asked,
        }
    }

    /// The release of that version, if it is offered.
    pub(super) fn release(&self, version: &Version) -> Option<&Release> {
        self.listing.releases.iter().find(|release| release.version == *version)
    }

    /// What stands for the files that are offered for this node under that version.
    pub(super) fn fingerprint(&self, engine: &Engine, version: &Version) -> Option<Sha256Digest> {
        let chosen = self.release(version)?.choose(&engine.product, &engine.target).ok()?;
        Some(chosen.fingerprint())
    }

    /// The versions that this node could go to.
    pub(super) fn available(&self, engine: &Engine) -> Vec<Available> {
        let mut available: Vec<Available> = self
            .listing
            .releases
            .iter()
            .filter(|release| release.choose(&engine.product, &engine.target).is_ok())
            .map(|release| Available {
                version: release.version.clone(),
                prerelease: release.prerelease,
                terms: release.terms.clone(),
            })
            .collect();
        if let Some(version) = &self.resumed
            && !available.iter().any(|available| available.version == *version)
        {
            available.push(Available {
                version: version.clone(),
                prerelease: version.is_prerelease(),
                terms: ReleaseTerms::default(),
            });
        }
        available
    }
}

/// What was last on offer, for those who ask what this node would do, and must not make it ask anybody.
#[derive(Debug, Default)]
pub struct LastOffer(Mutex<Option<Arc<Listing>>>);

impl LastOffer {
    fn keep(&self, listing: &Listing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(listing.clone()));
    }

    /// `None`: nobody was asked yet, or nobody answered.
    pub(super) fn get(&self) -> Option<Offer> {
        let listing = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Offer { listing: (*listing).clone(), ..Offer::default() })
    }
}

/// Remembers since when this node relies on what siblings keep of the listing, so that a restart does
/// not begin that time anew.
fn note_reliance(engine: &Engine, source: &ReleaseSource, now: Timestamp) -> Result<(), UpgradeError> {
    let name = source.to_string();
    let known = engine.ledger.relies_since(&name)?;
    let since = source.last_whole().unwrap_or(now);
    if known.map(Timestamp::as_millisecond) != Some(since.as_millisecond()) {
        engine.ledger.set_relies_since(&name, since)?;
        source.remember_whole(since);
    }
    Ok(())
}

fn bundle_of(engine: &Engine, trial: &Trial) -> Result<Option<PathBuf>, UpgradeError> {
    let Some(attempt) = attempt_of(&trial.id) else { return Ok(None) };
    let Some((_, events)) = engine.ledger.attempt(attempt)? else { return Ok(None) };
    Ok(events.into_iter().find(|event| event.name == BUNDLE_EVENT).map(|event| event.detail.into()))
}

async fn open(engine: &Engine, from: &Carried) -> Result<Arc<ReleaseSource>, UpgradeError> {
    let path = from.bundle.clone();
    let bundle = blocking(move || Ok(Bundle::open(&path, &HttpSettings::default())?)).await?;
    let bundle = bundle.with_metadata(engine.metadata.clone(), from.valid_at);
    Ok(Arc::new(ReleaseSource::Bundle(bundle)))
}
