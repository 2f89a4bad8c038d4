use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use url::Url;

use crate::tuf::metadata::TargetFile;
use crate::types::{ReleaseTerms, Sha256Digest, Version, VersionError};

/// How much one listing may hold. Its length in bytes is bounded before it is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListingLimits {
    /// Releases, skipped ones included.
    pub releases: usize,
    /// Assets of one release.
    pub assets: usize,
}

impl Default for ListingLimits {
    fn default() -> Self {
        Self { releases: 1000, assets: 1000 }
    }
}

/// A release listing: what somebody offers. Nothing in it is trusted.
///
/// One bad entry never spoils the others: it is left out and named in [`Self::skipped`]. Two
/// entries for the same version are both left out, because nothing says which one is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The releases, newest first.
    pub releases: Vec<Release>,
    /// The entries that were left out, in the listing's order.
    pub skipped: Vec<Skipped>,
    /// How it was come by.
    pub origin: Origin,
}

/// How a listing was come by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Whole, from where it is published.
    #[default]
    Whole,
    /// A kept copy, of which the server says that it still holds (304).
    Confirmed,
    /// Whole, from a mirror, because the server itself failed.
    Mirror,
    /// A copy that a sibling fetched a short time ago.
    Sibling,
}

/// One release of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The version that its tag names.
    pub version: Version,
    /// Whether it is marked as a pre-release, by the listing or by its version.
    pub prerelease: bool,
    /// The page with its notes, for people.
    pub notes_url: Option<Url>,
    /// When it was published, as the listing says.
    pub published_at: Option<Timestamp>,
    /// Its files.
    pub assets: Vec<Asset>,
    /// What its publisher demands of those who go there. A plain listing cannot say.
    pub terms: ReleaseTerms,
}

/// One file of a release, as the listing describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    pub(super) name: String,
    pub(super) size: Option<u64>,
    pub(super) digest: Option<Sha256Digest>,
    // Judged when it is requested: see `Reach` and `ReleaseFolder`.
    pub(super) address: String,
    // Where an API has it, for those who have a token.
    pub(super) api_address: Option<String>,
    // What verified metadata says about it: then length and digests must hold.
    pub(super) described: Option<Arc<TargetFile>>,
}

/// An entry that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its tag, made safe to print; empty when it has none.
    pub tag: String,
    /// Why it was left out.
    pub reason: SkipReason,
}

/// Why an entry of a listing was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// Not published yet.
    #[error("it is a draft")]
    Draft,
    /// The tag is not a version.
    #[error("its tag {0}")]
    Tag(VersionError),
    /// A field is missing, or is not what it should be.
    #[error("it is malformed")]
    Malformed,
    /// More assets than allowed.
    #[error("it has too many assets")]
    TooManyAssets,
    /// Another entry names the same version.
    #[error("another entry has the same version, and nothing says which one is meant")]
    SameVersion,
    /// Metadata for later builds.
    #[error("its description in the metadata has format {0}, which this build does not read")]
    LaterFormat(u64),
    /// Metadata that does not describe a release.
    #[error("its description in the metadata cannot be read")]
    Description,
    /// Metadata that describes another file.
    #[error("its description in the metadata is that of another file")]
    Path,
    /// Metadata without a digest.
    #[error("the metadata gives no SHA-256 digest for its files")]
    Digest,
}

impl Release {
    /// Whether verified release metadata describes it, and not a listing alone.
    #[must_use]
    pub fn is_described(&self) -> bool {
        self.assets.iter().any(|asset| asset.described.is_some())
    }
}

impl Asset {
    /// The file name that the listing gives it. Any text: never make a path of it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address for messages: without a query, which may be a secret.
    pub(super) fn shown(&self) -> String {
        let end = self.address.find(['?', '#']).unwrap_or(self.address.len());
        printable(&self.address[..end])
    }

    /// Its length in bytes, as the listing says.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Its SHA-256 digest, as the listing says: it can name a damaged download, and proves nothing.
    #[must_use]
    pub fn digest(&self) -> Option<Sha256Digest> {
        self.digest
    }
}

impl Listing {
    /// Reads a listing in the shape of GitHub's list of releases. Unknown fields are ignored.
    pub fn parse(bytes: &[u8], limits: &ListingLimits) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let entries = reader.deserialize_seq(Entries { limit: limits.releases })?;
        reader.end()?;

