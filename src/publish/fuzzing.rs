//! What must hold of everything published that is accepted: doors for the fuzz targets, which live in
//! another package and see only what is public. Built for fuzzing, and with the tests so that the
//! lints see it.

use jiff::Timestamp;

use super::listing::{About, Added, Asset, Listing};
use super::sums::Sums;
use crate::fetch::{Listing as Offered, ListingLimits};
use crate::types::ReleaseId;

/// A `SHA256SUMS` file: what is accepted is written back as the same.
pub fn sums(text: &str) {
    let Ok(sums) = Sums::parse(text) else { return };
    assert_eq!(Sums::parse(&sums.to_text()), Ok(sums));
}

/// A listing to which a release is added: a node then finds it, and it is not added twice.
pub fn listing(bytes: &[u8]) {
    let Ok(listing) = Listing::parse(bytes) else { return };
    assert_eq!(Listing::parse(&listing.to_bytes()).as_ref(), Ok(&listing));
    let id = ReleaseId {
        product: "exuvia".parse().expect("a product"),
        version: "1.4.0".parse().expect("a version"),
        target: "x86_64-unknown-linux-gnu".parse().expect("a target"),
    };
    let about = About { id, prerelease: false, notes_url: None, published_at: Timestamp::UNIX_EPOCH };
    let stem = about.id.asset_stem();
    let assets = [".tar.gz", ".tar.gz.sig"].map(|end| Asset::new(format!("{stem}{end}"), 1, None, "1.4.0/"));
    let Ok(Added::New(added)) = listing.add(&about, &assets) else { return };
    let limits = ListingLimits { releases: usize::MAX, ..ListingLimits::default() };
    let offered = Offered::parse(&added.to_bytes(), &limits).expect("nodes read what is published");
    if let Some(release) = offered.releases.iter().find(|release| release.version == about.id.version) {
        assert!(release.assets.len() >= 2);
    }
    assert_eq!(added.add(&about, &assets), Ok(Added::Same));
}
