//! Row A12, the token: where it goes, and that it goes nowhere else, whoever asks for it. And pages
//! without end (row B2).

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex};

use exuvia::fetch::{Asset, FetchError, Freshness, GitHubReleases, UrlRefusal};
use sha2::{Digest, Sha256};

use crate::fetching::{CAP, SharedDir, Sink, now, settings};
use crate::github::{GitHub, TOKEN, budget, send, vector};
use crate::http_server::{Server, redirect, reply};

/// What a request with the token holds.
macro_rules! bearer {
    () => {
        Some(format!("Bearer {TOKEN}"))
    };
}

async fn had(source: &GitHubReleases, asset: &Asset) -> Result<Vec<u8>, FetchError> {
    let mut sink = Sink::new();
    let outcome = source.fetch_asset(asset, &mut sink.0, CAP, &mut |_, _| {}).await;
    let content = sink.content();
    outcome.map(|_| content).inspect_err(|_| assert_eq!(sink.content(), b""))
}

#[tokio::test]
async fn a12_a_token_goes_to_the_configured_api_and_to_nobody_else() {
    let github = GitHub::start("/api/v3");
    let source = github.source("/api/v3", true, &settings(), None);
    let listing = source.releases(Freshness::Shared, now()).await.unwrap();
    let asset = listing.releases[1].assets.iter().find(|asset| asset.size() == Some(26)).unwrap();
    had(&source, asset).await.unwrap();
    let [api, web, store] = github.tokens();
    assert_eq!(api, [bearer!(), bearer!(), bearer!()], "two pages and the file's redirect");
    assert_eq!((web, store), (vec![], vec![None]), "the store is reached without it");
    // And without one, nobody is told anything.
    let source = github.source("/api/v3", false, &settings(), None);
    source.releases(Freshness::Unconditional, now()).await.unwrap();
    had(&source, asset).await.unwrap();
    let [api, web, store] = github.tokens();
    assert!(api[3..].iter().chain(&web).chain(&store).all(Option::is_none));
}

#[tokio::test]
async fn a12_a_token_never_follows_a_redirect_not_even_within_the_api() {
    // A renamed repository, as GitHub answers for it.
    let github = GitHub::with("", |request, stream| {
        let renamed = request.path.starts_with("/repos/");
        if renamed {
            reply(stream, 301, &[("Location", "/repositories/4711/releases?per_page=100&page=2")], b"{}");
        }
        renamed
    });
    let listing = github.source("", true, &settings(), None).releases(Freshness::Shared, now()).await.unwrap();
    assert_eq!(listing.releases.len(), 3);
    assert_eq!(github.tokens()[0], [bearer!(), None]);
}

#[tokio::test]
async fn a12_a_listing_that_leads_off_the_api_is_not_followed() {
    let elsewhere = Server::start(|_, stream| reply(stream, 200, &[], b"[]"));
    let (redirected, linked) = (elsewhere.url("/releases"), elsewhere.url("/page-2"));
    let away = GitHub::with("", move |_, stream| {
        redirect(stream, &redirected);
        true
    });
    let outcome = away.source("", true, &settings(), None).releases(Freshness::Shared, now()).await;
    let refused = |refusal: &UrlRefusal| matches!(refusal, UrlRefusal::HostNotAllowed { .. });
    assert!(matches!(&outcome, Err(FetchError::Redirect { refusal, .. }) if refused(refusal)), "{outcome:?}");

    let pages = GitHub::with("", move |_, stream| {
        let mut fields = budget("59", "1799999999");
        fields.push(("Link", format!("<{linked}>; rel=\"next\"")));
        send(stream, 200, &fields, vector("releases-page-2.json").as_bytes());
        true
    });
    let shared = SharedDir::new();
    let source = pages.source("", true, &settings(), Some(shared.open()));
    let outcome = source.releases(Freshness::Shared, now()).await;
    assert!(matches!(&outcome, Err(FetchError::Address { refusal, .. }) if refused(refusal)), "{outcome:?}");
    assert_eq!(elsewhere.requests().len(), 0);
    assert_eq!(shared.left_behind(), [""; 0]);
}

