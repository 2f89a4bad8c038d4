//! Row A12: a listing planted in the shared folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use exuvia::fetch::{FetchError, Freshness, HttpSettings, Listing, Origin, UrlRefusal};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::fetching::{SharedDir, fetch_from, now, poll, settings, source};
use crate::http_server::{Server, reply};

type Plant = Box<dyn Fn(&PathBuf)>;

const REAL: &str = r#"[{"tag_name":"v2.0.0"},{"tag_name":"v1.0.0"}]"#;
const PLANTED: &str = r#"[{"tag_name":"v1.0.0"}]"#;
const ETAG: &str = "\"the-real-one\"";

/// A server whose listing never changes, and which says so.
fn server() -> Server {
    Server::start(|request, stream| {
        if request.header("if-none-match") == Some(ETAG) {
            reply(stream, 304, &[("ETag", ETAG)], b"");
        } else {
            reply(stream, 200, &[("ETag", ETAG)], REAL.as_bytes());
        }
    })
}

fn file(server: &Server, shared: &SharedDir) -> PathBuf {
    let name = format!("{}.listing", hex::encode(Sha256::digest(server.url("/releases.json"))));
    shared.open().path().join(name)
}

fn plant(server: &Server, shared: &SharedDir, at: Timestamp, body: &str) {
    let head = serde_json::json!({"fetched_at": at, "etag": ETAG});
    fs::write(file(server, shared), format!("{head}\n{body}")).unwrap();
}

fn newest(listing: &Listing) -> String {
    listing.releases[0].version.to_string()
}

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

#[tokio::test]
async fn a12_a_listing_planted_with_the_real_entity_tag_lasts_a_day_at_most() {
    let (server, shared) = (server(), SharedDir::new());
    let source = source(&server, &settings(), Some(&shared));
    let start = now();
    for hour in 0..24 {
        // Stale each time, so that the server is asked, and confirms what it never sent.
        plant(&server, &shared, start - hours(48), PLANTED);
        let listing = source.releases(Freshness::Shared, start + hours(hour)).await.unwrap();
        assert_eq!((newest(&listing).as_str(), listing.origin), ("1.0.0", Origin::Confirmed), "hour {hour}");
    }
    plant(&server, &shared, start - hours(48), PLANTED);
    let listing = source.releases(Freshness::Shared, start + hours(24)).await.unwrap();
    assert_eq!((newest(&listing).as_str(), listing.origin), ("2.0.0", Origin::Whole));
    assert!(fs::read_to_string(file(&server, &shared)).unwrap().ends_with(REAL), "the planted one is gone");
    assert!(server.requests().last().unwrap().header("if-none-match").is_none());
}

#[tokio::test]
async fn a12_a_planted_listing_that_is_always_new_lasts_a_day_at_most() {
    let (server, shared) = (server(), SharedDir::new());
    let source = source(&server, &settings(), Some(&shared));
    let start = now();
    for hour in [0, 1, 12, 23] {
        plant(&server, &shared, start + hours(hour), PLANTED);
        let listing = source.releases(Freshness::Shared, start + hours(hour)).await.unwrap();
        assert_eq!((newest(&listing).as_str(), listing.origin), ("1.0.0", Origin::Sibling));
    }
    assert_eq!(server.requests().len(), 0);
    plant(&server, &shared, start + hours(24), PLANTED);
    let listing = source.releases(Freshness::Shared, start + hours(24)).await.unwrap();
    assert_eq!((newest(&listing).as_str(), listing.origin), ("2.0.0", Origin::Whole));
}

#[tokio::test]
async fn a12_a_remembered_time_bounds_a_planted_listing_across_restarts() {
    let (server, shared) = (server(), SharedDir::new());
    for (last_whole, expected) in
        [(now() - hours(25), Origin::Whole), (now() + hours(25), Origin::Whole), (now() - hours(1), Origin::Sibling)]
    {
        plant(&server, &shared, now(), PLANTED);
        let source = source(&server, &settings(), Some(&shared)).with_last_whole(Some(last_whole));
        assert_eq!(poll(&source).await.unwrap().origin, expected);
    }
}

