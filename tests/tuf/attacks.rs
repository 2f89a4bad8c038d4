//! Attacks on the client over real HTTP: a mirror that replays, mixes, withholds and drips what an honest
//! publisher once signed, and thieves of some of the keys. Each is refused for its reason, leaves nothing
//! behind, loses nothing that was trusted, and is over when the honest repository is back.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use exuvia::sys::Dir;
use exuvia::tuf::metadata::{DelegationError, MetaFile, Metadata, RoleType, Root, TargetFile};
use exuvia::tuf::{MetadataError, Mismatch, Rules, Store, UpdateError, Updater};

use crate::http_server::{Server, hold, raw, reply};
use crate::remote::{Patience, Remote, RemoteError};
use crate::sim::{LATER, NOW, Sim, bump, expires, signer, version};

type Error = UpdateError<RemoteError>;

/// What lies at an address.
#[derive(Clone)]
enum Served {
    Bytes(Vec<u8>),
    Endless,
    /// A byte now and then.
    Drip,
    /// A connection, and nothing more.
    Silence,
}

type Files = Arc<Mutex<BTreeMap<String, Served>>>;

/// A server, which may be anybody's.
struct Mirror {
    files: Files,
    server: Server,
}

impl Mirror {
    fn new() -> Self {
        let files = Files::default();
        let behind = files.clone();
        let server = Server::start(move |request, stream| {
            let file = behind.lock().unwrap().get(request.path.trim_start_matches('/')).cloned();
            answer(file, stream);
        });
        Self { files, server }
    }

    fn put(&self, name: &str, file: Served) {
        self.files.lock().unwrap().insert(name.to_owned(), file);
    }

    /// Serves one file under the name of another.
    fn replay(&self, old: &str, as_new: &str) {
        let file = self.files.lock().unwrap()[old].clone();
        self.put(as_new, file);
    }

    fn all(&self) -> BTreeMap<String, Served> {
        self.files.lock().unwrap().clone()
    }

    fn set_all(&self, files: BTreeMap<String, Served>) {
        *self.files.lock().unwrap() = files;
    }

    /// Everything that the publisher has signed by now. What was there before stays.
    fn upload(&self, sim: &Sim) {
        let put = |name: String, bytes: Vec<u8>| self.put(&name, Served::Bytes(bytes));
        for number in 1..=sim.root.head.version.get() {
            put(format!("{number}.root.json"), sim.published_root(usize::try_from(number).unwrap()));
        }
        let named = |signed: u64, role: &str| format!("{signed}.{role}.json");
        put("timestamp.json".to_owned(), sim.signed("timestamp", &sim.timestamp));
        put(named(sim.snapshot.head.version.get(), "snapshot"), sim.signed("snapshot", &sim.snapshot));
        put(named(sim.targets.head.version.get(), "targets"), sim.signed("targets", &sim.targets));
        for (name, role) in &sim.delegated {
            put(named(role.head.version.get(), name), sim.signed(name, role));
        }
        for (path, content) in &sim.artifacts {
            put(TargetFile::of_content(path, &mut &content[..]).unwrap().prefixed_path(), content.clone());
        }
    }
}

