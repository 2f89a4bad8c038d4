//! Release listings, a server's or GitHub's: nothing in them is trusted, and everything is bounded.
#![no_main]

use exuvia::fetch::{Listing, ListingLimits, fuzzing};
use exuvia::types::{Product, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Pages of an API are separated here by a byte that no JSON holds.
    let pages: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    fuzzing::pages(&pages);

    let limits = ListingLimits { releases: 8, assets: 6 };
    let Ok(listing) = Listing::parse(bytes, &limits) else { return };
    assert!(listing.releases.len() + listing.skipped.len() <= limits.releases);
    assert!(listing.releases.windows(2).all(|pair| pair[0].version > pair[1].version), "newest first, each once");
    for skipped in &listing.skipped {
        assert!(!skipped.tag.chars().any(char::is_control), "{:?} steers a terminal", skipped.tag);
        assert!(skipped.tag.len() <= 80 * 10);
    }
    let (product, target): (Product, Target) =
        ("exuvia".parse().expect("a product"), "x86_64-unknown-linux-gnu".parse().expect("a target"));
    for release in &listing.releases {
        assert!(release.assets.len() <= limits.assets);
        match release.choose(&product, &target) {
            Ok(chosen) => {
                let name = chosen.archive.name();
                assert_eq!(name, format!("{product}-{target}{}", chosen.format.suffix()));
                assert_eq!(chosen.signature.name(), format!("{name}.sig"));
                assert_eq!(release.assets.iter().filter(|asset| asset.name() == name).count(), 1);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