#[tokio::test]
async fn a12_an_operators_demand_ignores_a_planted_listing() {
    let (server, shared) = (server(), SharedDir::new());
    plant(&server, &shared, now(), PLANTED);
    let source = source(&server, &settings(), Some(&shared));
    let listing = source.releases(Freshness::Unconditional, now()).await.unwrap();
    assert_eq!((newest(&listing).as_str(), listing.origin), ("2.0.0", Origin::Whole));
    assert_eq!(server.requests()[0].header("if-none-match"), None);
    assert!(fs::read_to_string(file(&server, &shared)).unwrap().ends_with(REAL), "the planted one is gone");
}

#[tokio::test]
async fn a12_a_planted_listing_from_the_future_is_stale() {
    let (server, shared) = (server(), SharedDir::new());
    plant(&server, &shared, now() + hours(1), PLANTED);
    let listing = poll(&source(&server, &settings(), Some(&shared))).await.unwrap();
    assert_eq!(listing.origin, Origin::Confirmed, "the server was asked");
    assert_eq!(server.requests().len(), 1);
    let head = fs::read_to_string(file(&server, &shared)).unwrap();
    let head: serde_json::Value = serde_json::from_str(head.lines().next().unwrap()).unwrap();
    let fetched_at: Timestamp = head["fetched_at"].as_str().unwrap().parse().unwrap();
    assert!(fetched_at <= now(), "the future date is gone");
}

#[tokio::test]
async fn a12_asset_addresses_on_another_host_are_not_requested() {
    let other = Server::start(|_, stream| reply(stream, 200, &[], b"evil"));
    let (server, shared) = (server(), SharedDir::new());
    let addresses = [
        other.url("/a"),
        "https://evil.example.org/a".to_owned(),
        "//evil.example.org/a".to_owned(),
        "file:///etc/hostname".to_owned(),
        "http://evil.example.org/a".to_owned(),
        format!("http://user@{}/a", server.addr()),
    ];
    let assets: Vec<_> =
        addresses.iter().map(|to| serde_json::json!({"name": "a", "browser_download_url": to})).collect();
    let planted = serde_json::json!([{"tag_name": "v3.0.0", "assets": assets}]).to_string();
    plant(&server, &shared, now(), &planted);
    let source = source(&server, &settings(), Some(&shared));
    let listing = poll(&source).await.unwrap();
    for (asset, address) in listing.releases[0].assets.iter().zip(&addresses) {
        let Err(FetchError::Address { refusal, .. }) = fetch_from(&source, asset).await else { panic!("{address}") };
        match address {
            file if file.starts_with("file:") => assert!(matches!(refusal, UrlRefusal::Scheme { .. })),
            user if user.contains('@') => assert_eq!(refusal, UrlRefusal::Credentials),
            plain if plain.starts_with("http://evil") || plain.starts_with("//") => {
                assert_eq!(refusal, UrlRefusal::PlainHttp);
            }
            _ => assert!(matches!(refusal, UrlRefusal::HostNotAllowed { .. }), "{address}"),
        }
    }
    assert_eq!((server.requests().len(), other.requests().len()), (0, 0));
}

