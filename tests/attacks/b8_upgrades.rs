//! Row B8, as a node meets it: whatever a server does, no release is vetoed, nothing is rolled back,
//! and nothing is left behind. And row B1, where a mirror or a bundle lies.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use exuvia::config::{Input, Strictness, load};
use exuvia::crypto::{Release, SecretKey};
use exuvia::install::{Progress, Purpose, Trial};
use exuvia::launcher::{TryReply, TryRequest};
use exuvia::node::{App, engine, idle};
use exuvia::publish::{Pack, pack};
use exuvia::rollout::{Gate, Request};
use exuvia::types::{ArchiveFormat, ReleaseId, Target};
use exuvia::upgrade::{Ask, Carried, Done, Engine, Found, Observer, UpgradeError, Wait, Work};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::fetching::now;
use crate::github::budget;
use crate::http_server::{Server, redirect, reply, serve_file};

const KEYS: &[&str] = &[include_str!("../keys/release/a.pem"), include_str!("../keys/release/b.pem")];
const APP: App = App::new("exuvia", "0.0.1", KEYS, idle);

/// A launcher that agrees to everything, and remembers it.
#[derive(Default)]
struct Launcher(Mutex<Vec<TryRequest>>);

impl Ask for Launcher {
    async fn ask(&self, request: TryRequest) -> TryReply {
        let id = request.id.clone();
        self.0.lock().unwrap().push(request);
        TryReply::Accepted { id }
    }
}

struct Node {
    root: tempfile::TempDir,
    engine: Arc<Engine>,
    launcher: Launcher,
}

impl Node {
    fn new(settings: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::copy("/bin/true", root.path().join("exuvia")).unwrap();
        let engine = Self::engine_at(root.path(), settings);
        Self { root, engine, launcher: Launcher::default() }
    }

    fn engine_at(root: &Path, settings: &[(&str, &str)]) -> Arc<Engine> {
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let mut flags = vec![("cache_dir".to_owned(), at("cache")), ("data_dir".to_owned(), at("data"))];
        flags.extend(
            [("rollout.window", "0s"), ("listen", "off")].map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        flags.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let input =
            Input { product: "exuvia".parse().unwrap(), root: true, files: vec![], env: BTreeMap::new(), flags };
        let settings = load(&input, Strictness::Strict).unwrap().settings;
        let options = vec!["--set".into(), format!("data_dir={}", at("data")).into()];
        Arc::new(engine(&APP, settings, options, &root.join("exuvia"), None).unwrap())
    }

    /// The same node after a restart, with other settings.
    fn restarted(self, settings: &[(&str, &str)]) -> Self {
        let Self { root, engine, .. } = self;
        drop(engine);
        let engine = Self::engine_at(root.path(), settings);
        Self { root, engine, launcher: Launcher::default() }
    }

    async fn run(&self, work: Work) -> Result<Done, UpgradeError> {
        self.run_at(work, now()).await
    }

    async fn run_at(&self, work: Work, at: Timestamp) -> Result<Done, UpgradeError> {
        let observer: Observer = Arc::new(|_| ());
        self.engine.run(work, at, &self.launcher, &observer).await
    }

    /// Nothing was vetoed, tried, installed or left behind; what is committed is untouched.
    fn is_as_before(&self) {
        assert_eq!(self.engine.ledger.active_vetoes(now()).unwrap(), []);
        assert_eq!(self.launcher.0.lock().unwrap().len(), 0, "nothing is tried");
        let record = self.engine.install.node(&self.engine.node).unwrap().unwrap();
        assert!(record.trial.is_none() && record.verdicts.is_empty() && record.running == self.engine.running);
        let committed = fs::read(self.root.path().join("exuvia")).unwrap();
        assert!(committed == fs::read("/bin/true").unwrap());
        let names = |folder: &str| {
            let entries = fs::read_dir(self.root.path().join(folder)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(".exuvia/versions").len(), 1, "the one that runs");
        assert_eq!(names(".exuvia/staging"), [""; 0]);
        assert_eq!((names("cache/entries"), names("cache/blobs")), (vec![], vec![]));
    }
}

/// How the address of an archive ends.
const ARCHIVE: &str = ".tar.zst";

type Answer = Box<dyn Fn(&mut TcpStream) + Send + Sync>;

/// Every way in which a server, or the network before it, can have a bad day.
fn bad_days() -> Vec<(&'static str, Answer)> {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_hours(1));
    let reset = (SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3600).to_string();
    let plain = |status: u16| -> Answer { Box::new(move |stream| reply(stream, status, &[], b"")) };
    let limited = move |stream: &mut TcpStream| {
        let fields = budget("0", &reset);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        reply(stream, 403, &fields, b"{\"message\":\"API rate limit exceeded\"}");
    };
    let portal = |stream: &mut TcpStream| {
        reply(stream, 200, &[("Content-Type", "text/html")], b"<html><body>Log in, please</body></html>");
    };
    vec![
        ("429 with seconds", Box::new(|stream| reply(stream, 429, &[("Retry-After", "3600")], b""))),
        ("429 with a date", Box::new(move |stream| reply(stream, 429, &[("Retry-After", &date)], b""))),
        ("503 with seconds", Box::new(|stream| reply(stream, 503, &[("Retry-After", "3600")], b""))),
        ("403 rate limit", Box::new(limited)),
        ("403", plain(403)),
        ("404", plain(404)),
        ("451", plain(451)),
        ("portal with 200", Box::new(portal)),
        ("portal with 302", Box::new(|stream| redirect(stream, "http://127.0.0.1:1/login"))),
        ("portal with 302 to a name", Box::new(|stream| redirect(stream, "https://portal.example.org/login"))),
    ]
}

fn tree(root: &Path, version: &str, binary: &Path) {
    let plan = Pack {
        id: ReleaseId {
            product: "exuvia".parse().unwrap(),
            version: version.parse().unwrap(),
            target: Target::of_this_build(),
        },
        format: ArchiveFormat::TarZst,
        level: Some(1),
        prerelease: false,
        notes_url: None,
        base_url: None,
        published_at: Timestamp::now(),
    };
    let pem = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/a.key")).unwrap();
    pack(&plan, &SecretKey::<Release>::from_pem(&pem).unwrap(), binary, root, &mut |_| ()).unwrap();
}

/// A tree with this very program, as the version that it says it is.
fn real_tree() -> (tempfile::TempDir, String) {
    let root = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_exuvia"));
    let said = Command::new(binary).args(["self-describe", "--json"]).output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let version = said["version"].as_str().unwrap().to_owned();
    tree(&root.path().join("tree"), &version, binary);
    (root, version)
}

/// A tree whose binary is never run, because its files never arrive.
fn small_tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("binary"), "a binary that nobody runs").unwrap();
    tree(&root.path().join("tree"), "9.0.0", &root.path().join("binary"));
    root
}

