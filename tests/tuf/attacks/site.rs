//! An honest publisher, a server that may be anybody's, and the client between them.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use exuvia::sys::Dir;
use exuvia::tuf::metadata::{DelegationError, TargetFile};
use exuvia::tuf::{MetadataError, Rules, Store, UpdateError, Updater};

use crate::http_server::{Server, hold, raw, reply};
use crate::remote::{Patience, Remote, RemoteError};
use crate::sim::{NOW, Sim, bump, expires};

pub(super) type Error = UpdateError<RemoteError>;

/// What lies at an address.
#[derive(Clone)]
pub(super) enum Served {
    Bytes(Vec<u8>),
    Endless,
    /// A byte now and then.
    Drip,
    /// A connection, and nothing more.
    Silence,
}

pub(super) type Files = Arc<Mutex<BTreeMap<String, Served>>>;

/// A server, which may be anybody's.
pub(super) struct Mirror {
    pub(super) files: Files,
    pub(super) server: Server,
}

impl Mirror {
    pub(super) fn new() -> Self {
        let files = Files::default();
        let behind = files.clone();
        let server = Server::start(move |request, stream| {
            let file = behind.lock().unwrap().get(request.path.trim_start_matches('/')).cloned();
            answer(file, stream);
        });
        Self { files, server }
    }

    pub(super) fn put(&self, name: &str, file: Served) {
        self.files.lock().unwrap().insert(name.to_owned(), file);
    }

    /// Serves one file under the name of another.
    pub(super) fn replay(&self, old: &str, as_new: &str) {
        let file = self.files.lock().unwrap()[old].clone();
        self.put(as_new, file);
    }

    pub(super) fn all(&self) -> BTreeMap<String, Served> {
        self.files.lock().unwrap().clone()
    }

    pub(super) fn set_all(&self, files: BTreeMap<String, Served>) {
        *self.files.lock().unwrap() = files;
    }

    /// Everything that the publisher has signed by now. What was there before stays.
    pub(super) fn upload(&self, sim: &Sim) {
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
pub(super) struct Site {
    pub(super) sim: Sim,
    pub(super) mirror: Mirror,
    pub(super) bootstrap: Vec<u8>,
    pub(super) now: String,
    pub(super) patience: Patience,
    pub(super) dir: tempfile::TempDir,
}

impl Site {
    /// One release is out, and the client has seen it.
    pub(super) fn new() -> Self {
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
    pub(super) fn release(&mut self, content: &[u8]) {
        bump(&mut self.sim.targets);
        bump(self.sim.role_mut("role"));
        self.sim.add_artifact("targets", "node", content);
        self.sim.publish();
        self.mirror.upload(&self.sim);
    }

    pub(super) fn updater(&self, mirror: &Mirror) -> Updater<Remote> {
        let store = Store::open(&Dir::open(self.dir.path()).unwrap()).unwrap().unwrap();
        let base = mirror.server.url("/");
        let remote = Remote::new(&base, Some(&base), self.patience).unwrap();
        Updater::new(remote, store, self.bootstrap.clone(), Rules::own())
    }

    pub(super) fn refresh_from(&self, mirror: &Mirror) -> Result<(), Error> {
        run(async { self.updater(mirror).refresh(self.now.parse().unwrap()).await.map(drop) })
    }

    pub(super) fn refresh(&self) -> Result<(), Error> {
        self.refresh_from(&self.mirror)
    }

    /// Brings all up to date and fetches a target into a file without a name, which is empty if that fails.
    pub(super) fn fetch(&self, path: &str) -> Result<Vec<u8>, Error> {
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
    pub(super) fn held(&self) -> BTreeMap<String, Vec<u8>> {
        let mut held = BTreeMap::new();
        collect(self.dir.path(), "", &mut held);
        held
    }

    /// What changed in the folder.
    pub(super) fn changed_since(&self, before: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
        let held = self.held();
        let names = before.keys().chain(held.keys().filter(|name| !before.contains_key(*name)));
        names.filter(|name| before.get(*name) != held.get(*name)).cloned().collect()
    }

    /// The reason for which an update is refused that changes nothing.
    pub(super) fn refused(&self) -> MetadataError {
        self.refused_but(&[])
    }

    /// As [`Self::refused`], except that these files were good and are kept.
    pub(super) fn refused_but(&self, kept: &[&str]) -> MetadataError {
        let before = self.held();
        let error = self.refresh().unwrap_err();
        assert_eq!(self.changed_since(&before), kept, "{error}");
        match error {
            UpdateError::Metadata(error) => error,
            other => panic!("{other}"),
        }
    }
}

pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
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

pub(super) fn is_rollback(error: &MetadataError, of: &str) -> bool {
    matches!(error, MetadataError::Rollback { file, .. } if file == of)
}

pub(super) fn is_unsigned(error: &MetadataError, of: &str) -> bool {
    matches!(error, MetadataError::Delegation(DelegationError::Unsigned { role, .. }) if role == of)
}

pub(super) const TIMESTAMP: &[&str] = &["state/accepted.json", "timestamp.json"];
pub(super) const SNAPSHOT: &[&str] = &["snapshot.json", "state/accepted.json", "timestamp.json"];
