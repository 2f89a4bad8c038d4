use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sums::SUMS;
use crate::types::{ArchiveFormat, ByteLimit, ReleaseId, Sha256Digest, Version};

/// The listing's file name at the root of a published tree.
pub(super) const LISTING: &str = "releases.json";

/// More than a thousand releases.
pub(super) const LISTING_LIMIT: ByteLimit = ByteLimit::mib(16);

/// The listing of a published tree. Entries that this program did not write, and members of entries
/// that it does not know, stay as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Listing(Vec<Value>);

/// The members of an entry that matter here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) tag_name: String,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) draft: bool,
    #[serde(default)]
    pub(super) prerelease: bool,
    #[serde(default)]
    pub(super) html_url: Option<String>,
    #[serde(default)]
    pub(super) assets: Vec<Asset>,
}

/// One downloadable file of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asset {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) browser_download_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
}

/// What a new release says of itself, beside its files.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) id: ReleaseId,
    pub(super) prerelease: bool,
    pub(super) notes_url: Option<String>,
    pub(super) published_at: jiff::Timestamp,
}

/// Why a release does not go into a listing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// Not a JSON array of releases.
    #[error("it is not a JSON array of releases, each with a tag_name and assets; repair or remove it")]
    Malformed,
    /// Two entries for one version.
    #[error("it lists version {0} twice; remove one of the entries")]
    Twice(Version),
    /// The version and target are published already, with other content.
    #[error(
        "{name} of version {version} is published already, with other content. What was published stays as it is: \
         give the new content a new version"
    )]
    Published {
        /// The published archive.
        name: String,
        /// Its version.
        version: Version,
    },
    /// The version is not there.
    #[error("it does not list version {0}; nothing was changed")]
    NotListed(Version),
    /// The version is there, and was withdrawn.
    #[error(
        "version {0} was withdrawn, and stays what it was: give other content a new version, or offer it again \
         with `exuvia-release withdraw --undo`"
    )]
    Withdrawn(Version),
    /// The version is there, and says something else about itself.
    #[error("version {version} is listed already with another {member}; all targets of a version share it")]
    Disagrees {
        /// The version.
        version: Version,
        /// The member of the entry that differs.
        member: &'static str,
    },
}

/// What putting a release into a listing came to.
#[derive(Debug, PartialEq)]
pub(super) enum Added {
    /// The listing that now holds it.
    New(Listing),
    /// It was there, byte for byte the same archive.
    Same,
}

impl Asset {
    pub(super) fn new(name: String, size: u64, digest: Option<Sha256Digest>, base: &str) -> Self {
        let content_type = match ArchiveFormat::of_name(&name) {
            Some(ArchiveFormat::TarGz) => "application/gzip",
            Some(ArchiveFormat::TarZst) => "application/zstd",
            None if name == SUMS => "text/plain",
            None => "application/octet-stream",
        };
        Self {
            browser_download_url: format!("{base}{name}"),
            content_type: Some(content_type.to_owned()),
            digest: digest.map(|digest| format!("sha256:{digest}")),
            name,
            size,
        }
    }
}

impl Entry {
    pub(super) fn version(&self) -> Option<Version> {
        Version::from_tag(&self.tag_name).ok()
    }
}

impl Listing {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ListingError> {
        let listing = Self(serde_json::from_slice(bytes).map_err(|_| ListingError::Malformed)?);
        listing.entries()?;
        Ok(listing)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(&self.0).expect("values serialise");
        bytes.push(b'\n');
        bytes
    }

    pub(super) fn entries(&self) -> Result<Vec<Entry>, ListingError> {
        self.0.iter().map(|value| Entry::deserialize(value).map_err(|_| ListingError::Malformed)).collect()
    }

