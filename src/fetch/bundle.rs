use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use url::Url;

use super::Progress;
use super::error::FetchError;
use super::folder::{ReleaseFolder, copy_on, lost, plain_names};
use super::listing::{Asset, Listing, printable};
use super::reach::UrlRefusal;
use super::relay::parse;
use super::settings::HttpSettings;
use super::source::{empty_before, whole_after};
use super::tar_bundle::{BundleError, TarBundle};
use super::tuf::{TufClient, carried, hold_to};
use crate::sys::{Dir, Refusal};
use crate::types::ByteLimit;

const LISTING: &str = "releases.json";
const TIMESTAMP: &str = "timestamp.json";
/// As in a published repository.
const METADATA: &str = "metadata/";
const TARGETS: &str = "targets/";

/// Releases that somebody carried here: a published tree, as a folder or as a tar file of it.
///
/// Nothing in it is trusted more than what a server sends. Addresses that lead elsewhere, because
/// the tree was made for a web server, are looked for in the bundle by the end of their path.
///
/// Where it holds release metadata, below `metadata/`, and the program a root of trust, that metadata decides what
/// is offered, as a repository's does: see [`Self::with_metadata`].
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    content: Content,
    settings: HttpSettings,
    client: Option<TufClient>,
    valid_at: Option<Timestamp>,
}

#[derive(Debug)]
enum Content {
    Folder,
    Tar(TarBundle),
}

impl Bundle {
    /// Opens a bundle; of a tar file, every header is read and judged. Blocks on the disk.
    pub fn open(path: &Path, settings: &HttpSettings) -> Result<Self, FetchError> {
        // An operator named it, and may have done so by a link.
        let (path, content) = match Dir::of_operator(path) {
            Ok(dir) => (dir.path().to_owned(), Content::Folder),
            Err(error) if error.refusal() == Some(&Refusal::NotADirectory) => {
                (path.to_owned(), Content::Tar(TarBundle::open(path)?))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path, content, settings: settings.clone(), client: None, valid_at: None })
    }

    /// Has the bundle's metadata verified from this root, against what this node trusts already, and as it was at
    /// that time instead of now. With a time, a bundle without metadata is refused.
    #[must_use]
    pub fn with_metadata(self, client: Option<TufClient>, valid_at: Option<Timestamp>) -> Self {
        Self { client, valid_at, ..self }
    }

    /// The releases in it. `now` is the time of the caller's decision.
    pub async fn releases(&self, now: Timestamp) -> Result<Listing, FetchError> {
        let refused = |source| FetchError::Bundle { path: self.path.clone(), source };
        let has_metadata = self.metadata_file(TIMESTAMP, self.settings.listing_limit).await?.is_some();
        match (&self.client, self.valid_at) {
            (Some(client), valid_at) if has_metadata => {
                return carried::refresh(self, client, valid_at.unwrap_or(now)).await;
            }
            (None, Some(_)) => return Err(refused(BundleError::NoRoot)),
            (Some(_), Some(_)) => return Err(refused(BundleError::NoMetadata)),
            (_, None) => {}
        }
        self.listing().await
    }

    /// What its listing names, whatever its metadata says.
    pub async fn listing(&self) -> Result<Listing, FetchError> {
        let bytes = self.file(LISTING, self.settings.listing_limit).await?;
        let listing = parse(&bytes, || self.path.join(LISTING).display().to_string(), &self.settings)?;
        for skipped in &listing.skipped {
            let tag = &skipped.tag;
            tracing::info!(
                event = "listing_release_skipped",
                tag,
                "leaving out the release \"{tag}\": {}",
                skipped.reason
            );
        }
        Ok(listing)
    }

    /// A file of the bundle's metadata; `None` where there is none of that name.
    pub(super) async fn metadata_file(&self, name: &str, limit: ByteLimit) -> Result<Option<Vec<u8>>, FetchError> {
        match self.file(&format!("{METADATA}{name}"), limit).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FetchError::Folder(error)) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn file(&self, name: &str, limit: ByteLimit) -> Result<Vec<u8>, FetchError> {
        match &self.content {
            Content::Folder => ReleaseFolder::new(&self.path).read(name, limit).await,
            Content::Tar(tar) => {
                let (member, path) = (tar.member(name, limit)?, self.path.join(name));
                lost(spawn_blocking(move || member.read(&path).map_err(FetchError::from))).await
            }
        }
    }

    /// Copies one asset into `into`, at most `cap` bytes, and returns its length. The file is
    /// overwritten; it is at its start afterwards, and empty after an error.
    pub async fn fetch_asset(
        &self,
        asset: &Asset,
        into: &mut File,
        cap: ByteLimit,
        progress: &mut Progress<'_>,
    ) -> Result<u64, FetchError> {
        empty_before(asset, into, cap)?;
        let mut missing = None;
        for name in candidates(asset)? {
            let outcome = match &self.content {
                Content::Folder => ReleaseFolder::new(&self.path).copy(&name, into, cap, progress).await,
                Content::Tar(tar) => match tar.member(&name, cap) {
                    Ok(member) => copy_on(member, &self.path.join(&name), into, progress).await,
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Ok(received) => {
                    let received = whole_after(asset, into, received)?;
                    if let Some(described) = &asset.described {
                        hold_to(described, into, self.path.join(&name).display().to_string()).await?;
                    }
                    return Ok(received);
                }
                Err(FetchError::Folder(error)) if error.is_not_found() => {
                    missing.get_or_insert(FetchError::Folder(error));
                }
                Err(error) => return Err(error),
            }
        }
        Err(missing.unwrap_or_else(|| outside(&asset.address)))
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// The names under which the bundle may hold an asset. What metadata describes lies where `cache export` puts it, or
/// as in a published repository.
fn candidates(asset: &Asset) -> Result<Vec<String>, FetchError> {
    let mut names = named(&asset.address)?;
    if let Some(described) = &asset.described {
        let path = plain_names(described.path()).ok_or_else(|| outside(described.path()))?.join("/");
        let (folder, name) = path.rsplit_once('/').map_or(("", path.as_str()), |(folder, name)| (folder, name));
        names.push(format!("{TARGETS}{path}"));
        names.extend(asset.digest.map(|digest| format!("{TARGETS}{folder}/{digest}.{name}")));
    }
    Ok(names)
}

/// The names under which the bundle may hold what has this address, longest first.
pub(super) fn named(address: &str) -> Result<Vec<String>, FetchError> {
    let whole = |names: Vec<String>| names.join("/");
    if !address.contains("://") {
        return plain_names(address).map(|names| vec![whole(names)]).ok_or_else(|| outside(address));
    }
    let url: Url = address.parse().map_err(|_| outside(address))?;
    let names = plain_names(url.path().trim_start_matches('/')).ok_or_else(|| outside(address))?;
    Ok((0..names.len()).map(|from| whole(names[from..].to_vec())).collect())
}

fn outside(address: &str) -> FetchError {
    FetchError::Address { url: printable(address), refusal: UrlRefusal::OutsideFolder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_web_server_is_looked_for_by_its_end() {
        assert_eq!(named("1.0.0/a.tar").unwrap(), ["1.0.0/a.tar"]);
        let web = named("https://dl.example/p/1.0.0/a.tar?x=1").unwrap();
        assert_eq!(web, ["p/1.0.0/a.tar", "1.0.0/a.tar", "a.tar"]);
        for bad in ["", "/etc/passwd", "../a", "https://dl.example/", "https://dl.example/%2e%2e%2fa", "file:///%00"] {
            assert!(matches!(named(bad), Err(FetchError::Address { .. })), "{bad}");
        }
    }
}
