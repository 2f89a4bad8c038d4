//! A repository that tests edit: `sim.snapshot.head.version` and so on are plain values, and every file
//! is signed when it is asked for.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use exuvia::crypto::{ReleaseMetadata, SecretKey};
use exuvia::sys::Dir;
use exuvia::tuf::metadata::{
    DelegatedPaths, DelegatedRole, Delegations, Expires, Head, MetaFile, Metadata, MlDsaSigner, Role, RoleType,
    RoleVersion, Root, Signed, Snapshot, TargetFile, Targets, Timestamp,
};
use exuvia::tuf::{Answer, MetadataError, RemoteFile, Repository, Rules, Store, UpdateError, Updater};

pub const NOW: &str = "2030-06-01T00:00:00Z";
pub const LATER: &str = "2031-01-01T00:00:00Z";
pub const PAST: &str = "2030-05-01T00:00:00Z";

pub fn expires(text: &str) -> Expires {
    text.parse().unwrap()
}

pub fn version(number: u64) -> RoleVersion {
    RoleVersion::new(number).unwrap()
}

pub fn head() -> Head {
    Head::first(expires(LATER))
}

pub fn bump(signed: &mut impl Signed) {
    signed.head_mut().version = signed.head().version.next().unwrap();
}

/// The signer number so and so. The same number is the same key.
pub fn signer(number: u8) -> MlDsaSigner {
    MlDsaSigner::new(format!("key-{number}"), SecretKey::<ReleaseMetadata>::from_seed(&[number; 32]))
}

/// What a server does instead of answering properly.
#[derive(Clone)]
pub enum Fault {
    Fail,
    Absent,
    Bytes(Vec<u8>),
    Endless,
    /// So many bytes of the real file, and then the connection breaks off.
    BreaksOff(usize),
}

#[derive(Debug, thiserror::Error)]
#[error("the connection broke off")]
pub struct Broken;

pub type Error = UpdateError<Broken>;

/// Payload, signers, and whether indented.
type SignedAs = (Vec<u8>, Vec<u8>, bool);

static SIGNED: Mutex<BTreeMap<SignedAs, Vec<u8>>> = Mutex::new(BTreeMap::new());

#[derive(Clone)]
pub struct Sim {
    pub root: Root,
    pub timestamp: Timestamp,
    pub snapshot: Snapshot,
    pub targets: Targets,
    pub delegated: BTreeMap<String, Targets>,
    /// Who signs which role, whatever the metadata says about it.
    pub signers: BTreeMap<String, Vec<u8>>,
    pub artifacts: BTreeMap<String, Vec<u8>>,
    /// Whether lengths and digests of metadata files are stated.
    pub states_digests: bool,
    pub indented: bool,
    pub faults: BTreeMap<String, Fault>,
    pub requests: Vec<String>,
    /// Bytes that went out for the last request.
    pub sent: u64,
    roots: Vec<Vec<u8>>,
}

impl Sim {
    pub fn new() -> Self {
        let number = |kind: RoleType| kind as u8 + 1;
        let keys = RoleType::ALL.map(|kind| signer(number(kind)).public());
        let root = Root::new(head(), keys, |kind| Role::one_of([format!("key-{}", number(kind))]));
        let mut sim = Self {
            root,
            timestamp: Timestamp::new(head()),
            snapshot: Snapshot::new(head()),
            targets: Targets::new(head()),
            delegated: BTreeMap::new(),
            signers: RoleType::ALL.map(|kind| (kind.to_string(), vec![number(kind)])).into(),
            artifacts: BTreeMap::new(),
            states_digests: false,
            indented: false,
            faults: BTreeMap::new(),
            requests: Vec::new(),
            sent: 0,
            roots: Vec::new(),
        };
        sim.publish_root();
        sim
    }

    /// Publishes the root as it is, under its own version.
    pub fn publish_root(&mut self) {
        let bytes = self.signed("root", &self.root);
        self.roots.push(bytes);
    }

    pub fn next_root(&mut self) {
        bump(&mut self.root);
        self.publish_root();
    }

    pub fn published_root(&self, version: usize) -> Vec<u8> {
        self.roots[version - 1].clone()
    }

    /// Replaces the keys of a role by one new key.
    pub fn rotate(&mut self, kind: RoleType, number: u8) {
        for keyid in self.root.role(kind).keyids.clone() {
            self.root.revoke_key(&keyid, kind).unwrap();
        }
        self.root.add_key(signer(number).public(), kind);
        self.signers.insert(kind.to_string(), vec![number]);
    }

    pub fn bump_timestamp(&mut self) {
        bump(&mut self.timestamp);
        self.timestamp.snapshot = self.meta_file("snapshot", &self.snapshot);
    }

    /// A new snapshot of all targets as they are, and a timestamp that names it.
    pub fn publish(&mut self) {
        bump(&mut self.snapshot);
        self.describe_targets();
        self.bump_timestamp();
    }