    /// Puts a release into the listing, newest version first. `assets` begins with the archive.
    pub(super) fn add(mut self, about: &About, assets: &[Asset]) -> Result<Added, ListingError> {
        let version = &about.id.version;
        let Some((index, entry)) = self.find(version)? else {
            self.0.push(new_entry(about, assets));
            return Ok(Added::New(self.sorted()));
        };
        let disagrees = |member| Err(ListingError::Disagrees { version: version.clone(), member });
        if entry.draft {
            return Err(ListingError::Withdrawn(version.clone()));
        }
        if entry.name.as_deref().is_some_and(|name| name != title(&about.id)) {
            return disagrees("product (each has a folder of its own)");
        }
        if entry.prerelease != about.prerelease {
            return disagrees("prerelease mark");
        }
        if about.notes_url.is_some() && entry.html_url != about.notes_url {
            return disagrees("address of its notes");
        }
        let stem = about.id.asset_stem();
        let archive = ArchiveFormat::ALL
            .iter()
            .find_map(|format| entry.assets.iter().find(|asset| asset.name == format!("{stem}{}", format.suffix())));
        if let Some(published) = archive {
            let [ours, ..] = assets else { return Ok(Added::Same) };
            if (&published.name, published.size, &published.digest) != (&ours.name, ours.size, &ours.digest) {
                return Err(ListingError::Published { name: published.name.clone(), version: version.clone() });
            }
            return Ok(Added::Same);
        }
        let mut all: Vec<Value> = match self.0[index].get_mut("assets") {
            Some(Value::Array(all)) => std::mem::take(all),
            _ => Vec::new(),
        };
        let name_of = |value: &Value| value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        all.retain(|value| !assets.iter().any(|asset| asset.name == name_of(value)));
        all.extend(assets.iter().map(to_value));
        all.sort_by_key(name_of);
        self.0[index]["assets"] = Value::Array(all);
        Ok(Added::New(self.sorted()))
    }

    /// Marks the entry of that version as a draft, or as none; whether that was a change.
    pub(super) fn set_draft(&mut self, version: &Version, draft: bool) -> Result<bool, ListingError> {
        let (index, entry) = self.find(version)?.ok_or_else(|| ListingError::NotListed(version.clone()))?;
        self.0[index]["draft"] = Value::Bool(draft);
        Ok(entry.draft != draft)
    }

    /// The one entry of that version, and where it stands.
    fn find(&self, version: &Version) -> Result<Option<(usize, Entry)>, ListingError> {
        let entries = self.entries()?.into_iter().enumerate();
        let mut found = entries.filter(|(_, entry)| entry.version().as_ref() == Some(version));
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(ListingError::Twice(version.clone())),
            (found, None) => Ok(found),
        }
    }

    fn sorted(mut self) -> Self {
        let version = |value: &Value| Version::from_tag(value.get("tag_name")?.as_str()?).ok();
        self.0.sort_by_key(|value| Reverse(version(value)));
        self
    }
}

fn title(id: &ReleaseId) -> String {
    format!("{} {}", id.product, id.version)
}

fn new_entry(about: &About, assets: &[Asset]) -> Value {
    let mut assets: Vec<_> = assets.iter().collect();
    assets.sort_by(|a, b| a.name.cmp(&b.name));
    let mut entry = serde_json::json!({
        "tag_name": format!("v{}", about.id.version),
        "name": title(&about.id),
        "draft": false,
        "prerelease": about.prerelease,
        "published_at": about.published_at.to_string(),
        "body": "",
        "assets": assets.into_iter().map(to_value).collect::<Vec<_>>(),
    });
    if let Some(url) = &about.notes_url {
        entry["html_url"] = Value::String(url.clone());
    }
    entry
}

