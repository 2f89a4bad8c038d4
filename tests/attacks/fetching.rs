//! What the tests about fetching share: short bounds, a sink to look into, a shared folder to look into.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use exuvia::fetch::{Asset, FetchError, Freshness, HttpSettings, Listing, StaticListing};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::ByteLimit;
use jiff::Timestamp;
use tempfile::TempDir;

use crate::http_server::Server;

pub(crate) const CAP: ByteLimit = ByteLimit::kib(64);

/// Bounds as in a node, but short; one attempt.
pub(crate) fn settings() -> HttpSettings {
    HttpSettings {
        connect_timeout: Duration::from_secs(2),
        stall_timeout: Duration::from_secs(1),
        listing_timeout: Duration::from_secs(4),
        asset_timeout: Duration::from_secs(4),
        attempts: 1,
        listing_limit: CAP,
        ..HttpSettings::default()
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A folder in which listings are shared.
pub(crate) struct SharedDir {
    pub(crate) root: TempDir,
}

impl SharedDir {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn open(&self) -> PrivateDir {
        PrivateDir::open_or_create(self.root.path().join("listings"), Loose::Tighten).unwrap()
    }

    /// The names of shared listings, and of anything temporary; locks stay for ever.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let names = self.open().names().unwrap();
        names.into_iter().filter(|name| Path::new(name).extension() != Some("lock".as_ref())).collect()
    }
}

pub(crate) fn source(server: &Server, settings: &HttpSettings, shared: Option<&SharedDir>) -> StaticListing {
    let location = server.url("/releases.json").parse().unwrap();
    StaticListing::new(location, settings, shared.map(SharedDir::open))
}

pub(crate) async fn poll(source: &StaticListing) -> Result<Listing, FetchError> {
    source.releases(Freshness::Shared, now()).await
}

/// A listing with one release and one asset, whose size is stated where `size` is given.
pub(crate) fn listing_json(name: &str, address: &str, size: Option<u64>) -> String {
    let asset = serde_json::json!({ "name": name, "browser_download_url": address, "size": size });
    serde_json::json!([{ "tag_name": "v1.0.0", "assets": [asset] }]).to_string()
}

pub(crate) fn asset(address: &str, size: Option<u64>) -> Asset {
    let listing = Listing::parse(listing_json("a", address, size).as_bytes(), &settings().listing_limits).unwrap();
    listing.releases[0].assets[0].clone()
}

/// A sink that held something before, so that "empty afterwards" means that somebody emptied it.
pub(crate) struct Sink(pub(crate) File);

impl Sink {
    pub(crate) fn new() -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"what an earlier attempt left").unwrap();
        Self(file)
    }

    pub(crate) fn content(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.rewind().unwrap();
        self.0.read_to_end(&mut bytes).unwrap();
        bytes
    }
}

/// Fetches `/asset` and, when that fails, shows that the sink is empty.
pub(crate) async fn fetch(server: &Server, size: Option<u64>, settings: &HttpSettings) -> Result<Vec<u8>, FetchError> {
    fetch_from(&source(server, settings, None), &asset("/asset", size)).await
}

pub(crate) async fn fetch_from(source: &StaticListing, asset: &Asset) -> Result<Vec<u8>, FetchError> {
    let mut sink = Sink::new();
    let outcome = source.fetch_asset(asset, &mut sink.0, CAP, &mut |_, _| {}).await;
    let content = sink.content();
    match outcome {
        Ok(length) => {
            assert_eq!(content.len() as u64, length);
            Ok(content)
        }
        Err(error) => {
            assert_eq!(content, b"", "after {error}");
            Err(error)
        }
    }
}