        let mut skipped = Vec::new();
        let mut by_version: BTreeMap<Version, Vec<(String, Release)>> = BTreeMap::new();
        for entry in entries {
            match read_entry(entry, limits) {
                Ok((tag, release)) => by_version.entry(release.version.clone()).or_default().push((tag, release)),
                Err(skip) => skipped.push(skip),
            }
        }
        let mut releases = Vec::new();
        for (_, mut same) in by_version.into_iter().rev() {
            if same.len() == 1 {
                releases.extend(same.pop().map(|(_, release)| release));
            } else {
                skipped.extend(same.into_iter().map(|(tag, _)| Skipped { tag, reason: SkipReason::SameVersion }));
            }
        }
        Ok(Self { releases, skipped, origin: Origin::Whole })
    }
}

/// The entries as raw text, so that each is judged alone.
struct Entries {
    limit: usize,
}

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} releases", self.limit)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            if entries.len() == self.limit {
                return Err(serde::de::Error::invalid_length(entries.len() + 1, &self));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[derive(Deserialize)]
struct RawRelease {
    tag_name: String,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    prerelease: Option<bool>,
    #[serde(default)]
    published_at: Option<Timestamp>,
    #[serde(default)]
    html_url: Option<String>,
    #[serde(default)]
    assets: Vec<RawAsset>,
}

#[derive(Deserialize)]
struct RawTag {
    tag_name: String,
}

#[derive(Deserialize)]
struct RawAsset {
    name: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    digest: Option<String>,
    browser_download_url: String,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    state: Option<String>,
}

fn read_entry(entry: &RawValue, limits: &ListingLimits) -> Result<(String, Release), Skipped> {
    let raw: RawRelease = serde_json::from_str(entry.get()).map_err(|_| {
        let tag = serde_json::from_str(entry.get()).map_or_else(|_| String::new(), |RawTag { tag_name }| tag_name);
        Skipped { tag: printable(&tag), reason: SkipReason::Malformed }
    })?;
    let tag = printable(&raw.tag_name);
    let skip = |reason| Skipped { tag: tag.clone(), reason };
    if raw.draft == Some(true) {
        return Err(skip(SkipReason::Draft));
    }
    let version = Version::from_tag(&raw.tag_name).map_err(|error| skip(SkipReason::Tag(error)))?;
    if raw.assets.len() > limits.assets {
        return Err(skip(SkipReason::TooManyAssets));
    }
    let release = Release {
        prerelease: raw.prerelease == Some(true) || version.is_prerelease(),
        version,
        notes_url: raw.html_url.and_then(|url| url.parse().ok()).filter(|url: &Url| url.scheme().starts_with("http")),
        published_at: raw.published_at,
        assets: raw.assets.into_iter().filter(is_there).map(read_asset).collect(),
        terms: ReleaseTerms::default(),
    };
    Ok((tag, release))
}

/// GitHub lists a file from the moment at which its upload begins.
fn is_there(raw: &RawAsset) -> bool {
    raw.state.as_deref().is_none_or(|state| state == "uploaded")
}

fn read_asset(raw: RawAsset) -> Asset {
    let digest = raw.digest.as_deref().and_then(|digest| digest.strip_prefix("sha256:")?.parse().ok());
    Asset {
        name: raw.name,
        size: raw.size,
        digest,
        address: raw.browser_download_url,
        api_address: raw.url,
        described: None,
    }
}