#[tokio::test]
async fn a12_a_planted_file_of_the_wrong_kind_is_removed_and_fetched_anew() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "a secret of the node's user").unwrap();
    let link = secret.clone();
    let plants: Vec<(&str, Plant)> = vec![
        ("link to a secret", Box::new(move |path| symlink(&link, path).unwrap())),
        ("link to /dev/zero", Box::new(|path| symlink("/dev/zero", path).unwrap())),
        ("FIFO", Box::new(|path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()))),
        ("folder", Box::new(|path| fs::create_dir(path).unwrap())),
        ("sparse terabyte", Box::new(|path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap())),
        ("empty", Box::new(|path| fs::write(path, "").unwrap())),
        ("no first line", Box::new(|path| fs::write(path, "x".repeat(10_000)).unwrap())),
        ("bad first line", Box::new(|path| fs::write(path, "{\"fetched_at\":1}\n[]").unwrap())),
        ("deep first line", Box::new(|path| fs::write(path, format!("{}\n[]", "[".repeat(2000))).unwrap())),
        (
            "entity tag that would add a header",
            Box::new(|path| {
                let head = serde_json::json!({"fetched_at": now(), "etag": "x\r\nAuthorization: y"});
                fs::write(path, format!("{head}\n[]")).unwrap();
            }),
        ),
        (
            "web page",
            Box::new(|path| {
                fs::write(path, format!("{}\n<html>", serde_json::json!({"fetched_at": now()}))).unwrap();
            }),
        ),
        (
            "file of another user",
            Box::new(|path| {
                fs::write(path, format!("{}\n{PLANTED}", serde_json::json!({"fetched_at": now()}))).unwrap();
                // Only root may give files away, and is refused by the same check as anybody.
                chown(path, Some(65534), Some(65534)).unwrap();
            }),
        ),
        (
            "hard link",
            Box::new(|path| {
                fs::write(path, format!("{}\n{PLANTED}", serde_json::json!({"fetched_at": now()}))).unwrap();
                fs::hard_link(path, path.with_extension("second")).unwrap();
            }),
        ),
    ];
    for (what, plant) in plants {
        let (server, shared) = (server(), SharedDir::new());
        let path = file(&server, &shared);
        plant(&path);
        let source = source(&server, &settings(), Some(&shared));
        let listing = tokio::time::timeout(Duration::from_secs(5), poll(&source)).await.expect(what).unwrap();
        assert_eq!((newest(&listing).as_str(), listing.origin), ("2.0.0", Origin::Whole), "{what}");
        assert_eq!(server.requests()[0].header("if-none-match"), None, "{what}");
        let meta = fs::symlink_metadata(&path).unwrap();
        assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o600, "{what}");
        assert!(fs::read_to_string(&path).unwrap().ends_with(REAL), "{what}");
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "a secret of the node's user");
}

#[tokio::test]
async fn a12_a_lock_that_is_never_released_delays_and_no_more() {
    let (server, shared) = (server(), SharedDir::new());
    let lock = file(&server, &shared).with_extension("lock").file_name().unwrap().to_str().unwrap().to_owned();
    let _held = shared.open().try_lock(&lock).unwrap().unwrap();
    let hasty = HttpSettings { sibling_patience: Duration::from_millis(300), ..settings() };
    let listing = poll(&source(&server, &hasty, Some(&shared))).await.unwrap();
    assert_eq!(newest(&listing), "2.0.0");
}

#[tokio::test]
async fn a12_a_lock_that_is_a_link_is_not_followed() {
    let (server, shared) = (server(), SharedDir::new());
    let outside = shared.root.path().join("outside");
    symlink(&outside, file(&server, &shared).with_extension("lock")).unwrap();
    let listing = poll(&source(&server, &settings(), Some(&shared))).await.unwrap();
    assert_eq!(newest(&listing), "2.0.0");
    assert!(!outside.exists());
}

#[tokio::test]
async fn a12_nothing_secret_is_ever_sent() {
    let (server, shared) = (server(), SharedDir::new());
    let source = source(&server, &settings(), Some(&shared));
    poll(&source).await.unwrap();
    source.releases(Freshness::Shared, now() + hours(2)).await.unwrap();
    let known = ["accept", "accept-encoding", "host", "if-none-match", "user-agent"];
    for request in server.requests() {
        assert_eq!(request.method, "GET");
        assert!(request.headers.iter().all(|(name, _)| known.contains(&name.as_str())), "{:?}", request.headers);
        assert!(request.header("user-agent").unwrap().starts_with("exuvia/"));
    }
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_ten_siblings_make_one_request() {
    let (server, shared) = (server(), SharedDir::new());
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let source = source(&server, &settings(), Some(&shared));
            tokio::spawn(async move { poll(&source).await.map(|listing| newest(&listing)) })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), "2.0.0");
    }
    assert_eq!(server.count("/releases.json"), 1);
}
