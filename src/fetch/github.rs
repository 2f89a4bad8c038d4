use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::str::FromStr;

use jiff::Timestamp;
use reqwest::header::ETAG;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::Progress;
use super::body::Body;
use super::error::FetchError;
use super::http::{Answer, Get, Http};
use super::link::related;
use super::listing::{Asset, Listing, Origin};
use super::reach::{HostName, Reach, UrlRefusal, shown};
use super::relay::{Ask, Relay, Way, not_a_listing, parse};
use super::settings::HttpSettings;
use super::shared::{Kept, Shared, entity_tag};
use super::source::{Freshness, empty_before, whole_after};
use super::token::Token;
use crate::sys::PrivateDir;
use crate::types::ByteLimit;

/// The API of github.com.
pub const GITHUB_API: &str = "https://api.github.com";

/// How many releases a page holds, and how many pages are read: older releases are left out.
const PER_PAGE: u32 = 100;
const PAGES: u32 = 10;

/// Where github.com sends those who download, besides its API.
const DOWNLOAD_HOSTS: [&str; 3] =
    ["github.com", "objects.githubusercontent.com", "release-assets.githubusercontent.com"];

const API_FIELDS: &[(&str, &str)] =
    &[("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")];
const ASSET_FIELDS: &[(&str, &str)] = &[("accept", "application/octet-stream"), ("x-github-api-version", "2022-11-28")];

/// A repository, as `owner/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    owner: String,
    name: String,
}

/// Why a text is not a [`Repository`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a repository such as owner/name (no address, no further slash)")]
pub struct RepositoryError;