/// A text from outside, without anything that could steer a terminal, and not too long.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Listing {
        Listing::parse(text.as_bytes(), &ListingLimits::default()).unwrap()
    }

    fn reasons(listing: &Listing) -> Vec<(&str, SkipReason)> {
        listing.skipped.iter().map(|skip| (skip.tag.as_str(), skip.reason)).collect()
    }

    const GOOD: &str = r#"[
        {"tag_name":"v1.2.0","draft":false,"prerelease":false,"published_at":"2025-01-02T03:04:05Z",
         "html_url":"https://example.org/notes","body":"text","author":{"login":"somebody"},
         "assets":[{"name":"a.tar.gz","size":3,"content_type":"application/gzip","browser_download_url":"a.tar.gz",
                    "digest":"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}]},
        {"tag_name":"2.0.0-rc.1","assets":[]}]"#;

    #[test]
    fn releases_come_newest_first() {
        let listing = parse(GOOD);
        let versions: Vec<String> = listing.releases.iter().map(|release| release.version.to_string()).collect();
        assert_eq!(versions, ["2.0.0-rc.1", "1.2.0"]);
        assert!(listing.releases[0].prerelease && !listing.releases[1].prerelease);
        let asset = &listing.releases[1].assets[0];
        assert_eq!((asset.name(), asset.size(), asset.digest().is_some()), ("a.tar.gz", Some(3), true));
        assert_eq!(listing.skipped, []);
    }

    #[test]
    fn a_bad_entry_is_left_out_and_named_and_the_others_stay() {
        let listing = parse(
            r#"[{"tag_name":"nightly"}, {"tag_name":"v3.0.0","draft":true}, {"tag_name":"v4.0.0","assets":[{"name":1}]},
                {"tag_name":"5.0.0+build"}, null, 7, {"name":"without a tag"}, {"tag_name":"v1.0.0"}]"#,
        );
        assert_eq!(listing.releases.len(), 1);
        assert_eq!(
            reasons(&listing),
            [
                ("nightly", SkipReason::Tag(VersionError::NotSemver)),
                ("v3.0.0", SkipReason::Draft),
                ("v4.0.0", SkipReason::Malformed),
                ("5.0.0+build", SkipReason::Tag(VersionError::BuildMetadata)),
                ("", SkipReason::Malformed),
                ("", SkipReason::Malformed),
                ("", SkipReason::Malformed),
            ]
        );
    }

    #[test]
    fn two_entries_for_one_version_are_both_left_out() {
        let listing = parse(r#"[{"tag_name":"v1.0.0"},{"tag_name":"1.0.0"},{"tag_name":"v0.9.0"}]"#);
        assert_eq!(listing.releases.len(), 1);
        assert_eq!(reasons(&listing), [("v1.0.0", SkipReason::SameVersion), ("1.0.0", SkipReason::SameVersion)]);
    }

    #[test]
    fn counts_are_bounded() {
        let limits = ListingLimits { releases: 2, assets: 1 };
        let asset = r#"{"name":"a","browser_download_url":"a"}"#;
        let text = format!(r#"[{{"tag_name":"v1.0.0","assets":[{asset},{asset}]}},{{"tag_name":"v2.0.0"}}]"#);
        let listing = Listing::parse(text.as_bytes(), &limits).unwrap();
        assert_eq!(reasons(&listing), [("v1.0.0", SkipReason::TooManyAssets)]);
        assert!(Listing::parse(b"[{},{},{}]", &limits).is_err());
    }

    #[test]
    fn depth_is_no_way_to_exhaust_the_stack() {
        let deep = format!(r#"[{{"tag_name":"v1.0.0","x":{}1{}}}]"#, "[".repeat(100_000), "]".repeat(100_000));
        // Skimmed over without recursion, or refused: either way no crash.
        let _ = Listing::parse(deep.as_bytes(), &ListingLimits::default());
        assert!(Listing::parse("[".repeat(1_000_000).as_bytes(), &ListingLimits::default()).is_err());
    }

    #[test]
    fn a_tag_cannot_steer_a_terminal() {
        let listing = parse(r#"[{"tag_name":"v1\u001b[2J\u202e"}]"#);
        assert_eq!(listing.skipped[0].tag, r"v1\u{1b}[2J\u{202e}");
    }

    #[test]
    fn other_json_and_trailing_text_are_not_a_listing() {
        for bad in ["", "{}", "null", "[", "[]]", "[] []", "<html>", r#"{"message":"rate limit exceeded"}"#] {
            assert!(Listing::parse(bad.as_bytes(), &ListingLimits::default()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_mutated_listing_never_panics(edits in prop::collection::vec((0..GOOD.len(), any::<u8>()), 1..12), cut in 0..GOOD.len()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            for (at, byte) in edits {
                bytes[at] = byte;
            }
            let _ = Listing::parse(&bytes, &ListingLimits::default());
            let _ = Listing::parse(&bytes[..cut], &ListingLimits::default());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Listing::parse(&bytes, &ListingLimits::default());
        }
    }
}
