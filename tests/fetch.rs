//! Fetching from honest sources: web servers and folders, alone and with siblings.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

#[path = "support/http_server.rs"]
mod http_server;

use std::env;
use std::fs;
use std::io::Read;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use exuvia::fetch::{FetchError, Freshness, HttpSettings, Listing, ListingLimits, Location, Origin, StaticListing};
use exuvia::sys::{Loose, PrivateDir, Refusal};
use exuvia::types::ByteLimit;
use http_server::{Server, hold, raw};
use jiff::{SignedDuration, Timestamp};

const CAP: ByteLimit = ByteLimit::mib(16);

fn settings() -> HttpSettings {
    HttpSettings { stall_timeout: Duration::from_millis(1500), attempts: 1, ..HttpSettings::default() }
}

fn listing(version: &str, size: usize) -> String {
    let asset = serde_json::json!({"name": "a.tar.gz", "size": size, "browser_download_url": "v1/a.tar.gz"});
    serde_json::json!([{"tag_name": format!("v{version}"), "assets": [asset]}]).to_string()
}

/// A folder with one release, whose asset takes several writes.
fn publish(root: &Path) -> Vec<u8> {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::create_dir_all(root.join("v1")).unwrap();
    fs::write(root.join("v1/a.tar.gz"), &body).unwrap();
    fs::write(root.join("releases.json"), listing("1.0.0", body.len())).unwrap();
    body
}

fn shared(root: &Path) -> PrivateDir {
    PrivateDir::open_or_create(root.join("listings"), Loose::Tighten).unwrap()
}

fn newest(listing: &Listing) -> String {
    listing.releases[0].version.to_string()
}

async fn fetch_first(source: &StaticListing) -> (Vec<u8>, Vec<(u64, Option<u64>)>) {
    let listing = source.releases(Freshness::Shared, Timestamp::now()).await.unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let mut seen = Vec::new();
    let mut progress = |received, total| seen.push((received, total));
    let length = source.fetch_asset(&listing.releases[0].assets[0], &mut file, CAP, &mut progress).await.unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, length, "the file is at its start");
    (bytes, seen)
}

#[tokio::test]
async fn the_same_tree_works_from_a_web_server_and_from_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let body = publish(root.path());
    let server = Server::folder(root.path());
    for location in [server.url("/releases.json"), root.path().display().to_string()] {
        let (bytes, seen) = fetch_first(&StaticListing::new(location.parse().unwrap(), &settings(), None)).await;
        assert!(bytes == body, "{location}");
        let whole = body.len() as u64;
        assert_eq!(seen.first(), Some(&(0, Some(whole))));
        assert_eq!(seen.last(), Some(&(whole, Some(whole))));
        assert!(seen.is_sorted_by(|one, next| one.0 < next.0), "{location}: progress moves");
    }
}

#[tokio::test]
async fn siblings_share_a_listing_and_ask_only_whether_it_changed() {
    let root = tempfile::tempdir().unwrap();
    publish(root.path());
    let server = Server::folder(root.path());
    let node = || {
        let location = server.url("/releases.json").parse().unwrap();
        StaticListing::new(location, &settings(), Some(shared(root.path())))
    };
    let (first, second) = (node(), node());
    let start = Timestamp::now();
    let origin = async |node: &StaticListing, minutes| {
        let now = start + SignedDuration::from_mins(minutes);
        let listing = node.releases(Freshness::Shared, now).await.unwrap();
        (newest(&listing), listing.origin, server.count("/releases.json"))
    };
    let old = || "1.0.0".to_owned();
    assert_eq!(origin(&first, 0).await, (old(), Origin::Whole, 1));
    assert_eq!(origin(&second, 1).await, (old(), Origin::Sibling, 1));
    assert_eq!(origin(&second, 47).await, (old(), Origin::Sibling, 1));
    assert_eq!(origin(&second, 48).await, (old(), Origin::Confirmed, 2));
    assert_eq!(origin(&first, 49).await, (old(), Origin::Sibling, 2), "confirmed for everybody");
    fs::write(root.path().join("releases.json"), listing("2.0.0", 1)).unwrap();
    assert_eq!(origin(&first, 50).await, (old(), Origin::Sibling, 2));
    assert_eq!(origin(&first, 96).await, ("2.0.0".to_owned(), Origin::Whole, 3));
    assert_eq!(origin(&second, 97).await, ("2.0.0".to_owned(), Origin::Sibling, 3));
}