#[tokio::test]
async fn b8_a_listing_that_cannot_be_had_never_ends_in_a_veto_or_a_rollback() {
    for (what, answer) in bad_days() {
        let server = Server::start(move |_, stream| answer(stream));
        let node = Node::new(&[("source.listing", &server.url("/releases.json"))]);
        for work in [Work::Poll, Work::Upgrade(Request::default())] {
            let outcome = node.run(work).await;
            let Err(error @ UpgradeError::Fetch(_)) = &outcome else { panic!("{what}: {outcome:?}") };
            assert!(!error.blames_release() && !error.is_verification(), "{what}: {error}");
            node.is_as_before();
        }
        assert!(server.requests().len() <= 2, "{what}: each look asks once");
    }
}

#[tokio::test]
async fn b8_files_that_cannot_be_had_never_end_in_a_veto_or_a_rollback() {
    let root = small_tree();
    for suffix in [".zst", ".sig"] {
        for (what, answer) in bad_days() {
            let tree = root.path().join("tree");
            let server = Server::start(move |request, stream| {
                if request.path.ends_with(suffix) { answer(stream) } else { serve_file(&tree, request, stream) }
            });
            let node = Node::new(&[("source.listing", &server.url("/releases.json"))]);
            let error = node.run(Work::Poll).await.unwrap_err();
            assert!(!error.blames_release(), "{what} for {suffix}: {error}");
            node.is_as_before();
        }
    }
}