    pub fn describe_targets(&mut self) {
        let all = self.delegated.iter().map(|(name, targets)| (name.as_str(), targets));
        let all: Vec<_> = all.chain([("targets", &self.targets)]).collect();
        let files = all.into_iter().map(|(name, targets)| (format!("{name}.json"), self.meta_file(name, targets)));
        self.snapshot.meta = files.collect();
    }

    fn meta_file<T: Signed>(&self, name: &str, signed: &T) -> MetaFile {
        let version = signed.head().version;
        if !self.states_digests {
            return MetaFile::of(version);
        }
        MetaFile::of_content(version, &mut &self.signed(name, signed)[..]).unwrap()
    }

    /// Signs deterministically enough: the same bytes each time would need the same randomness, so a
    /// file that was signed once is kept.
    pub fn signed<T: Signed>(&self, name: &str, signed: &T) -> Vec<u8> {
        let mut metadata = Metadata::new(signed.clone());
        let signers = self.signers.get(name).cloned().unwrap_or_default();
        let key = (metadata.signed_bytes(), signers.clone(), self.indented);
        if let Some(known) = SIGNED.lock().unwrap().get(&key).cloned() {
            return known;
        }
        for number in signers {
            metadata.add_signature(&signer(number)).unwrap();
        }
        let bytes = if self.indented { metadata.to_indented_bytes() } else { metadata.to_bytes() }.unwrap();
        SIGNED.lock().unwrap().entry(key).or_insert(bytes).clone()
    }

    pub fn add_artifact(&mut self, role: &str, path: &str, content: &[u8]) {
        let target = TargetFile::of_content(path, &mut &content[..]).unwrap();
        self.role_mut(role).insert(target);
        self.artifacts.insert(path.to_owned(), content.to_vec());
    }

    pub fn role_mut(&mut self, role: &str) -> &mut Targets {
        match role {
            "targets" => &mut self.targets,
            role => self.delegated.get_mut(role).unwrap(),
        }
    }

    /// Lets `delegator` delegate these paths to `name`, signed by key `number`.
    pub fn delegate(&mut self, delegator: &str, name: &str, paths: &[&str], terminating: bool, number: u8) {
        let patterns = paths.iter().map(|path| (*path).to_owned()).collect();
        let public = signer(number).public();
        let mut role = DelegatedRole::new(name, Role::one_of([public.keyid()]), DelegatedPaths::Patterns(patterns));
        role.terminating = terminating;
        self.delegated.entry(name.to_owned()).or_insert_with(|| Targets::new(head()));
        self.signers.insert(name.to_owned(), vec![number]);
        let from = self.role_mut(delegator);
        if from.delegations.is_none() {
            from.delegations = Some(Delegations::to_roles([], vec![]).unwrap());
        }
        from.roles_mut().unwrap().push(role);
        from.add_key(public, name).unwrap();
    }

    fn file(&self, name: &str) -> Option<Vec<u8>> {
        let role = name.strip_suffix(".json")?;
        let (asked, role) = match role.split_once('.') {
            Some((number, role)) if number.parse::<u64>().is_ok() => (number.parse::<u64>().ok(), role),
            _ => (None, role),
        };
        let role = decode(role);
        match (&*role, asked) {
            ("root", Some(asked)) => self.roots.get(usize::try_from(asked).unwrap() - 1).cloned(),
            ("timestamp", None) => Some(self.signed("timestamp", &self.timestamp)),
            ("snapshot", _) => Some(self.signed("snapshot", &self.snapshot)),
            ("targets", _) => Some(self.signed("targets", &self.targets)),
            (role, _) => self.delegated.get(role).map(|targets| self.signed(role, targets)),
        }
    }

    fn artifact(&self, address: &str) -> Option<Vec<u8>> {
        if self.root.consistent_snapshot != Some(true) {
            return self.artifacts.get(address).cloned();
        }
        let (folder, name) = address.rsplit_once('/').map_or(("", address), |(folder, name)| (folder, name));
        let (_, plain) = name.split_once('.')?;
        let path = if folder.is_empty() { plain.to_owned() } else { format!("{folder}/{plain}") };
        self.artifacts.get(&path).cloned()
    }

    fn answer(&mut self, file: RemoteFile<'_>, into: &mut dyn Write) -> Result<Answer, Broken> {
        let (name, real) = match file {
            RemoteFile::Metadata(name) => (name, self.file(name)),
            RemoteFile::Target(address) => (address, self.artifact(address)),
        };
        self.requests.push(name.to_owned());
        self.sent = 0;
        let mut send = |bytes: &[u8]| {
            into.write_all(bytes).map_err(|_: io::Error| Broken)?;
            self.sent += bytes.len() as u64;
            Ok(())
        };
        match self.faults.get(name) {
            Some(Fault::Fail) => return Err(Broken),
            Some(Fault::Absent) => return Ok(Answer::Absent),
            Some(Fault::Bytes(bytes)) => send(bytes)?,
            Some(Fault::Endless) => loop {
                send(&[b' '; 1000])?;
            },
            Some(Fault::BreaksOff(length)) => {
                send(&real.unwrap()[..*length])?;
                return Err(Broken);
            }
            None => match real {
                Some(bytes) => send(&bytes)?,
                None => return Ok(Answer::Absent),
            },
        }
        Ok(Answer::Whole)
    }
}