fn answer(file: Option<Served>, stream: &mut TcpStream) {
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    match file {
        None => reply(stream, 404, &[], b"no such file"),
        Some(Served::Bytes(bytes)) => reply(stream, 200, &[], &bytes),
        Some(Served::Endless) => {
            raw(stream, head);
            while raw(stream, &[b' '; 4096]) {}
        }
        Some(Served::Drip) => {
            raw(stream, head);
            while raw(stream, b" ") {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Some(Served::Silence) => hold(stream),
    }
}

/// An honest publisher, the mirror that its client uses, and that client.
struct Site {
    sim: Sim,
    mirror: Mirror,
    bootstrap: Vec<u8>,
    now: String,
    patience: Patience,
    dir: tempfile::TempDir,
}

impl Site {
    /// One release is out, and the client has seen it.
    fn new() -> Self {
        let mut sim = Sim::new();
        sim.states_digests = true;
        sim.timestamp.head.expires = expires("2030-07-01T00:00:00Z");
        sim.delegate("targets", "role", &["extra/*"], false, 60);
        sim.add_artifact("role", "extra/file", b"extra 1");
        sim.add_artifact("targets", "node", b"release 1");
        sim.publish();
        let site = Self {
            bootstrap: sim.published_root(1),
            sim,
            mirror: Mirror::new(),
            now: NOW.to_owned(),
            patience: Patience::default(),
            dir: tempfile::tempdir().unwrap(),
        };
        site.mirror.upload(&site.sim);
        assert_eq!(site.fetch("node").unwrap(), b"release 1");
        assert_eq!(site.fetch("extra/file").unwrap(), b"extra 1");
        site
    }

    /// One release more, signed by everybody, and uploaded.
    fn release(&mut self, content: &[u8]) {
        bump(&mut self.sim.targets);
        bump(self.sim.role_mut("role"));
        self.sim.add_artifact("targets", "node", content);
        self.sim.publish();
        self.mirror.upload(&self.sim);
    }

    fn updater(&self, mirror: &Mirror) -> Updater<Remote> {
        let store = Store::open(&Dir::open(self.dir.path()).unwrap()).unwrap().unwrap();
        let base = mirror.server.url("/");
        let remote = Remote::new(&base, Some(&base), self.patience).unwrap();
        Updater::new(remote, store, self.bootstrap.clone(), Rules::own())
    }

    fn refresh_from(&self, mirror: &Mirror) -> Result<(), Error> {
        run(async { self.updater(mirror).refresh(self.now.parse().unwrap()).await.map(drop) })
    }

    fn refresh(&self) -> Result<(), Error> {
        self.refresh_from(&self.mirror)
    }

    /// Brings all up to date and fetches a target into a file without a name, which is empty if that fails.
    fn fetch(&self, path: &str) -> Result<Vec<u8>, Error> {
        use std::io::Read;
        let mut file = tempfile::tempfile().unwrap();
        let outcome = run(async {
            let mut updater = self.updater(&self.mirror);
            let mut refreshed = updater.refresh(self.now.parse().unwrap()).await?;
            let target = refreshed.find(path).await?.expect("it is listed");
            refreshed.fetch(&target, &mut file).await
        });
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        assert!(outcome.is_ok() || content.is_empty());
        outcome.map(|()| content)
    }

    /// Everything that the client keeps.
    fn held(&self) -> BTreeMap<String, Vec<u8>> {
        let mut held = BTreeMap::new();
        collect(self.dir.path(), "", &mut held);
        held
    }

    /// What changed in the folder.
    fn changed_since(&self, before: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
        let held = self.held();
        let names = before.keys().chain(held.keys().filter(|name| !before.contains_key(*name)));
        names.filter(|name| before.get(*name) != held.get(*name)).cloned().collect()
    }

    /// The reason for which an update is refused that changes nothing.
    fn refused(&self) -> MetadataError {
        self.refused_but(&[])
    }

    /// As [`Self::refused`], except that these files were good and are kept.
    fn refused_but(&self, kept: &[&str]) -> MetadataError {
        let before = self.held();
        let error = self.refresh().unwrap_err();
        assert_eq!(self.changed_since(&before), kept, "{error}");
        match error {
            UpdateError::Metadata(error) => error,
            other => panic!("{other}"),
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn collect(dir: &Path, above: &str, held: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{above}{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), held);
        } else {
            held.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn is_rollback(error: &MetadataError, of: &str) -> bool {
    matches!(error, MetadataError::Rollback { file, .. } if file == of)
}

fn is_unsigned(error: &MetadataError, of: &str) -> bool {
    matches!(error, MetadataError::Delegation(DelegationError::Unsigned { role, .. }) if role == of)
}

const TIMESTAMP: &[&str] = &["state/accepted.json", "timestamp.json"];
const SNAPSHOT: &[&str] = &["snapshot.json", "state/accepted.json", "timestamp.json"];

#[test]
fn b4_a_mirror_that_withholds_what_is_new_is_found_out_when_the_timestamp_expires() {
    let mut site = Site::new();
    let frozen = site.mirror.all();
    site.release(b"release 2");
    let newest = site.mirror.all();
    site.mirror.set_all(frozen);
    let before = site.held();
    // Nobody can tell yet.
    site.refresh().unwrap();
    assert!(site.changed_since(&before).is_empty());
    site.now = "2030-07-01T00:00:00Z".to_owned();
    assert!(matches!(site.refused(), MetadataError::Expired { role, .. } if role == "timestamp"));
    // Nor does it help to withhold all.
    site.mirror.set_all(BTreeMap::new());
    let outcome = site.refresh();
    assert!(matches!(outcome, Err(UpdateError::Absent { file }) if file == "timestamp.json"));
    assert!(site.changed_since(&before).is_empty());
    site.mirror.set_all(newest);
    site.sim.timestamp.head.expires = expires(LATER);
    site.release(b"release 3");
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
}

#[test]
fn b5_an_old_file_of_any_role_in_place_of_the_new_one_is_refused() {
    let mut site = Site::new();
    let old = site.mirror.all();
    site.sim.next_root();
    site.release(b"release 2");
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
    assert_eq!(site.fetch("extra/file").unwrap(), b"extra 1");
    let newest = site.mirror.all();
    let timestamp = |files: &BTreeMap<String, Served>| files["timestamp.json"].clone();
    // The whole repository of yesterday.
    site.mirror.put("timestamp.json", timestamp(&old));
    assert!(is_rollback(&site.refused(), "timestamp.json"));
    // An old root as the next one.
    site.mirror.set_all(newest);
    site.mirror.replay("2.root.json", "3.root.json");
    assert!(matches!(site.refused(), MetadataError::Version { role, expected: 3, found: 2 } if role == "root"));
    site.mirror.files.lock().unwrap().remove("3.root.json");
    // Single files of yesterday among those of today, each under its new name.
    site.release(b"release 3");
    let newest = site.mirror.all();
    for (old, new, kept) in [
        ("3.snapshot.json", "4.snapshot.json", TIMESTAMP),
        ("2.targets.json", "3.targets.json", &["snapshot.json", "state/accepted.json"][..]),
    ] {
        site.mirror.replay(old, new);
        let error = site.refused_but(kept);
        assert!(matches!(error, MetadataError::Mismatch { .. }), "{error}");
        site.mirror.set_all(newest.clone());
    }
    site.mirror.replay("2.role.json", "3.role.json");
    site.refresh().unwrap();
    let before = site.held();
    assert!(matches!(
        site.fetch("extra/file"),
        Err(UpdateError::Metadata(MetadataError::Mismatch { role, .. })) if role == "role"
    ));
    assert!(site.changed_since(&before).is_empty());
    site.mirror.set_all(newest);
    assert_eq!(site.fetch("extra/file").unwrap(), b"extra 1");
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
}

#[test]
fn b5_without_digests_the_versions_alone_refuse_what_is_mixed() {
    let mut site = Site::new();
    site.sim.states_digests = false;
    site.release(b"release 2");
    site.refresh().unwrap();
    site.release(b"release 3");
    let newest = site.mirror.all();
    site.mirror.replay("3.snapshot.json", "4.snapshot.json");
    let error = site.refused_but(TIMESTAMP);
    assert!(matches!(error, MetadataError::Version { role, expected: 4, found: 3 } if role == "snapshot"));
    site.mirror.set_all(newest.clone());
    site.mirror.replay("2.targets.json", "3.targets.json");
    let error = site.refused_but(&["snapshot.json", "state/accepted.json"]);
    assert!(matches!(error, MetadataError::Version { role, expected: 3, found: 2 } if role == "targets"));
    // One role's file as another's, which the same publisher signed.
    site.mirror.set_all(newest.clone());
    site.mirror.replay("4.snapshot.json", "timestamp.json");
    assert!(matches!(site.refused(), MetadataError::Format { role, .. } if role == "timestamp"));
    site.mirror.set_all(newest);
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
}

#[test]
fn b5_versions_that_a_thief_set_as_high_as_they_go_end_with_a_rotation_of_the_keys() {
    let mut site = Site::new();
    let honest = (site.sim.timestamp.clone(), site.sim.snapshot.clone());
    site.sim.timestamp.head.version = version(u64::MAX);
    site.sim.snapshot.head.version = version(u64::MAX - 1);
    site.sim.timestamp.snapshot = MetaFile::of(version(u64::MAX - 1));
    site.mirror.upload(&site.sim);
    site.refresh().unwrap();
    // Nothing that is genuine can follow.
    (site.sim.timestamp, site.sim.snapshot) = honest;
    site.release(b"release 2");
    assert!(is_rollback(&site.refused(), "timestamp.json"));
    site.sim.rotate(RoleType::Timestamp, 70);
    site.sim.rotate(RoleType::Snapshot, 71);
    site.sim.next_root();
    site.release(b"release 3");
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
    // From here on these are the floor, and the thief's keys are nothing.
    let newest = site.mirror.all();
    bump(&mut site.sim.timestamp);
    site.sim.signers.insert("timestamp".to_owned(), vec![RoleType::Timestamp as u8 + 1]);
    site.mirror.upload(&site.sim);
    assert!(is_unsigned(&site.refused(), "timestamp"));
    site.mirror.set_all(newest);
    site.refresh().unwrap();
}

#[test]
fn k3_who_has_the_timestamp_key_can_neither_go_back_nor_say_what_is_in_a_snapshot() {
    let mut site = Site::new();
    site.release(b"release 2");
    site.refresh().unwrap();
    let (newest, honest) = (site.mirror.all(), site.sim.timestamp.clone());
    // An older snapshot, which the publisher signed.
    site.sim.timestamp.snapshot = MetaFile::of(version(2));
    bump(&mut site.sim.timestamp);
    site.mirror.put("timestamp.json", Served::Bytes(site.sim.signed("timestamp", &site.sim.timestamp)));
    assert!(is_rollback(&site.refused(), "snapshot.json"));
    // The same version once more, with another content: the one that was there first stays.
    site.sim.timestamp.head.version = honest.head.version;
    site.mirror.put("timestamp.json", Served::Bytes(site.sim.signed("timestamp", &site.sim.timestamp)));
    let before = site.held();
    site.refresh().unwrap();
    assert!(site.changed_since(&before).is_empty());
    // A snapshot of the thief's own. That timestamp is a good one, and names what nobody signed.
    site.sim.timestamp = honest.clone();
    bump(&mut site.sim.snapshot);
    site.sim.signers.insert("snapshot".to_owned(), vec![RoleType::Timestamp as u8 + 1]);
    site.sim.bump_timestamp();
    site.mirror.upload(&site.sim);
    assert!(is_unsigned(&site.refused_but(TIMESTAMP), "snapshot"));
    // The publisher goes on with a new key.
    site.mirror.set_all(newest);
    site.sim.signers.insert("snapshot".to_owned(), vec![RoleType::Snapshot as u8 + 1]);
    site.sim.rotate(RoleType::Timestamp, 70);
    site.sim.next_root();
    site.release(b"release 3");
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
}

#[test]
fn k3_who_has_the_snapshot_key_too_can_neither_go_back_nor_leave_out_nor_list_anything() {
    let mut site = Site::new();
    site.release(b"release 2");
    site.refresh().unwrap();
    let (timestamp, snapshot) = (site.sim.timestamp.clone(), site.sim.snapshot.clone());
    let newest = site.mirror.all();
    // Whatever a thief makes good timestamps of is a floor until they are rotated: each begins anew.
    let held = site.held();
    let play = |site: &mut Site, change: &dyn Fn(&mut Sim)| {
        (site.sim.timestamp, site.sim.snapshot) = (timestamp.clone(), snapshot.clone());
        change(&mut site.sim);
        bump(&mut site.sim.snapshot);
        site.sim.bump_timestamp();
        site.mirror.upload(&site.sim);
        let error = site.refresh().unwrap_err();
        for file in site.changed_since(&held) {
            std::fs::write(site.dir.path().join(&file), &held[&file]).unwrap();
        }
        site.mirror.set_all(newest.clone());
        site.refresh().unwrap();
        match error {
            UpdateError::Metadata(error) => error,
            other => panic!("{other}"),
        }
    };
    for file in ["targets.json", "role.json"] {
        let error = play(&mut site, &|sim| {
            sim.snapshot.meta.insert(file.to_owned(), MetaFile::of(version(1)));
        });
        assert!(is_rollback(&error, file), "{error}");
    }
    let error = play(&mut site, &|sim| drop(sim.snapshot.meta.remove("role.json")));
    assert!(matches!(error, MetadataError::Removed(file) if file == "role.json"));
    // Targets of the thief's own, signed with all that was stolen.
    site.sim.signers.insert("targets".to_owned(), vec![RoleType::Timestamp as u8 + 1, RoleType::Snapshot as u8 + 1]);
    bump(&mut site.sim.targets);
    site.sim.add_artifact("targets", "node", b"the thief's");
    let error = play(&mut site, &|sim| {
        sim.snapshot.meta.insert("targets.json".to_owned(), MetaFile::of(sim.targets.head.version));
    });
    assert!(is_unsigned(&error, "targets"), "{error}");
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
}

#[test]
fn k2_fewer_keys_than_must_sign_are_refused_however_often_they_sign() {
    let mut site = Site::new();
    site.sim.root.add_key(signer(70).public(), RoleType::Timestamp);
    site.sim.root.role_mut(RoleType::Timestamp).threshold = 2.try_into().unwrap();
    site.sim.next_root();
    let own = RoleType::Timestamp as u8 + 1;
    let both = vec![own, 70];
    site.sim.signers.insert("timestamp".to_owned(), both.clone());
    site.release(b"release 2");
    site.refresh().unwrap();
    // One of them, then one of them and keys of other roles.
    let others = (1..=4).filter(|number| *number != own);
    for signers in [vec![70], [70, 60].into_iter().chain(others).collect()] {
        site.sim.signers.insert("timestamp".to_owned(), signers);
        site.sim.bump_timestamp();
        site.mirror.upload(&site.sim);
        assert!(is_unsigned(&site.refused(), "timestamp"));
    }
    // One of them twice: not even read.
    let mut twice: serde_json::Value =
        serde_json::from_slice(&site.sim.signed("timestamp", &site.sim.timestamp)).unwrap();
    let again = twice["signatures"][0].clone();
    twice["signatures"].as_array_mut().unwrap().push(again);
    site.mirror.put("timestamp.json", Served::Bytes(serde_json::to_vec(&twice).unwrap()));
    assert!(matches!(site.refused(), MetadataError::Format { role, .. } if role == "timestamp"));
    site.sim.signers.insert("timestamp".to_owned(), both);
    site.sim.bump_timestamp();
    site.mirror.upload(&site.sim);
    site.refresh().unwrap();
    // A root that only its new keys signed, however many there are.
    let honest = site.mirror.all();
    site.sim.rotate(RoleType::Root, 80);
    site.sim.next_root();
    site.mirror.upload(&site.sim);
    assert!(is_unsigned(&site.refused(), "root"));
    site.mirror.set_all(honest);
    site.refresh().unwrap();
}

#[test]
fn k4_a_root_with_a_key_of_an_unknown_kind_is_followed_over_http() {
    let mut site = Site::new();
    // A key is as the file says: read one of an unknown kind from a file.
    let text = String::from_utf8(site.sim.published_root(1)).unwrap();
    let text = text.replace("\"key-1\"", "\"unknown\"").replace("\"ml-dsa-65/1\"", "\"slh-dsa/9\"");
    let read: Metadata<Root> = Metadata::from_bytes(text.as_bytes(), Rules::own().limits.root).unwrap();
    site.sim.root.add_key(read.signed.keys()["unknown"].clone(), RoleType::Timestamp);
    site.sim.next_root();
    site.release(b"release 2");
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
    assert_eq!(site.held()["root.json"], site.sim.published_root(2));
}

#[test]
fn metadata_and_targets_without_end_are_cut_off_and_leave_nothing() {
    let mut site = Site::new();
    site.release(b"release 2");
    let newest = site.mirror.all();
    for (name, kept) in [
        ("2.root.json", &[][..]),
        ("timestamp.json", &[]),
        ("3.snapshot.json", TIMESTAMP),
        ("2.targets.json", &["snapshot.json", "state/accepted.json"]),
    ] {
        site.mirror.put(name, Served::Endless);
        let before = site.held();
        let outcome = site.refresh();
        assert!(matches!(&outcome, Err(UpdateError::TooLong { file, .. }) if file == name), "{outcome:?}");
        assert_eq!(site.changed_since(&before), kept);
        site.mirror.set_all(newest.clone());
    }
    site.refresh().unwrap();
    let before = site.held();
    let address = TargetFile::of_content("node", &mut &b"release 2"[..]).unwrap().prefixed_path();
    site.mirror.put(&address, Served::Endless);
    assert!(matches!(site.fetch("node"), Err(UpdateError::Target { source: Mismatch::Length { stated: 9, .. }, .. })));
    assert!(site.changed_since(&before).is_empty());
    site.mirror.set_all(newest);
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
}

#[test]
fn a_server_that_drips_or_says_nothing_is_given_up_in_time_and_leaves_nothing() {
    let mut site = Site::new();
    site.release(b"release 2");
    let newest = site.mirror.all();
    let second = Duration::from_secs(1);
    site.patience = Patience { silence: 2 * second, grace: second / 4, rate: 1000 };
    let before = site.held();
    for (served, is_slow) in [(Served::Drip, true), (Served::Silence, false)] {
        site.mirror.put("timestamp.json", served);
        let began = Instant::now();
        let error = match site.refresh() {
            Err(UpdateError::Download { file, source }) if file == "timestamp.json" => source,
            other => panic!("{other:?}"),
        };
        match error {
            RemoteError::TooSlow { rate: 1000 } => assert!(is_slow),
            RemoteError::Http(error) => assert!(!is_slow && error.is_timeout(), "{error:?}"),
            other => panic!("{other}"),
        }
        assert!(began.elapsed() < 20 * second);
        assert!(site.changed_since(&before).is_empty());
    }
    site.mirror.set_all(newest);
    site.patience = Patience::default();
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
}

#[test]
fn another_program_in_place_of_the_described_one_is_thrown_away() {
    let mut site = Site::new();
    site.release(b"release 2");
    let newest = site.mirror.all();
    let address = |content: &[u8]| TargetFile::of_content("node", &mut &content[..]).unwrap().prefixed_path();
    let before = {
        site.refresh().unwrap();
        site.held()
    };
    for (wrong, is_length) in [(&b"release 1"[..], false), (b"RELEASE 2", false), (b"release", true), (b"", true)] {
        site.mirror.put(&address(b"release 2"), Served::Bytes(wrong.to_vec()));
        match site.fetch("node") {
            Err(UpdateError::Target { path, source }) => {
                assert_eq!(path, "node");
                assert_eq!(matches!(source, Mismatch::Length { .. }), is_length, "{source}");
            }
            other => panic!("{other:?}"),
        }
        assert!(site.changed_since(&before).is_empty());
    }
    site.mirror.set_all(newest);
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
}

#[test]
fn of_two_mirrors_that_disagree_the_newer_one_is_right_and_the_older_one_changes_nothing() {
    let mut site = Site::new();
    let behind = Mirror::new();
    behind.set_all(site.mirror.all());
    site.release(b"release 2");
    // First the one that is behind, which nobody can tell; then the newer one, and then never back.
    site.refresh_from(&behind).unwrap();
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
    let before = site.held();
    for _ in 0..2 {
        let outcome = site.refresh_from(&behind);
        assert!(
            matches!(&outcome, Err(UpdateError::Metadata(error)) if is_rollback(error, "timestamp.json")),
            "{outcome:?}"
        );
        assert!(site.changed_since(&before).is_empty());
        site.refresh().unwrap();
    }
    // One that has two halves: what was verified from it stays, and the whole comes from the other.
    site.release(b"release 3");
    behind.set_all(site.mirror.all());
    behind.files.lock().unwrap().remove("3.targets.json");
    let outcome = site.refresh_from(&behind);
    assert!(matches!(&outcome, Err(UpdateError::Absent { file }) if file == "3.targets.json"), "{outcome:?}");
    assert_eq!(site.changed_since(&before), SNAPSHOT);
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
}

#[test]
fn t40_a_place_whose_names_cannot_carry_digests_is_asked_for_plain_ones_and_believed_no_more() {
    let site = Site::new();
    let mut file = tempfile::tempfile().unwrap();
    let mut fetch = || {
        run(async {
            let mut updater = site.updater(&site.mirror).with_plain_target_names();
            let mut refreshed = updater.refresh(site.now.parse().unwrap()).await?;
            let target = refreshed.find("node").await?.expect("it is listed");
            refreshed.fetch(&target, &mut file).await
        })
    };
    assert!(matches!(fetch(), Err(UpdateError::Absent { file }) if file == "node"));
    site.mirror.put("node", Served::Bytes(b"RELEASE 1".to_vec()));
    assert!(matches!(fetch(), Err(UpdateError::Target { source: Mismatch::Digest(_), .. })));
    site.mirror.put("node", Served::Bytes(b"release 1".to_vec()));
    fetch().unwrap();
    assert_eq!(file.metadata().unwrap().len(), 9);
}