impl FromStr for Repository {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        let plain = |text: &str, more: &[u8]| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            (1..=100).contains(&text.len()) && text.bytes().all(known) && !text.bytes().all(|byte| byte == b'.')
        };
        match text.split_once('/') {
            Some((owner, name)) if plain(owner, b"-_") && plain(name, b"-_.") => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(RepositoryError),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// The releases of a repository on github.com or on a GitHub Enterprise server.
///
/// # Where the token goes
/// To the configured API alone (scheme, host, port and path), with the first request of each
/// exchange: a redirect is followed without it, to wherever it leads. With a token, files are had
/// from the API too, which redirects to a store; without one, from their public address.
#[derive(Debug)]
pub struct GitHubReleases {
    api: Url,
    repository: Repository,
    token: Option<Token>,
    http: Http,
    relay: Relay,
}

impl GitHubReleases {
    /// A source for this repository at the API with this address. `shared` is the folder in which
    /// the nodes of a host share listings. Opens nothing yet.
    #[must_use]
    pub fn new(
        api: Url,
        repository: Repository,
        token: Option<Token>,
        settings: &HttpSettings,
        shared: Option<PrivateDir>,
    ) -> Self {
        let mut settings = settings.clone();
        if api.host_str() == Some("api.github.com") {
            let hosts = DOWNLOAD_HOSTS.iter().filter_map(|host| host.parse::<HostName>().ok());
            settings.asset_hosts.extend(hosts);
        }
        let first = first_page(&api, &repository);
        // Who may see drafts and private repositories sees another listing.
        let name = format!("{first}{}", if token.is_some() { " with a token" } else { "" });
        let relay = Relay::new(shared.map(|dir| Shared::new(dir, &name, settings.listing_limit)));
        Self { api, repository, token, http: Http::new(&settings), relay }
    }

    /// As [`super::StaticListing::last_whole`].
    #[must_use]
    pub fn last_whole(&self) -> Option<Timestamp> {
        self.relay.last_whole()
    }

    pub(super) fn remember_whole(&self, at: Timestamp) {
        self.relay.remember_whole(Some(at));
    }

    /// The releases on offer. `now` is the time of the caller's decision.
    pub async fn releases(&self, freshness: Freshness, now: Timestamp) -> Result<Listing, FetchError> {
        let settings = self.http.settings();
        let listing = match self.relay.begin(settings, freshness, now).await? {
            Way::Here(listing) => listing,
            Way::Ask(Ask { stale, turn }) => {
                let (kept, origin) = self.ask(stale, now).await?;
                let listing = parse(&kept.body, || self.to_string(), settings)?;
                self.relay.finish(kept, origin).await?;
                drop(turn);
                Listing { origin, ..listing }
            }
        };
        self.relay.say_skipped(&listing);
        Ok(listing)
    }

    /// Reads page after page. The first one's entity tag stands for all: a new release is on it.
    async fn ask(&self, stale: Option<Kept>, now: Timestamp) -> Result<(Kept, Origin), FetchError> {
        let settings = self.http.settings();
        // Pages stay at the API: whatever the link says, the token goes nowhere else.
        let reach = Reach::new(self.api.clone(), Vec::new(), settings.plain_http_hosts.clone());
        let mut url = first_page(&self.api, &self.repository);
        let mut pages = Pages::new(settings);
        let mut etag = None;
        for page in 1..=PAGES {
            let get = Get {
                if_none_match: stale.as_ref().filter(|_| page == 1).and_then(|kept| kept.etag.as_ref()),
                fields: API_FIELDS,
                token: self.token.as_ref().and_then(|token| token.for_url(&self.api, &url)),
                ..Get::new(&url, &reach, settings.listing_limit, settings.listing_timeout)
            };
            let mut body = Body::Memory(Vec::new());
            let answer = self.http.get(&get, &mut body, &mut |_, _| {}).await;
            let (head, body) = match (answer, body, &stale) {
                (Ok(Answer::Whole { head, .. }), Body::Memory(body), _) => (head, body),
                (Ok(Answer::NotModified), _, Some(_)) => {
                    let kept = stale.expect("it is there in this arm");
                    return Ok((Kept { fetched_at: now, ..kept }, Origin::Confirmed));
                }
                (Ok(_), ..) => return Err(FetchError::Status { url: shown(&url), status: 304, retry_after: None }),
                (Err(error), ..) => return Err(self.explain(error)),
            };
            if page == 1 {
                etag = head.get(ETAG).and_then(|etag| entity_tag(etag.as_bytes()));
            }
            let more = pages.add(&body, || shown(&url))?;
            let Some(next) = related(&head, "next") else { break };
            if !more || page == PAGES {
                tracing::info!(event = "listing_pages_left_out", source = %self, read = page, "older releases are left out");
                break;
            }
            let refuse = |refusal| FetchError::Address { url: shown(&url), refusal };
            let next = url.join(&next).map_err(|_| refuse(UrlRefusal::NotAnAddress))?;
            url = next;
        }
        Ok((Kept { fetched_at: now, etag, name: None, body: pages.into_bytes() }, Origin::Whole))
    }

    /// What the API's refusals mean.
    fn explain(&self, error: FetchError) -> FetchError {
        match error {
            FetchError::Status { url, status: 401, .. } => {
                FetchError::TokenRefused { url, with_token: self.token.is_some() }
            }
            FetchError::Status { url, status: 404, .. } => {
                FetchError::NoRepository { url, with_token: self.token.is_some() }
            }
            other => other,
        }
    }

    /// Fetches one asset into `into`, at most `cap` bytes, and returns its length. The file is
    /// overwritten; it is at its start afterwards, and empty after an error.
    pub async fn fetch_asset(
        &self,
        asset: &Asset,
        into: &mut File,
        cap: ByteLimit,
        progress: &mut Progress<'_>,
    ) -> Result<u64, FetchError> {
        empty_before(asset, into, cap)?;
        let settings = self.http.settings();
        let reach = Reach::new(self.api.clone(), settings.asset_hosts.clone(), settings.plain_http_hosts.clone());
        let from_api = self.token.as_ref().and_then(|token| {
            let url: Url = asset.api_address.as_ref()?.parse().ok()?;
            let bearer = token.for_url(&self.api, &url)?;
            Some((url, bearer))
        });
        let received = if let Some((url, bearer)) = from_api {
            let get = Get {
                fields: ASSET_FIELDS,
                token: Some(bearer),
                ..Get::new(&url, &reach, cap, settings.asset_timeout)
            };
            self.http.download_as(get, into, progress).await.map_err(|error| self.explain(error))?
        } else {
            let refused = |_| FetchError::Address { url: asset.shown(), refusal: UrlRefusal::NotAnAddress };
            let url: Url = asset.address.parse().map_err(refused)?;
            self.http.download(&url, &reach, into, cap, progress).await?
        };
        whole_after(asset, into, received)
    }
}

impl fmt::Display for GitHubReleases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.repository, shown(&self.api))
    }
}

fn first_page(api: &Url, Repository { owner, name }: &Repository) -> Url {
    let mut url = api.clone();
    url.set_path(&format!("{}/repos/{owner}/{name}/releases", api.path().trim_end_matches('/')));
    url.set_query(Some(&format!("per_page={PER_PAGE}")));
    url.set_fragment(None);
    url
}

