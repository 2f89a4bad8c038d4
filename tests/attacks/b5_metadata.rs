//! B2, B4, B5: release metadata from hostile servers, and in a hostile cache, with bounds that are short
//! enough to be met.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use exuvia::fetch::{FetchError, Freshness, HttpSettings, Listing, Origin, TufClient, TufSource};
use exuvia::tuf::metadata::{Expires, RoleType};
use exuvia::tuf::{Answer, MetadataError, ReleaseDescription, RemoteFile, Repository, Standing};
use exuvia::types::{ArchiveFormat, Channel, ReleaseId, Target};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use crate::fetching::{CAP, SharedDir, Sink, settings};
use crate::http_server::{Server, hold, raw, reply};
use crate::sim::{Remote, Sim, block_on, bump};

const ROOT: &[u8] = include_bytes!("../keys/release/root.json");

fn from_now(seconds: i64) -> Timestamp {
    Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn id(version: &str) -> ReleaseId {
    let (product, version) = ("exuvia".parse().unwrap(), version.parse().unwrap());
    ReleaseId { product, version, target: Target::of_this_build() }
}

/// A repository with the release 1.0.0, valid for a day by the clock.
fn repository() -> Arc<Mutex<Sim>> {
    let mut sim = Sim::new();
    let later = Expires::at(from_now(86_400));
    for head in [&mut sim.root.head, &mut sim.timestamp.head, &mut sim.snapshot.head, &mut sim.targets.head] {
        head.expires = later;
    }
    sim.next_root();
    offer(&mut sim, "1.0.0");
    Arc::new(Mutex::new(sim))
}

fn offer(sim: &mut Sim, version: &str) {
    let path = ReleaseDescription::path(&id(version), ArchiveFormat::TarGz);
    sim.add_artifact("targets", &path, b"archive");
    sim.add_artifact("targets", &format!("{path}.sig"), b"signature");
    let mut target = sim.targets.target(&path).unwrap().clone();
    ReleaseDescription::new(id(version), Channel::Stable).attach(&mut target);
    sim.targets.insert(target);
    bump(&mut sim.targets);
    sim.publish();
}

/// What a server does instead of serving this file, if it does anything.
type Trick = Box<dyn Fn(&str, &mut std::net::TcpStream) -> bool + Send + Sync>;

fn serve(sim: &Arc<Mutex<Sim>>, trick: Trick) -> Server {
    let sim = sim.clone();
    Server::start(move |request, stream| {
        let (file, name) = match (request.path.strip_prefix("/metadata/"), request.path.strip_prefix("/targets/")) {
            (Some(name), _) => (RemoteFile::Metadata(name), name),
            (_, Some(name)) => (RemoteFile::Target(name), name),
            _ => return reply(stream, 400, &[], b""),
        };
        if trick(name, stream) {
            return;
        }
        let mut body = Vec::new();
        match block_on(Remote(sim.clone()).fetch(file, &mut body)) {
            Ok(Answer::Whole) => reply(stream, 200, &[("ETag", "\"always\"")], &body),
            _ => reply(stream, 404, &[], b""),
        }
    })
}

fn honest(sim: &Arc<Mutex<Sim>>) -> Server {
    serve(sim, Box::new(|_, _| false))
}

/// A client with its folder.
struct Client {
    data: TempDir,
    settings: HttpSettings,
}

impl Client {
    fn new() -> Self {
        Self { data: tempfile::tempdir().unwrap(), settings: settings() }
    }

    fn source(&self, places: &[&Server], shared: Option<&SharedDir>) -> TufSource {
        let metadata = places.iter().map(|server| server.url("/metadata").parse().unwrap()).collect();
        let targets = places.iter().map(|server| server.url("/targets").parse().unwrap()).collect();
        let client = TufClient {
            product: "exuvia".parse().unwrap(),
            target: Target::of_this_build(),
            root: ROOT,
            trust: self.data.path().join("trust"),
        };
        TufSource::new(metadata, targets, client, &self.settings, shared.map(SharedDir::open))
    }

    async fn poll(&self, server: &Server) -> Result<Listing, FetchError> {
        self.source(&[server], None).releases(Freshness::Shared, Timestamp::now()).await
    }

    /// The editions that it trusts.
    fn trusted(&self) -> Vec<(String, u64)> {
        let dir = exuvia::sys::Dir::open(self.data.path().join("trust")).unwrap();
        let standing = Standing::read(&dir).unwrap_or_default();
        standing.roles.into_iter().map(|role| (role.role, role.version)).collect()
    }
}

fn versions(listing: &Listing) -> Vec<String> {
    listing.releases.iter().map(|release| release.version.to_string()).collect()
}

#[tokio::test]
async fn b2_metadata_without_end_is_cut_off_at_the_limit_of_its_role() {
    let sim = repository();
    for (file, limit) in [("timestamp.json", 64 << 10), ("2.root.json", 1 << 20), ("2.snapshot.json", 2 << 20)] {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let server = serve(
            &sim,
            Box::new(move |name, stream| {
                let endless = name == file;
                if endless {
                    raw(stream, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                    while raw(stream, &[b' '; 16_384]) {
                        count.fetch_add(16_384, Ordering::SeqCst);
                    }
                }
                endless
            }),
        );
        let client = Client::new();
        let error = client.poll(&server).await.unwrap_err();
        assert!(matches!(inner(&error), FetchError::TooLong { limit: at, .. } if at.get() <= limit), "{file}: {error}");
        // What fits into the buffers between the two was sent as well.
        assert!(sent.load(Ordering::SeqCst) < usize::try_from(limit).unwrap() + (8 << 20), "{file}");
        assert!(!client.trusted().iter().any(|(role, _)| file.contains(role.as_str()) && role != "root"));
    }
}

#[tokio::test]
async fn b2_metadata_that_drips_or_never_comes_ends_in_time() {
    let sim = repository();
    let drip = |name: &str, stream: &mut std::net::TcpStream| {
        let slow = name == "timestamp.json";
        if slow {
            raw(stream, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while raw(stream, b" ") {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        slow
    };
    let mut client = Client::new();
    client.settings.minimum_rate = 1024;
    client.settings.rate_window = Duration::from_millis(500);
    let started = Instant::now();
    let error = client.poll(&serve(&sim, Box::new(drip))).await.unwrap_err();
    assert!(matches!(inner(&error), FetchError::TooSlow { .. }), "{error}");
    let silent = |name: &str, stream: &mut std::net::TcpStream| {
        let silent = name == "timestamp.json";
        if silent {
            hold(stream);
        }
        silent
    };
    let error = client.poll(&serve(&sim, Box::new(silent))).await.unwrap_err();
    assert!(matches!(inner(&error), FetchError::Stalled { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(client.trusted(), [("root".to_owned(), 2)], "what came before is kept, and nothing else");
}

/// The error behind the date until which metadata counts.
fn inner(error: &FetchError) -> &FetchError {
    match error {
        FetchError::Frozen { source, .. } => source,
        error => error,
    }
}

#[tokio::test]
async fn b4_a_server_that_fails_where_the_next_root_would_be_does_not_pass_for_one_without() {
    let sim = repository();
    let client = Client::new();
    client.poll(&honest(&sim)).await.unwrap();
    let failing = serve(
        &sim,
        Box::new(|name, stream| {
            let root = name == "3.root.json";
            if root {
                reply(stream, 500, &[], b"");
            }
            root
        }),
    );
    let error = client.poll(&failing).await.unwrap_err();
    assert!(matches!(&error, FetchError::Frozen { .. }), "it says until when the metadata counts: {error}");
    assert!(matches!(inner(&error), FetchError::Status { status: 500, .. }), "{error}");
}

#[tokio::test]
async fn b5_of_mirrors_that_disagree_none_takes_a_client_back() {
    let sim = repository();
    let behind = Arc::new(Mutex::new(sim.lock().unwrap().clone()));
    offer(&mut sim.lock().unwrap(), "1.1.0");
    let (fresh, stale) = (honest(&sim), honest(&behind));
    let client = Client::new();
    let listing = client.poll(&fresh).await.unwrap();
    assert_eq!(versions(&listing), ["1.1.0", "1.0.0"]);
    let trusted = client.trusted();
    let error = client.poll(&stale).await.unwrap_err();
    assert!(
        matches!(&error, FetchError::Metadata { source, .. } if matches!(**source, MetadataError::Rollback { .. })),
        "{error}"
    );
    // The stale place first: the other one is asked, and each is asked for all of it.
    let both = client.source(&[&stale, &fresh], None);
    let listing = both.releases(Freshness::Unconditional, Timestamp::now()).await.unwrap();
    assert_eq!((versions(&listing), listing.origin), (vec!["1.1.0".to_owned(), "1.0.0".to_owned()], Origin::Mirror));
    assert_eq!(client.trusted(), trusted);
}

#[tokio::test]
async fn b5_a_file_is_had_exactly_as_described_from_the_first_place_that_has_it() {
    let sim = repository();
    let other = |name: &str, stream: &mut std::net::TcpStream| {
        let archive = name.ends_with(".tar.gz");
        if archive {
            reply(stream, 200, &[], b"ARCHIVE");
        }
        archive
    };
    let longer = |name: &str, stream: &mut std::net::TcpStream| {
        let archive = name.ends_with(".tar.gz");
        if archive {
            reply(stream, 200, &[], b"archive and more");
        }
        archive
    };
    let servers = [serve(&sim, Box::new(other)), serve(&sim, Box::new(longer)), honest(&sim)];
    let client = Client::new();
    let source = client.source(&servers.each_ref()[..], None);
    let listing = source.releases(Freshness::Unconditional, Timestamp::now()).await.unwrap();
    let chosen = listing.releases[0].choose(&"exuvia".parse().unwrap(), &Target::of_this_build()).unwrap();
    let places = source.places(&chosen.archive);
    assert_eq!((places.len(), places[2].is_last()), (3, true));
    let source = exuvia::fetch::ReleaseSource::Tuf(source);
    for (place, wanted) in places.iter().zip(["not_described", "too_long", ""]) {
        let mut sink = Sink::new();
        let outcome = source.fetch_asset(place, &chosen.archive, &mut sink.0, CAP, &mut |_, _| {}).await;
        match outcome {
            Ok(length) => assert_eq!((wanted, length, sink.content()), ("", 7, b"archive".to_vec())),
            Err(error) => {
                assert_eq!(error.kind(), wanted, "{error}");
                assert_eq!(sink.content(), b"");
            }
        }
    }
}

#[tokio::test]
async fn a12_shared_metadata_that_does_not_hold_is_asked_for_again_and_a_planted_one_hides_nothing_for_long() {
    let sim = repository();
    let server = honest(&sim);
    let shared = SharedDir::new();
    let (one, two) = (Client::new(), Client::new());
    let poll = async |client: &Client, now: Timestamp| {
        client.source(&[&server], Some(&shared)).releases(Freshness::Shared, now).await.unwrap()
    };
    let now = Timestamp::now();
    assert_eq!(poll(&one, now).await.origin, Origin::Whole);
    assert_eq!(poll(&two, now).await.origin, Origin::Sibling);
    // A newer release, and somebody who dates the old copies to this moment.
    offer(&mut sim.lock().unwrap(), "1.1.0");
    let soon = now.checked_add(SignedDuration::from_secs(60)).unwrap();
    assert_eq!(versions(&poll(&two, soon).await), ["1.0.0"], "as with a listing, for a while");
    let source = two.source(&[&server], Some(&shared));
    let listing = source.releases(Freshness::Unconditional, soon).await.unwrap();
    assert_eq!((versions(&listing), listing.origin), (vec!["1.1.0".to_owned(), "1.0.0".to_owned()], Origin::Whole));
    for name in shared.left_behind() {
        let path = shared.root.path().join("listings").join(name);
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        std::fs::write(&path, text.replace("\"sig\":\"", "\"sig\":\"00")).unwrap();
    }
    let listing = poll(&Client::new(), soon).await;
    assert_eq!((versions(&listing), listing.origin), (vec!["1.1.0".to_owned(), "1.0.0".to_owned()], Origin::Whole));
    assert_eq!(poll(&Client::new(), soon).await.origin, Origin::Sibling, "and then there are good copies again");
}

#[tokio::test]
async fn b4_expiry_is_judged_by_the_time_that_the_look_began() {
    let sim = repository();
    let server = honest(&sim);
    let client = Client::new();
    let source = client.source(&[&server], None);
    source.releases(Freshness::Shared, Timestamp::now()).await.unwrap();
    let error = source.releases(Freshness::Shared, from_now(2 * 86_400)).await.unwrap_err();
    assert_eq!(error.kind(), "metadata_expired");
    assert!(
        matches!(&error, FetchError::Metadata { source, .. }
            if matches!(&**source, MetadataError::Expired { role, .. } if *role == RoleType::Root.to_string())),
        "{error}"
    );
    source.releases(Freshness::Shared, Timestamp::now()).await.unwrap();
}
