//! Row B1: a web page with status 200 where a listing or an asset should be.

use exuvia::fetch::FetchError;

use crate::fetching::{SharedDir, fetch, poll, settings, source};
use crate::http_server::{Server, reply};

const PAGE: &[u8] = b"\n <!doctype html><html><body>Please log in to the hotel's network</body></html>";

#[tokio::test]
async fn b1_a_web_page_in_place_of_the_listing_is_named_as_one() {
    for kind in ["text/html", "application/json"] {
        let server = Server::start(move |_, stream| reply(stream, 200, &[("Content-Type", kind)], PAGE));
        let shared = SharedDir::new();
        let outcome = poll(&source(&server, &settings(), Some(&shared))).await;
        assert!(matches!(outcome, Err(FetchError::WebPage { .. })), "{outcome:?}");
        assert_eq!(shared.left_behind(), [""; 0]);
    }
}

#[tokio::test]
async fn b1_arbitrary_bytes_in_place_of_the_listing_are_refused() {
    let bodies: [&[u8]; 5] = [b"", b"\0\xff\xfe\x80", b"{\"message\":\"rate limit\"}", b"[{]", b"[] trailing"];
    for body in bodies {
        let server = Server::start(move |_, stream| reply(stream, 200, &[("ETag", "\"x\"")], body));
        let shared = SharedDir::new();
        let outcome = poll(&source(&server, &settings(), Some(&shared))).await;
        assert!(matches!(outcome, Err(FetchError::NotAListing { .. })), "{outcome:?}");
        assert_eq!(shared.left_behind(), [""; 0]);
    }
}

#[tokio::test]
async fn b1_a_web_page_in_place_of_an_asset_ends_at_the_wrong_length() {
    let server = Server::start(|_, stream| reply(stream, 200, &[("Content-Type", "text/html")], PAGE));
    let outcome = fetch(&server, Some(40_000), &settings()).await;
    assert!(matches!(outcome, Err(FetchError::Length { stated: 40_000, .. })), "{outcome:?}");
}