/// Pages, put together to one listing.
pub(super) struct Pages<'a> {
    settings: &'a HttpSettings,
    bytes: Vec<u8>,
    count: usize,
    seen: HashSet<u64>,
}

#[derive(Deserialize)]
struct Numbered {
    id: Option<u64>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(settings: &'a HttpSettings) -> Self {
        Self { settings, bytes: b"[".to_vec(), count: 0, seen: HashSet::new() }
    }

    /// Adds a page; `false` when that is all that a listing may hold.
    pub(super) fn add(&mut self, page: &[u8], url: impl FnOnce() -> String) -> Result<bool, FetchError> {
        let entries: Vec<&RawValue> =
            serde_json::from_slice(page).map_err(|source| not_a_listing(page, url(), source))?;
        for entry in entries {
            // A release that appears while pages are read moves the last one of a page to the next.
            let id = serde_json::from_str::<Numbered>(entry.get()).ok().and_then(|numbered| numbered.id);
            if id.is_some_and(|id| !self.seen.insert(id)) {
                continue;
            }
            let length = self.bytes.len() + entry.get().len() + 2;
            if self.count == self.settings.listing_limits.releases || !self.settings.listing_limit.admits(length as u64)
            {
                return Ok(false);
            }
            if self.count > 0 {
                self.bytes.push(b',');
            }
            self.bytes.extend_from_slice(entry.get().as_bytes());
            self.count += 1;
        }
        Ok(true)
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.push(b']');
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_repository_is_an_owner_and_a_name() {
        assert_eq!("a-b/c.d_e".parse::<Repository>().unwrap().to_string(), "a-b/c.d_e");
        for bad in
            ["", "a", "a/", "/b", "a/b/c", "a/..", "./b", "../b", "a/b?c", "a b/c", "https://github.com/a/b", "a/b%2f"]
        {
            assert_eq!(bad.parse::<Repository>(), Err(RepositoryError), "{bad:?}");
        }
    }

    #[test]
    fn the_api_may_lie_below_a_path() {
        let repository = "a/b".parse().unwrap();
        for (api, page) in [
            ("https://api.github.com", "https://api.github.com/repos/a/b/releases?per_page=100"),
            ("https://ghe.example/api/v3/", "https://ghe.example/api/v3/repos/a/b/releases?per_page=100"),
        ] {
            assert_eq!(first_page(&api.parse().unwrap(), &repository).as_str(), page);
        }
    }

    #[test]
    fn an_entry_that_moved_to_the_next_page_is_there_once() {
        let settings = HttpSettings::default();
        let mut pages = Pages::new(&settings);
        for page in [
            r#"[{"id":3,"tag_name":"v3.0.0"},{"id":2,"tag_name":"v2.0.0"}]"#,
            r#"[{"id":2,"tag_name":"v2.0.0"},{"id":1,"tag_name":"v1.0.0"}]"#,
            "[]",
        ] {
            assert!(pages.add(page.as_bytes(), String::new).unwrap());
        }
        let listing = Listing::parse(&pages.into_bytes(), &settings.listing_limits).unwrap();
        assert_eq!((listing.releases.len(), listing.skipped.len()), (3, 0));
    }

    #[test]
    fn pages_are_bounded_together() {
        let limit = ByteLimit::bytes(60);
        let settings = HttpSettings { listing_limit: limit, ..HttpSettings::default() };
        let mut pages = Pages::new(&settings);
        let page = br#"[{"tag_name":"v3.0.0"},{"tag_name":"v2.0.0"},{"tag_name":"v1.0.0"}]"#;
        assert!(!pages.add(page, String::new).unwrap());
        let bytes = pages.into_bytes();
        assert!(limit.admits(bytes.len() as u64));
        assert_eq!(Listing::parse(&bytes, &settings.listing_limits).unwrap().releases.len(), 2);
    }

    proptest! {
        #[test]
        fn whatever_pages_hold_they_make_one_listing(pages in prop::collection::vec("[\\[\\]{}\",:0-9a-z ]{0,40}", 0..4)) {
            let settings = HttpSettings::default();
            let mut all = Pages::new(&settings);
            for page in pages {
                let _ = all.add(page.as_bytes(), String::new);
            }
            prop_assert!(Listing::parse(&all.into_bytes(), &settings.listing_limits).is_ok());
        }
    }
}