#[tokio::test]
async fn a_failed_poll_leaves_the_shared_listing_to_those_for_whom_it_is_fresh() {
    let root = tempfile::tempdir().unwrap();
    publish(root.path());
    let server = Server::folder(root.path());
    let location: Location = server.url("/releases.json").parse().unwrap();
    let node = StaticListing::new(location, &settings(), Some(shared(root.path())));
    let start = Timestamp::now();
    node.releases(Freshness::Shared, start).await.unwrap();
    drop(server);
    let later = node.releases(Freshness::Shared, start + SignedDuration::from_hours(1)).await;
    assert!(matches!(later, Err(FetchError::Connect { .. })), "{later:?}");
    assert_eq!(node.releases(Freshness::Shared, start).await.unwrap().origin, Origin::Sibling);
}

#[tokio::test]
async fn a_large_body_that_breaks_off_leaves_an_empty_file() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n");
        raw(stream, &vec![b'x'; 3_000_000]);
        hold(stream);
    });
    fs::write(root.path().join("releases.json"), listing("1.0.0", 8_000_000)).unwrap();
    let offer = StaticListing::new(Location::Folder(root.path().to_owned()), &settings(), None);
    let offer = offer.releases(Freshness::Shared, Timestamp::now()).await.unwrap();
    let source = StaticListing::new(server.url("/releases.json").parse().unwrap(), &settings(), None);
    let mut file = tempfile::tempfile().unwrap();
    let mut received = 0;
    let outcome =
        source.fetch_asset(&offer.releases[0].assets[0], &mut file, CAP, &mut |bytes, _| received = bytes).await;
    assert!(matches!(outcome, Err(FetchError::Stalled { .. })), "{outcome:?}");
    assert_eq!((received, file.metadata().unwrap().len()), (3_000_000, 0));
}

#[tokio::test]
async fn a_release_folder_may_belong_to_anybody_and_is_still_bounded() {
    let root = tempfile::tempdir().unwrap();
    let body = publish(root.path());
    for path in ["", "v1", "v1/a.tar.gz", "releases.json"] {
        chown(root.path().join(path), Some(65534), Some(65534)).unwrap();
    }
    let source = StaticListing::new(Location::Folder(root.path().to_owned()), &settings(), None);
    assert!(fetch_first(&source).await.0 == body);

    let file = root.path().join("releases.json");
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let outcome = source.releases(Freshness::Shared, Timestamp::now()).await;
    let Err(FetchError::Folder(error)) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(error.refusal(), Some(Refusal::TooLong { .. })));

    fs::remove_file(&file).unwrap();
    let outcome = source.releases(Freshness::Shared, Timestamp::now()).await;
    assert!(matches!(&outcome, Err(FetchError::Folder(error)) if error.is_not_found()), "{outcome:?}");

    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let now = Timestamp::now();
    let outcome = tokio::time::timeout(Duration::from_secs(5), source.releases(Freshness::Shared, now)).await.unwrap();
    let Err(FetchError::Folder(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.refusal(), Some(&Refusal::NotRegular("FIFO")));
}

#[tokio::test]
async fn loopback_is_never_spoken_to_through_a_proxy() {
    let name = "loopback_is_never_spoken_to_through_a_proxy";
    if env::var_os("EXUVIA_TEST_PROXY").is_none() {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", name])
            .envs(["http_proxy", "HTTP_PROXY", "ALL_PROXY"].map(|key| (key, "http://127.0.0.1:1")))
            .env("EXUVIA_TEST_PROXY", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        return assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
    let root = tempfile::tempdir().unwrap();
    let body = publish(root.path());
    let server = Server::folder(root.path());
    let source = StaticListing::new(server.url("/releases.json").parse().unwrap(), &settings(), None);
    assert!(fetch_first(&source).await.0 == body);
}

#[tokio::test]
async fn fetching_may_move_between_threads() {
    fn movable<T: Send>(future: T) -> T {
        future
    }
    let root = tempfile::tempdir().unwrap();
    publish(root.path());
    let source = StaticListing::new(Location::Folder(root.path().to_owned()), &settings(), None);
    let offer = movable(source.releases(Freshness::Shared, Timestamp::now())).await.unwrap();
    let mut file = tempfile::tempfile().unwrap();
    movable(source.fetch_asset(&offer.releases[0].assets[0], &mut file, CAP, &mut |_, _| {})).await.unwrap();
}

#[test]
fn a_listing_that_is_read_is_bounded_by_count() {
    let many = format!("[{}]", vec!["{}"; 1001].join(","));
    assert!(Listing::parse(many.as_bytes(), &ListingLimits::default()).is_err());
}
