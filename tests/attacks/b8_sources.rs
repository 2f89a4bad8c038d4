//! Row B8, at the sources: limits of rate, and what a client owes to a server that is in trouble.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use exuvia::fetch::{FetchError, Freshness, HttpSettings, UrlRefusal};

use crate::fetching::{SharedDir, now, poll, settings, source};
use crate::github::{GitHub, budget, send, vector};
use crate::http_server::{Server, redirect, reply};

fn in_seconds(seconds: u64) -> String {
    (SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + seconds).to_string()
}

fn patient() -> HttpSettings {
    HttpSettings { attempts: 3, listing_timeout: Duration::from_secs(20), ..settings() }
}

#[tokio::test]
async fn b8_a_spent_rate_limit_is_named_and_nothing_is_asked_before_its_end() {
    let reset = in_seconds(1800);
    for status in [403, 429] {
        let reset = reset.clone();
        let github = GitHub::with("", move |_, stream| {
            send(stream, status, &budget("0", &reset), vector("rate-limit.json").as_bytes());
            true
        });
        let shared = SharedDir::new();
        let source = github.source("", false, &patient(), Some(shared.open()));
        let first = source.releases(Freshness::Shared, now()).await;
        let Err(error @ FetchError::RateLimited { until, .. }) = &first else { panic!("{first:?}") };
        assert!((1800..=1802).contains(&until.duration_since(now()).as_secs()), "{until}");
        assert!(error.to_string().contains("GH_TOKEN"), "the remedy is named: {error}");
        for freshness in [Freshness::Shared, Freshness::Unconditional] {
            let again = source.releases(freshness, now()).await;
            assert!(matches!(again, Err(FetchError::LeftAlone { .. })), "{again:?}");
        }
        assert_eq!(github.api.requests().len(), 1);
        assert_eq!(shared.left_behind(), [""; 0]);
    }
}

#[tokio::test]
async fn b8_a_secondary_limit_is_heeded_too() {
    let github = GitHub::with("", |_, stream| {
        let mut fields = budget("4000", "1799999999");
        fields.push(("Retry-After", "60".to_owned()));
        send(stream, 403, &fields, vector("secondary-rate-limit.json").as_bytes());
        true
    });
    let source = github.source("", true, &patient(), None);
    let first = source.releases(Freshness::Shared, now()).await;
    assert_eq!(first.unwrap_err().retry_after(), Some(Duration::from_mins(1)));
    let again = source.releases(Freshness::Shared, now()).await;
    assert!(matches!(again, Err(FetchError::LeftAlone { .. })), "{again:?}");
    assert_eq!(github.api.requests().len(), 1);
}

#[tokio::test]
async fn b8_a_limit_that_ends_soon_is_waited_for() {
    let (count, reset) = (AtomicU32::new(0), in_seconds(1));
    let github = GitHub::with("", move |_, stream| {
        let spent = count.fetch_add(1, Ordering::SeqCst) == 0;
        if spent {
            send(stream, 403, &budget("0", &reset), vector("rate-limit.json").as_bytes());
        }
        spent
    });
    let started = Instant::now();
    let listing = github.source("", false, &patient(), None).releases(Freshness::Shared, now()).await.unwrap();
    assert_eq!(listing.releases.len(), 5);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(github.api.requests().len(), 3);
}

#[tokio::test]
async fn b8_a_wish_is_honoured_as_seconds_and_as_a_date() {
    let date = |seconds| httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
    for (status, wish) in [(429, "3600".to_owned()), (429, date(3600)), (503, "3600".to_owned()), (503, date(3600))] {
        let server = Server::start(move |_, stream| reply(stream, status, &[("Retry-After", &wish)], b""));
        let shared = SharedDir::new();
        let source = source(&server, &patient(), Some(&shared));
        let wanted = poll(&source).await.unwrap_err().retry_after().unwrap();
        assert!((3590..=3600).contains(&wanted.as_secs()), "{wanted:?}");
        assert!(matches!(poll(&source).await, Err(FetchError::LeftAlone { .. })));
        assert_eq!(server.requests().len(), 1);
        assert_eq!(shared.left_behind(), [""; 0]);
    }
}

#[tokio::test]
async fn b8_a_captive_portal_is_named_and_nothing_of_it_is_kept() {
    const PAGE: &[u8] = b"<!doctype html><title>Welcome to Example Hotel</title>";
    let shared = SharedDir::new();
    let page = Server::start(|_, stream| reply(stream, 200, &[("Content-Type", "text/html")], PAGE));
    let outcome = poll(&source(&page, &patient(), Some(&shared))).await;
    assert!(matches!(outcome, Err(FetchError::WebPage { .. })), "{outcome:?}");

    let login = page.url("/login?from=releases");
    let portal = Server::start(move |_, stream| redirect(stream, &login));
    let outcome = poll(&source(&portal, &patient(), Some(&shared))).await;
    let refused = |refusal: &UrlRefusal| matches!(refusal, UrlRefusal::HostNotAllowed { .. });
    assert!(matches!(&outcome, Err(FetchError::Redirect { refusal, .. }) if refused(refusal)), "{outcome:?}");
    assert_eq!((portal.requests().len(), page.requests().len()), (1, 1), "not tried again, and not followed");
    assert_eq!(shared.left_behind(), [""; 0]);

    let github = GitHub::with("", |_, stream| {
        reply(stream, 200, &[("Content-Type", "text/html")], PAGE);
        true
    });
    let outcome = github.source("", true, &patient(), Some(shared.open())).releases(Freshness::Shared, now()).await;
    assert!(matches!(outcome, Err(FetchError::WebPage { .. })), "{outcome:?}");
    assert_eq!(shared.left_behind(), [""; 0]);
}
