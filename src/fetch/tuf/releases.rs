//! What the top level's targets offer to one product on one target triple.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::listing::{Asset, Listing, Origin, Release, SkipReason, Skipped, printable};
use crate::tuf::metadata::{TargetFile, Targets};
use crate::tuf::{ReleaseDescription, ReleaseError};
use crate::types::{Channel, Product, ReleaseTerms, Target, Version};

/// Reads the releases for exactly this product and target. One that cannot be read is left out and said.
pub(super) fn listing(targets: &Targets, product: &Product, target: &Target, origin: Origin) -> Listing {
    let mut skipped = Vec::new();
    let mut releases: BTreeMap<Version, Release> = BTreeMap::new();
    for file in targets.targets().values() {
        let skip = |reason| Skipped { tag: printable(file.path()), reason };
        let described = match ReleaseDescription::of(file) {
            Ok(Some((described, _))) if described.id.product == *product && described.id.target == *target => described,
            Ok(_) => continue,
            Err(error) => {
                skipped.push(skip(match error {
                    ReleaseError::Format(format) => SkipReason::LaterFormat(format),
                    ReleaseError::Description(_) => SkipReason::Description,
                    ReleaseError::Path { .. } => SkipReason::Path,
                }));
                continue;
            }
        };
        let signature = targets.target(&format!("{}.sig", file.path()));
        let files: Option<Vec<Asset>> = [Some(file), signature].into_iter().flatten().map(asset).collect();
        let Some(assets) = files else {
            skipped.push(skip(SkipReason::Digest));
            continue;
        };
        let version = described.id.version;
        let release = releases.entry(version.clone()).or_insert_with(|| Release {
            prerelease: described.channel == Channel::Beta || version.is_prerelease(),
            version,
            notes_url: described.notes,
            published_at: None,
            assets: Vec::new(),
            terms: ReleaseTerms {
                minimum: described.minimum,
                barriers: described.barriers,
                rollout: described.rollout,
            },
        });
        // An archive in two formats is told from one when it is chosen.
        release.assets.extend(assets);
    }
    Listing { releases: releases.into_values().rev().collect(), skipped, origin }
}

/// `None`: no digest is given that this program compares.
fn asset(file: &TargetFile) -> Option<Asset> {
    let digest = file.digests.get("sha256")?.parse().ok()?;
    let name = file.path().rsplit('/').next().unwrap_or_default().to_owned();
    Some(Asset {
        name,
        size: Some(file.length),
        digest: Some(digest),
        address: file.path().to_owned(),
        api_address: None,
        described: Some(Arc::new(file.clone())),
    })
}
