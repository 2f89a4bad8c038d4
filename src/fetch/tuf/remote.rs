//! One place with metadata, over HTTP, and what siblings keep of it.

use std::io::Write;

use jiff::Timestamp;
use reqwest::header::ETAG;
use tokio::task::spawn_blocking;
use url::Url;

use super::super::body::Body;
use super::super::error::FetchError;
use super::super::folder::lost;
use super::super::http::{Answer, Get, Http};
use super::super::listing::Origin;
use super::super::mirror::Mirror;
use super::super::reach::{Reach, shown};
use super::super::shared::{Kept, Shared, entity_tag};
use crate::sys::PrivateDir;
use crate::tuf::{self, Limits, RemoteFile, Repository};
use crate::types::ByteLimit;

const TIMESTAMP: &str = "timestamp.json";

/// A repository's metadata at one place.
pub(super) struct Remote<'a> {
    pub(super) http: &'a Http,
    pub(super) base: &'a Mirror,
    /// Whether no other place is left to ask.
    pub(super) is_last: bool,
    /// What siblings keep of this repository, if that may be used.
    pub(super) shared: Option<&'a Sharing>,
    pub(super) now: Timestamp,
    /// How the timestamp was come by.
    pub(super) origin: Origin,
    /// Whether anything came from a sibling.
    pub(super) relied: bool,
    /// What was received, to be passed on once all of it is trusted.
    pub(super) received: Vec<(String, Kept)>,
}

/// Metadata that the nodes of a host keep for each other: the timestamp for as long as a listing would be,
/// and files that are named by their version for as long as that is the newest.
#[derive(Debug)]
pub(super) struct Sharing {
    dir: PrivateDir,
    place: String,
}

impl Sharing {
    pub(super) fn new(dir: PrivateDir, own: &Mirror) -> Self {
        Self { dir, place: own.to_string() }
    }

    /// The one copy of a role's file. Each root has its own, because clients need all of them.
    fn copy(&self, file: &str) -> Shared {
        let role = match file.split_once('.') {
            Some((_, "root.json")) | None => file,
            Some((number, role)) if number.bytes().all(|byte| byte.is_ascii_digit()) => role,
            Some(_) => file,
        };
        Shared::new(self.dir.clone(), &format!("{} {role}", self.place), limit(role))
    }

    pub(super) fn turn(&self) -> Shared {
        self.copy(TIMESTAMP)
    }

    async fn load(&self, file: &str) -> Result<Option<Kept>, FetchError> {
        let (shared, file) = (self.copy(file), file.to_owned());
        let kept = lost(spawn_blocking(move || Ok(shared.load()))).await?;
        Ok(kept.filter(|kept| kept.name.as_deref() == Some(&file)))
    }

    /// Passes on to siblings what was verified.
    pub(super) async fn store(&self, received: Vec<(String, Kept)>) -> Result<(), FetchError> {
        let copies: Vec<_> = received.into_iter().map(|(file, kept)| (self.copy(&file), kept)).collect();
        let store = move || {
            for (shared, kept) in &copies {
                shared.store(kept);
            }
            Ok(())
        };
        lost(spawn_blocking(store)).await
    }
}

/// The longest file of that name; a role that is not of the top level is no longer than targets.
pub(super) fn limit(file: &str) -> ByteLimit {
    let limits = Limits::default();
    match file {
        TIMESTAMP => limits.timestamp,
        file if file.ends_with("root.json") => limits.root,
        file if file.ends_with("snapshot.json") => limits.snapshot,
        _ => limits.targets,
    }
}

impl Remote<'_> {
    async fn bytes(&mut self, file: &str) -> Result<Option<Vec<u8>>, FetchError> {
        let kept = match self.shared {
            Some(shared) => shared.load(file).await?,
            None => None,
        };
        let is_timestamp = file == TIMESTAMP;
        // Whoever asked for the timestamp a short time ago asked for the next root before.
        if kept.is_none() && file.ends_with(".root.json") && self.asked_lately().await? {
            self.relied = true;
            return Ok(None);
        }
        let stale = match kept {
            Some(kept) if !is_timestamp || kept.is_fresh(self.now, self.http.settings().listing_lifetime) => {
                self.relied = true;
                if is_timestamp {
                    self.origin = Origin::Sibling;
                }
                return Ok(Some(kept.body));
            }
            kept => kept,
        };
        let kept = match self.ask(file, stale).await {
            Ok(kept) => kept,
            // Proven by what others say, and never by silence: see `Updater`.
            Err(FetchError::Status { status: 403 | 404, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let body = kept.body.clone();
        self.received.push((file.to_owned(), kept));
        Ok(Some(body))
    }

    /// Whether a sibling asked the server a short time ago.
    async fn asked_lately(&self) -> Result<bool, FetchError> {
        let Some(shared) = self.shared else { return Ok(false) };
        let lifetime = self.http.settings().listing_lifetime;
        Ok(shared.load(TIMESTAMP).await?.is_some_and(|kept| kept.is_fresh(self.now, lifetime)))
    }

    async fn ask(&mut self, file: &str, stale: Option<Kept>) -> Result<Kept, FetchError> {
        let mut url: Url = self.base.url().clone();
        url.set_path(&format!("{}{file}", self.base.url().path()));
        let settings = self.http.settings();
        let reach =
            Reach::new(self.base.url().clone(), settings.asset_hosts.clone(), settings.plain_http_hosts.clone());
        let get = Get {
            if_none_match: stale.as_ref().and_then(|kept| kept.etag.as_ref()),
            is_last: self.is_last,
            ..Get::new(&url, &reach, limit(file), settings.listing_timeout)
        };
        let mut body = Body::Memory(Vec::new());
        let answer = self.http.get(&get, &mut body, &mut |_, _| {}).await?;
        match (answer, body, stale) {
            (Answer::NotModified, _, Some(stale)) => {
                self.relied = true;
                self.origin = Origin::Confirmed;
                Ok(Kept { fetched_at: self.now, ..stale })
            }
            (Answer::Whole { head, .. }, Body::Memory(body), _) => {
                let etag = head.get(ETAG).and_then(|etag| entity_tag(etag.as_bytes()));
                Ok(Kept { fetched_at: self.now, etag, name: Some(file.to_owned()), body })
            }
            // Nothing was asked that this could answer.
            _ => Err(FetchError::Status { url: shown(&url), status: 304, retry_after: None }),
        }
    }
}

impl Repository for Remote<'_> {
    type Error = FetchError;

    async fn fetch(&mut self, file: RemoteFile<'_>, into: &mut (dyn Write + Send)) -> Result<tuf::Answer, FetchError> {
        // Targets are had from other places, in another way.
        let RemoteFile::Metadata(file) = file else { return Ok(tuf::Answer::Absent) };
        let Some(bytes) = self.bytes(file).await? else { return Ok(tuf::Answer::Absent) };
        // Longer than other metadata says: the caller knows, and says so.
        match into.write_all(&bytes) {
            Ok(()) => Ok(tuf::Answer::Whole),
            Err(source) => Err(FetchError::Write { url: format!("{}{file}", self.base), source }),
        }
    }
}