#[tokio::test]
async fn b8_a_wish_reaches_the_node_that_plans_its_next_look() {
    let server = Server::start(|_, stream| reply(stream, 503, &[("Retry-After", "7200")], b""));
    let node = Node::new(&[("source.listing", &server.url("/releases.json"))]);
    let first = node.run(Work::Poll).await.unwrap_err();
    assert_eq!(first.retry_after(), Some(Duration::from_hours(2)));
    let second = node.run(Work::Poll).await.unwrap_err();
    assert!(second.retry_after().unwrap() > Duration::from_secs(7190), "{second}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn b1_a_mirror_that_lies_costs_one_download_and_the_next_one_serves() {
    let (root, version) = real_tree();
    let tree = root.path().join("tree");
    for lie in [".zst", ".sig"] {
        let lying = tree.clone();
        let liar = Server::start(move |request, stream| {
            if request.path.ends_with(lie) {
                let honest = fs::metadata(lying.join(request.path.trim_start_matches('/'))).unwrap().len();
                // As long as it should be, and something else.
                reply(stream, 200, &[], &vec![b'x'; usize::try_from(honest).unwrap()]);
            } else {
                serve_file(&lying, request, stream);
            }
        });
        let honest = Server::folder(&tree);
        let mirror = honest.url("/");
        let node = Node::new(&[("source.listing", &liar.url("/releases.json")), ("source.mirrors", &mirror)]);
        let done = node.run(Work::Poll).await;
        let Ok(Done::OnTrial { candidate, .. }) = &done else { panic!("{lie}: {done:?}") };
        assert_eq!(candidate.version.to_string(), version);
        assert_eq!(node.engine.ledger.active_vetoes(now()).unwrap(), []);
        let asked = |server: &Server| server.requests().iter().filter(|request| request.path.ends_with(lie)).count();
        assert_eq!((asked(&liar), asked(&honest)), (1, 1));
    }
}

#[tokio::test]
async fn b1_when_every_place_lies_nothing_is_installed_and_nothing_vetoed() {
    let root = small_tree();
    let lying = || {
        let tree = root.path().join("tree");
        Server::start(move |request, stream| {
            if request.path.ends_with(ARCHIVE) {
                let honest = fs::metadata(tree.join(request.path.trim_start_matches('/'))).unwrap().len();
                reply(stream, 200, &[], &vec![b'x'; usize::try_from(honest).unwrap()]);
            } else {
                serve_file(&tree, request, stream);
            }
        })
    };
    let (first, second) = (lying(), lying());
    let node = Node::new(&[("source.listing", &first.url("/releases.json")), ("source.mirrors", &second.url("/"))]);
    let error = node.run(Work::Poll).await.unwrap_err();
    assert!(error.is_verification() && !error.blames_release(), "{error}");
    node.is_as_before();
    for server in [&first, &second] {
        assert_eq!(server.requests().iter().filter(|request| request.path.ends_with(ARCHIVE)).count(), 1);
    }
}

fn bundle(root: &Path) -> PathBuf {
    let bundle = root.join("bundle.tar");
    let mut tar = Command::new("tar");
    tar.args(["--format=ustar", "-cf"]).arg(&bundle).arg("-C").arg(root.join("tree")).arg(".");
    assert!(tar.status().unwrap().success());
    bundle
}

fn carried(bundle: &Path) -> Carried {
    Carried { bundle: bundle.to_owned(), valid_at: None }
}

#[tokio::test]
async fn b8_a_bundle_needs_no_server_and_its_trial_is_begun_again_without_it() {
    let (root, version) = real_tree();
    let bundle = bundle(root.path());
    let away = ("source.listing", "http://127.0.0.1:1/releases.json");
    for source in [&[][..], &[away]] {
        let node = Node::new(source);
        let work = Work::UpgradeFrom { request: Request::default(), from: carried(&bundle) };
        let done = node.run(work).await;
        let Ok(Done::OnTrial { candidate, .. }) = done else { panic!("{done:?}") };
        assert_eq!(candidate.version.to_string(), version);
        let asked = node.launcher.0.lock().unwrap().pop().unwrap();
        let trial = Trial {
            id: asked.id,
            candidate: candidate.clone(),
            purpose: Purpose::Upgrade,
            progress: Progress::Pending,
            tries_left: 3,
            lease: None,
            since: now(),
            before: None,
            state: None,
        };
        // The power fails, and the medium is gone.
        let aside = bundle.with_extension("aside");
        fs::rename(&bundle, &aside).unwrap();
        let node = node.restarted(source);
        let done = node.run(Work::Resume(Box::new(trial))).await;
        assert!(matches!(&done, Ok(Done::OnTrial { candidate: again, .. }) if *again == candidate), "{done:?}");
        fs::rename(&aside, &bundle).unwrap();
    }
}

#[tokio::test]
async fn b1_a_bundle_that_was_tampered_with_is_refused_like_any_download() {
    let root = small_tree();
    let folder = root.path().join("tree/9.0.0");
    let archive = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "zst"))
        .unwrap();
    let mut bytes = fs::read(&archive).unwrap();
    bytes[20] ^= 1;
    fs::write(&archive, bytes).unwrap();
    for bundle in [bundle(root.path()), root.path().join("tree")] {
        let node = Node::new(&[]);
        let request = Request { version: Some("9.0.0".parse().unwrap()), ..Request::default() };
        let error = node.run(Work::UpgradeFrom { request, from: carried(&bundle) }).await.unwrap_err();
        assert!(error.is_verification() && !error.blames_release(), "{error}");
        node.is_as_before();
    }
}