/// Undoes percent-encoding.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(&String::from_utf8_lossy(&others[..2]), 16).unwrap());
            rest = &others[2..];
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[derive(Clone)]
pub struct Remote(pub Arc<Mutex<Sim>>);

impl Repository for Remote {
    type Error = Broken;

    async fn fetch(&mut self, file: RemoteFile<'_>, into: &mut (dyn Write + Send)) -> Result<Answer, Broken> {
        self.0.lock().unwrap().answer(file, into)
    }
}

/// A client with its folder. Each action is a start of its own: nothing is kept in memory.
pub struct Client {
    sim: Arc<Mutex<Sim>>,
    pub dir: tempfile::TempDir,
    pub bootstrap: Vec<u8>,
    pub now: String,
    pub rules: Rules,
}

impl Client {
    /// A client of a new repository, trusting its first root.
    pub fn new() -> Self {
        Self::of(Sim::new())
    }

    pub fn of(sim: Sim) -> Self {
        let bootstrap = sim.published_root(1);
        Self {
            sim: Arc::new(Mutex::new(sim)),
            dir: tempfile::tempdir().unwrap(),
            bootstrap,
            now: NOW.to_owned(),
            rules: Rules::own(),
        }
    }

    /// As [`Self::new`], refreshed once.
    pub fn refreshed() -> Self {
        let client = Self::new();
        client.refresh().unwrap();
        client
    }

    /// Another client of the same repository, with a folder of its own.
    pub fn beside(&self) -> Self {
        Self {
            sim: self.sim.clone(),
            dir: tempfile::tempdir().unwrap(),
            bootstrap: self.bootstrap.clone(),
            now: self.now.clone(),
            rules: self.rules,
        }
    }

    pub fn sim(&self) -> MutexGuard<'_, Sim> {
        self.sim.lock().unwrap()
    }

    /// Makes a later root the one that comes with the program.
    pub fn trust(&mut self, root: usize) {
        let bootstrap = self.sim().published_root(root);
        self.bootstrap = bootstrap;
    }

    pub fn updater(&self) -> Updater<Remote> {
        let open = || Store::open(&Dir::open(self.dir.path()).unwrap()).unwrap();
        // A child that another test has just forked holds the lock, too, until its exec.
        let wait = || std::thread::sleep(std::time::Duration::from_millis(10));
        let store = (0..200)
            .find_map(|_| {
                open().or_else(|| {
                    wait();
                    None
                })
            })
            .expect("nobody uses it");
        self.sim().requests.clear();
        Updater::new(Remote(self.sim.clone()), store, self.bootstrap.clone(), self.rules)
    }

    pub fn refresh(&self) -> Result<(), Error> {
        block_on(async { self.updater().refresh(self.now.parse().unwrap()).await.map(drop) })
    }

    /// Refreshes and searches a target.
    pub fn find(&self, path: &str) -> Result<Option<TargetFile>, Error> {
        block_on(async {
            let mut updater = self.updater();
            let mut refreshed = updater.refresh(self.now.parse().unwrap()).await?;
            refreshed.find(path).await
        })
    }

    /// Refreshes, searches a target and fetches it into a file; the file's content is returned in any case.
    pub fn fetch(&self, path: &str) -> (Result<(), Error>, Vec<u8>) {
        use std::io::Read;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"an older file").unwrap();
        let outcome = block_on(async {
            let mut updater = self.updater();
            let mut refreshed = updater.refresh(self.now.parse().unwrap()).await?;
            let target = refreshed.find(path).await?.expect("the target is there");
            refreshed.fetch(&target, &mut file).await
        });
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        (outcome, content)
    }

    pub fn requests(&self) -> Vec<String> {
        self.sim().requests.clone()
    }

    /// The requests behind those for the top level.
    pub fn roles_asked(&self) -> Vec<String> {
        let requests = self.requests();
        let top = requests.iter().position(|name| name.ends_with("targets.json")).unwrap();
        let name = |file: &String| decode(file.split_once('.').unwrap().1.strip_suffix(".json").unwrap());
        requests[top + 1..].iter().filter(|file| file.strip_suffix(".json").is_some()).map(name).collect()
    }

    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.dir.path().join(name)).ok()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    /// The version of a stored file; 0 when there is none.
    pub fn version(&self, role: &str) -> u64 {
        let Some(bytes) = self.file(&format!("{role}.json")) else { return 0 };
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        value["signed"]["version"].as_u64().unwrap()
    }

    /// The versions of the stored root, timestamp, snapshot and targets.
    pub fn versions(&self) -> [u64; 4] {
        RoleType::ALL.map(|kind| self.version(kind.as_str()))
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub fn refused(outcome: Result<(), Error>) -> MetadataError {
    match outcome {
        Err(UpdateError::Metadata(error)) => error,
        other => panic!("no metadata was refused: {other:?}"),
    }
}