fn to_value(asset: &Asset) -> Value {
    serde_json::to_value(asset).expect("an asset serialises")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(version: &str, target: &str) -> About {
        About {
            id: ReleaseId {
                product: "exuvia".parse().unwrap(),
                version: version.parse().unwrap(),
                target: target.parse().unwrap(),
            },
            prerelease: false,
            notes_url: None,
            published_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn assets(about: &About, byte: u8) -> Vec<Asset> {
        let name = format!("{}.tar.zst", about.id.asset_stem());
        vec![Asset::new(name, 7, Some(Sha256Digest::from_bytes([byte; 32])), "1.0.0/")]
    }

    fn with(listing: Listing, version: &str, target: &str) -> Listing {
        let about = about(version, target);
        match listing.add(&about, &assets(&about, 1)).unwrap() {
            Added::New(listing) => listing,
            Added::Same => panic!("it is new"),
        }
    }

    #[test]
    fn releases_stand_newest_first_and_targets_of_a_version_share_an_entry() {
        let mut listing = Listing::default();
        for version in ["1.9.0", "1.10.0", "1.10.0-rc.1"] {
            for target in ["b", "a"] {
                listing = with(listing, version, target);
            }
        }
        let listing = Listing::parse(&listing.to_bytes()).unwrap();
        let entries = listing.entries().unwrap();
        let tags: Vec<_> = entries.iter().map(|entry| entry.tag_name.as_str()).collect();
        assert_eq!(tags, ["v1.10.0", "v1.10.0-rc.1", "v1.9.0"]);
        let names: Vec<_> = entries[0].assets.iter().map(|asset| asset.name.as_str()).collect();
        assert_eq!(names, ["exuvia-a.tar.zst", "exuvia-b.tar.zst"]);
    }

    #[test]
    fn a_published_archive_is_never_replaced() {
        let listing = with(Listing::default(), "1.0.0", "a");
        let about = about("1.0.0", "a");
        assert_eq!(listing.clone().add(&about, &assets(&about, 1)), Ok(Added::Same));
        let published =
            |name: &str| Err(ListingError::Published { name: name.to_owned(), version: about.id.version.clone() });
        assert_eq!(listing.clone().add(&about, &assets(&about, 2)), published("exuvia-a.tar.zst"));
        // Two formats for one target would leave a node without a choice.
        let mut other_format = assets(&about, 1);
        other_format[0].name = "exuvia-a.tar.gz".to_owned();
        assert_eq!(listing.add(&about, &other_format), published("exuvia-a.tar.zst"));
    }

    #[test]
    fn what_others_wrote_stays() {
        let text = r#"[{"tag_name":"nightly","assets":[],"x":1},{"tag_name":"v1.0.0","y":[2],"assets":[{"name":"z","size":1,"browser_download_url":"u","q":3}]}]"#;
        let listing = with(with(Listing::parse(text.as_bytes()).unwrap(), "1.0.0", "a"), "2.0.0", "a");
        let value: Value = serde_json::from_slice(&listing.to_bytes()).unwrap();
        assert_eq!(value[0]["tag_name"], "v2.0.0");
        assert_eq!((&value[1]["tag_name"], &value[1]["y"][0]), (&"v1.0.0".into(), &2.into()));
        assert_eq!((&value[1]["assets"][1]["name"], &value[1]["assets"][1]["q"]), (&"z".into(), &3.into()));
        assert_eq!((&value[2]["tag_name"], &value[2]["x"]), (&"nightly".into(), &1.into()));
    }

    #[test]
    fn a_listing_that_is_none_is_refused() {
        for text in ["", "{}", "[1]", "[{}]", r#"[{"tag_name":1}]"#, &"[".repeat(10_000)] {
            assert_eq!(Listing::parse(text.as_bytes()), Err(ListingError::Malformed), "{text:.20}");
        }
        let twice = Listing::parse(br#"[{"tag_name":"v1.0.0"},{"tag_name":"1.0.0"}]"#).unwrap();
        let about = about("1.0.0", "a");
        let refused = twice.add(&about, &assets(&about, 1));
        assert_eq!(refused, Err(ListingError::Twice("1.0.0".parse().unwrap())));
    }

    #[test]
    fn a_version_says_one_thing_about_itself() {
        let listing = with(Listing::default(), "1.0.0", "a");
        let other = |change: &dyn Fn(&mut About)| {
            let mut about = about("1.0.0", "b");
            change(&mut about);
            let assets = assets(&about, 1);
            matches!(listing.clone().add(&about, &assets), Err(ListingError::Disagrees { .. }))
        };
        assert!(!other(&|_| ()));
        assert!(other(&|about| about.prerelease = true));
        assert!(other(&|about| about.notes_url = Some("https://example.org".to_owned())));
        assert!(other(&|about| about.id.product = "other".parse().unwrap()));
    }
}