#[tokio::test]
async fn b1_what_did_not_verify_is_downloaded_more_and_more_seldom_and_at_once_on_request() {
    let root = small_tree();
    let tree = root.path().join("tree");
    let site = tree.clone();
    let server = Server::start(move |request, stream| {
        if request.path.ends_with(ARCHIVE) {
            let honest = fs::metadata(site.join(request.path.trim_start_matches('/'))).unwrap().len();
            reply(stream, 200, &[], &vec![b'x'; usize::try_from(honest).unwrap()]);
        } else {
            serve_file(&site, request, stream);
        }
    });
    let settings = [("source.listing", &*server.url("/releases.json")), ("poll.interval", "1h")];
    let mut node = Node::new(&settings);
    let downloads = || server.requests().iter().filter(|request| request.path.ends_with(ARCHIVE)).count();
    // To the second, so that what the ledger keeps of a time is all of it.
    let begun = Timestamp::from_second(now().as_second()).unwrap();
    let minutes = |n: i64| begun + SignedDuration::from_mins(n);
    // Looks at the beginning and every half hour: the pauses are 1, 2, 4 and 8 hours.
    let mut asked = Vec::new();
    for look in 0..34 {
        let before = downloads();
        match node.run_at(Work::Poll, minutes(30 * look)).await {
            Err(error) => assert!(error.is_verification(), "{error}"),
            Ok(Done::Nothing(Found::Waiting { until, because: Wait::Gate(Gate::Archive), .. })) => {
                assert!(until > minutes(30 * look));
            }
            other => panic!("{other:?}"),
        }
        if downloads() > before {
            asked.push(look / 2);
        }
        if look == 5 {
            // A restart begins nothing anew.
            node = node.restarted(&settings);
        }
    }
    assert_eq!(asked, [0, 1, 3, 7, 15], "hours of the downloads");
    let (why, _) = node.engine.why(None, minutes(1000)).await.unwrap();
    let gate = why.shut().unwrap();
    assert_eq!((gate.gate, gate.changes), (Gate::Archive, Some(minutes(15 * 60) + SignedDuration::from_hours(16))));
    assert!(gate.inputs.to_string().contains("5 times; `upgrade` downloads it again at once"), "{}", gate.inputs);

    let forced = node.run_at(Work::Upgrade(Request::default()), minutes(1001)).await.unwrap_err();
    assert!(forced.is_verification() && downloads() == 6, "{forced}");
    // A clock that was ahead leaves no pause behind.
    assert!(node.run_at(Work::Poll, begun - SignedDuration::from_hours(1)).await.unwrap_err().is_verification());
    assert_eq!(downloads(), 7);
    node.is_as_before();

    // Other files under the same version begin anew.
    let listing = fs::read_to_string(tree.join("releases.json")).unwrap();
    let signature = listing.find(".sig\"").unwrap();
    let digest = signature + listing[signature..].find("sha256:").unwrap() + 7;
    let other = format!("{}0000{}", &listing[..digest], &listing[digest + 4..]);
    fs::write(tree.join("releases.json"), other).unwrap();
    assert!(node.run_at(Work::Poll, minutes(1500)).await.unwrap_err().is_verification());
    assert_eq!(downloads(), 8);
}

#[tokio::test]
async fn a12_a_restart_does_not_begin_the_bound_on_a_planted_listing_anew() {
    let root = small_tree();
    let server = Server::folder(root.path().join("tree"));
    let address = server.url("/releases.json");
    let settings = [("source.listing", &*address), ("rollout.window", "90d")];
    let begun = now();
    let hours = |n: i64| begun + SignedDuration::from_hours(n);
    for first_is_whole in [true, false] {
        let mut node = Node::new(&settings);
        let file =
            node.root.path().join("cache/listings").join(format!("{}.listing", hex::encode(Sha256::digest(&address))));
        let plant = |at: Timestamp| fs::write(&file, format!("{{\"fetched_at\":\"{at}\"}}\n[]")).unwrap();
        if !first_is_whole {
            plant(begun);
        }
        let before = server.count("/releases.json");
        let look = async |node: &Node, at| node.run_at(Work::Poll, at).await.unwrap();
        let offered = |done| matches!(done, Done::Nothing(Found::Waiting { .. }));
        assert_eq!(offered(look(&node, begun).await), first_is_whole);
        // Each process alone would rely on what it finds for a day.
        for hour in [6, 12, 18, 23] {
            plant(hours(hour));
            node = node.restarted(&settings);
            assert!(!offered(look(&node, hours(hour)).await), "hour {hour}: the planted one is believed");
        }
        assert_eq!(server.count("/releases.json") - before, usize::from(first_is_whole));
        plant(hours(24));
        node = node.restarted(&settings);
        assert!(offered(look(&node, hours(24)).await), "the server was asked");
        node.is_as_before();
    }
}
