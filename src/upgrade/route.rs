//! Which patches lead to a release, and whether they are worth it. Pure: what is offered and what is in
//! the cache come in as arguments.

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::Signature;
use crate::fetch::{Listing, OfferedPatch};
use crate::types::{Product, Target, Version};

/// Patches one after the other; more would seldom be cheaper than the archive.
const HOPS_MAX: usize = 3;

/// A way from a version whose tar is here to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The version to begin with.
    pub(super) from: Version,
    /// Each with the version that it makes; at least one.
    pub(super) hops: Vec<(OfferedPatch, Version)>,
    /// What has to be downloaded, in bytes.
    pub(super) bytes: u64,
}

/// A way so far: where it begins, its patches by number, and its bytes.
type Way = (Version, Vec<usize>, u64);

/// The way with the fewest bytes, where they are fewer than `whole`.
pub(super) fn cheapest(
    listing: &Listing,
    (product, target): (&Product, &Target),
    here: &BTreeSet<Version>,
    to: &Version,
    whole: u64,
) -> Option<Route> {
    let offered: Vec<(OfferedPatch, &Version)> = listing
        .releases
        .iter()
        .flat_map(|release| release.patches(product, target).into_iter().map(|patch| (patch, &release.version)))
        .collect();
    let begin = |version: &Version| (version.clone(), (version.clone(), Vec::new(), 0));
    let mut ways: BTreeMap<Version, Way> = here.iter().filter(|version| *version != to).map(begin).collect();
    for _ in 0..HOPS_MAX {
        let before = ways.clone();
        for (number, (patch, makes)) in offered.iter().enumerate() {
            let Some((from, hops, bytes)) = before.get(patch.name.from()) else { continue };
            let bytes = bytes.saturating_add(patch.length).saturating_add(Signature::LEN as u64);
            if ways.get(makes).is_none_or(|(.., known)| bytes < *known) {
                let hops = hops.iter().copied().chain([number]).collect();
                ways.insert((*makes).clone(), (from.clone(), hops, bytes));
            }
        }
    }
    let (from, hops, bytes) = ways.remove(to)?;
    // The tar that comes out has a signature of its own.
    let bytes = bytes.saturating_add(Signature::LEN as u64);
    let hops = hops.into_iter().map(|number| (offered[number].0.clone(), offered[number].1.clone())).collect();
    (bytes < whole).then_some(Route { from, hops, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::ListingLimits;
    use proptest::prelude::*;

    const STEM: &str = "exuvia-x86_64-unknown-linux-gnu";

    fn version(minor: u8) -> Version {
        format!("1.{minor}.0").parse().unwrap()
    }

    fn name(from: u8) -> String {
        format!("{STEM}.from-1.{from}.0-{}.patch", "0123456789abcdef")
    }

    /// A listing of patches: which version makes which, and of how many bytes.
    fn listing(patches: &[(u8, u8, u64)]) -> Listing {
        let release = |minor: u8| {
            let assets: Vec<_> = patches
                .iter()
                .filter(|(_, to, _)| *to == minor)
                .flat_map(|(from, _, size)| [(name(*from), *size), (format!("{}.sig", name(*from)), 3309)])
                .map(|(name, size)| serde_json::json!({ "name": name, "size": size, "browser_download_url": name }))
                .collect();
            serde_json::json!({ "tag_name": format!("v1.{minor}.0"), "assets": assets })
        };
        let releases: Vec<_> = (0..10).map(release).collect();
        Listing::parse(&serde_json::to_vec(&releases).unwrap(), &ListingLimits::default()).unwrap()
    }

    fn route(patches: &[(u8, u8, u64)], here: &[u8], to: u8, whole: u64) -> Option<(u8, Vec<u8>)> {
        let here = here.iter().map(|minor| version(*minor)).collect();
        let build = ("exuvia".parse().unwrap(), "x86_64-unknown-linux-gnu".parse().unwrap());
        let Route { from, hops, bytes } =
            cheapest(&listing(patches), (&build.0, &build.1), &here, &version(to), whole)?;
        assert!(bytes < whole);
        let minor = |version: &Version| (0..10).find(|minor| self::version(*minor) == *version).unwrap();
        assert_eq!(hops.first().unwrap().0.name.from(), &from);
        Some((minor(&from), hops.iter().map(|(_, makes)| minor(makes)).collect()))
    }

    #[test]
    fn the_direct_patch_the_chain_or_the_archive_whichever_is_cheapest() {
        let patches = [(0, 1, 10_000), (1, 2, 10_000), (0, 2, 50_000)];
        assert_eq!(route(&patches, &[0], 2, 1_000_000), Some((0, vec![1, 2])));
        assert_eq!(route(&patches, &[0, 1], 2, 1_000_000), Some((1, vec![2])));
        let patches = [(0, 1, 10_000), (1, 2, 10_000), (0, 2, 20_000)];
        assert_eq!(route(&patches, &[0], 2, 1_000_000), Some((0, vec![2])), "a signature costs, too");
        assert_eq!(route(&patches, &[0], 2, 26_618), None, "the archive is not dearer");
        assert_eq!(route(&patches, &[3], 2, 1_000_000), None, "no patch begins there");
        assert_eq!(route(&patches, &[2], 2, 1_000_000), None, "what is here is not made of itself");
    }

    #[test]
    fn a_chain_has_three_patches_at_most_and_a_circle_leads_nowhere() {
        let line: Vec<_> = (0..5).map(|from| (from, from + 1, 100)).collect();
        assert_eq!(route(&line, &[0], 3, 1_000_000), Some((0, vec![1, 2, 3])));
        assert_eq!(route(&line, &[0], 4, 1_000_000), None);
        assert_eq!(route(&[(1, 2, 1), (2, 1, 1)], &[0], 2, 1_000_000), None);
        assert_eq!(route(&[(0, 1, 1), (1, 0, 1), (1, 2, 1)], &[0], 2, 1_000_000), Some((0, vec![1, 2])));
    }

    proptest! {
        #[test]
        fn a_route_leads_from_what_is_here_to_what_is_wanted(
            patches in prop::collection::vec((0u8..6, 0u8..6, 1u64..100_000), 0..16),
            here in prop::collection::vec(0u8..6, 0..4),
            to in 0u8..6,
        ) {
            if let Some((from, hops)) = route(&patches, &here, to, 200_000) {
                prop_assert!(here.contains(&from) && from != to && hops.last() == Some(&to) && hops.len() <= 3);
                let mut at = from;
                for hop in hops {
                    prop_assert!(patches.iter().any(|(from, to, _)| (*from, *to) == (at, hop)));
                    at = hop;
                }
            }
        }
    }
}
