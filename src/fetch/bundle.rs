use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

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
use super::tar_bundle::TarBundle;
use crate::sys::{Dir, Refusal};
use crate::types::ByteLimit;

const LISTING: &str = "releases.json";

/// Releases that somebody carried here: a published tree, as a folder or as a tar file of it.
///
/// Nothing in it is trusted more than what a server sends. Addresses that lead elsewhere, because
/// the tree was made for a web server, are looked for in the bundle by the end of their path.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    content: Content,
    settings: HttpSettings,
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
        Ok(Self { path, content, settings: settings.clone() })
    }

    /// The releases in it.
    pub async fn releases(&self) -> Result<Listing, FetchError> {
        let limit = self.settings.listing_limit;
        let bytes = match &self.content {
            Content::Folder => ReleaseFolder::new(&self.path).listing(limit).await?,
            Content::Tar(tar) => {
                let member = tar.member(LISTING, limit)?;
                let path = self.path.clone();
                lost(spawn_blocking(move || member.read(&path.join(LISTING)).map_err(FetchError::from))).await?
            }
        };
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
        for name in candidates(&asset.address)? {
            let outcome = match &self.content {
                Content::Folder => ReleaseFolder::new(&self.path).copy(&name, into, cap, progress).await,
                Content::Tar(tar) => match tar.member(&name, cap) {
                    Ok(member) => copy_on(member, &self.path.join(&name), into, progress).await,
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Ok(received) => return whole_after(asset, into, received),
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

/// The names under which the bundle may hold what has this address, longest first.
pub(super) fn candidates(address: &str) -> Result<Vec<String>, FetchError> {
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
        assert_eq!(candidates("1.0.0/a.tar").unwrap(), ["1.0.0/a.tar"]);
        let web = candidates("https://dl.example/p/1.0.0/a.tar?x=1").unwrap();
        assert_eq!(web, ["p/1.0.0/a.tar", "1.0.0/a.tar", "a.tar"]);
        for bad in ["", "/etc/passwd", "../a", "https://dl.example/", "https://dl.example/%2e%2e%2fa", "file:///%00"] {
            assert!(matches!(candidates(bad), Err(FetchError::Address { .. })), "{bad}");
        }
    }
}