#[tokio::test]
async fn b2_pages_that_never_end_are_left_after_the_tenth() {
    let github = GitHub::with("", |request, stream| {
        let next = format!("<http://{}/page?page=again>; rel=\"next\"", request.header("host").unwrap());
        send(stream, 200, &[("Link", next)], vector("releases-page-2.json").as_bytes());
        true
    });
    let listing = github.source("", false, &settings(), None).releases(Freshness::Shared, now()).await.unwrap();
    assert_eq!((listing.releases.len(), listing.skipped.len()), (3, 1), "each release once");
    assert_eq!(github.api.requests().len(), 10);
}

#[tokio::test]
async fn a12_a_planted_listing_cannot_lure_the_token_away() {
    let github = GitHub::start("/api/v3");
    let thief = Server::start(|_, stream| reply(stream, 200, &[], b"evil"));
    let shared = SharedDir::new();
    let api = github.api.url("");
    let host = github.api.addr().to_string();
    let addresses = [
        thief.url("/repos/example-crabs/molting/releases/assets/1"),
        // On the API's host, and not the API.
        format!("{api}/uploads/1"),
        format!("{api}/api/v33/1"),
        format!("http://user@{host}/api/v3/1"),
        format!("http://{host}@{}/api/v3/1", thief.addr()),
        "//evil.example.org/api/v3/1".to_owned(),
        "file:///etc/hostname".to_owned(),
    ];
    let assets: Vec<_> = addresses
        .iter()
        .map(|url| serde_json::json!({"name": "a", "url": url, "browser_download_url": github.store.url("/public")}))
        .collect();
    let planted = serde_json::json!([{"tag_name": "v3.0.0", "assets": assets}]).to_string();
    let name = format!("{api}/api/v3/repos/example-crabs/molting/releases?per_page=100 with a token");
    let file = shared.open().path().join(format!("{}.listing", hex::encode(Sha256::digest(name))));
    fs::write(file, format!("{}\n{planted}", serde_json::json!({"fetched_at": now()}))).unwrap();

    let source = github.source("/api/v3", true, &settings(), Some(shared.open()));
    let listing = source.releases(Freshness::Shared, now()).await.unwrap();
    let assets = &listing.releases[0].assets;
    assert_eq!(assets.len(), addresses.len(), "the planted one was read");
    for (asset, address) in assets.iter().zip(&addresses) {
        let outcome = had(&source, asset).await;
        let refused = matches!(outcome, Err(FetchError::Address { refusal: UrlRefusal::Credentials, .. }));
        assert!(outcome.is_ok() || refused, "{address}: {outcome:?}");
    }
    let [api, _, store] = github.tokens();
    assert!(api.is_empty() && store.iter().all(Option::is_none), "{api:?} {store:?}");
    assert_eq!(thief.requests().len(), 0);
}

/// What would have been logged, at the finest level.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a12_a_token_is_in_no_error_and_in_no_log() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For the whole program: what other tests log meanwhile may be among it, and must not name the token either.
    tracing::subscriber::set_global_default(subscriber).expect("the only one of this program");
    let mut said = String::new();
    for status in [200, 301, 400, 401, 403, 404, 429, 500] {
        let github = GitHub::with("", move |request, stream| {
            // A server that repeats what it was told.
            let told = request.header("authorization").unwrap_or_default().to_owned();
            send(stream, status, &[("X-Echo", told.clone()), ("Location", format!("/?{told}"))], told.as_bytes());
            true
        });
        let source = github.source("", true, &settings(), None);
        let error = source.releases(Freshness::Unconditional, now()).await.unwrap_err();
        assert_eq!(github.tokens()[0][0], bearer!());
        writeln!(said, "{error} {error:?} {source:?}").unwrap();
    }
    assert!(said.contains("Token(..)"));
    assert!(!said.contains("throwaway"), "{said}");
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("127.0.0.1"), "something was logged");
    assert!(!log.contains("throwaway"), "{log}");
}
