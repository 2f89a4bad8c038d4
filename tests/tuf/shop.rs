//! A release desk: keys, a packed tree and a repository, and a client that looks at it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use exuvia::crypto::{Keyring, Release, ReleaseMetadata, SecretKey};
use exuvia::publish;
use exuvia::publish::repo::{
    ClientError, Desk, Engineer, Folder, Init, NamedKey, Place, RepoError, Rotation, Settled, Terms, verify,
};
use exuvia::tuf::metadata::RoleType;
use exuvia::types::{ArchiveFormat, Channel, ReleaseId, Version};
use jiff::Timestamp;

/// A folder with keys, a packed tree and a repository.
pub struct Shop {
    dir: tempfile::TempDir,
    pub now: Timestamp,
}

pub const START: &str = "2030-06-01T00:00:00Z";

impl Shop {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (number, name) in ["alice", "bob", "online", "spare", "mallory"].into_iter().enumerate() {
            let key = SecretKey::<ReleaseMetadata>::from_seed(&[u8::try_from(number).unwrap() + 80; 32]);
            fs::write(dir.path().join(format!("{name}.key")), &*key.to_pem()).unwrap();
            fs::write(dir.path().join(format!("{name}.pem")), key.public().to_pem()).unwrap();
        }
        Self { dir, now: START.parse().unwrap() }
    }

    /// As [`Self::new`], with a published repository: alice for root and targets, one key online.
    pub fn open() -> Self {
        let shop = Self::new();
        let settled = shop.init(&shop.init_of(&["alice"], &["alice"]), &["alice", "online"]).unwrap();
        assert_eq!(roles(&settled), [RoleType::Targets, RoleType::Snapshot, RoleType::Root, RoleType::Timestamp]);
        shop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn keys(&self, names: &[&str]) -> Vec<NamedKey> {
        names.iter().map(|name| NamedKey::read(&self.path(&format!("{name}.pem"))).unwrap()).collect()
    }

    pub fn by(&self, names: &[&str]) -> Vec<Engineer> {
        names.iter().map(|name| Engineer::read(&self.path(&format!("{name}.key"))).unwrap()).collect()
    }

    pub fn init_of(&self, root: &[&str], targets: &[&str]) -> Init {
        let online = || self.keys(&["online"]);
        let keys = BTreeMap::from([
            (RoleType::Root, self.keys(root)),
            (RoleType::Targets, self.keys(targets)),
            (RoleType::Snapshot, online()),
            (RoleType::Timestamp, online()),
        ]);
        Init {
            product: "exuvia".parse().unwrap(),
            keys,
            thresholds: [(RoleType::Targets, targets.len() as u64)].into(),
            valid: BTreeMap::new(),
        }
    }

    pub fn place(&self) -> Box<dyn Place> {
        Box::new(Folder::open_or_make(&self.path("repo")).unwrap())
    }

    pub fn init(&self, init: &Init, by: &[&str]) -> Result<Settled, RepoError> {
        Desk::init(|| Ok(self.place()), init, &self.by(by), self.now).map(|(_, settled)| settled)
    }

    pub fn desk(&self) -> Desk {
        Desk::open(self.place(), self.now).unwrap()
    }

    pub fn release_key() -> SecretKey<Release> {
        SecretKey::from_seed(&[99; 32])
    }

    pub fn keyring() -> Keyring<Release> {
        Keyring::from_pems([Self::release_key().public().to_pem().as_str()]).unwrap()
    }

    pub fn pack(&self, tree: &str, version: &str, content: &str) {
        let binary = self.path("program");
        fs::write(&binary, content.repeat(500)).unwrap();
        let plan = publish::Pack {
            id: ReleaseId {
                product: "exuvia".parse().unwrap(),
                version: version.parse().unwrap(),
                target: "x86_64-unknown-linux-gnu".parse().unwrap(),
            },
            format: ArchiveFormat::TarZst,
            level: Some(1),
            prerelease: false,
            notes_url: None,
            base_url: None,
            published_at: self.now,
        };
        publish::pack(&plan, &Self::release_key(), &binary, &self.path(tree), &mut |_| ()).unwrap();
    }

    pub fn add(&self, desk: &mut Desk, version: &str, by: &[&str]) -> Result<Settled, RepoError> {
        self.pack("site", version, version);
        self.add_packed(desk, "site", version, by)
    }

    pub fn add_packed(&self, desk: &mut Desk, tree: &str, version: &str, by: &[&str]) -> Result<Settled, RepoError> {
        let terms = Terms { channel: Channel::Stable, minimum: None, barriers: Vec::new(), rollout: None, notes: None };
        let edited = desk.add_release(&self.path(tree), &v(version), &terms, &Self::keyring(), &self.by(by))?;
        Ok(edited.settled)
    }

    /// What a client sees that comes with the first root: the versions on offer, with every file fetched.
    pub fn client(&self) -> Result<Vec<String>, ClientError> {
        client_at(&self.path("repo"), self.now)
    }

    pub fn offers(&self, versions: &[&str]) {
        assert_eq!(self.client().unwrap(), versions);
    }

    pub fn files(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("repo").join(folder)) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn rotate(&self, kind: RoleType, add: &[&str], remove: &[&str], by: &[&str]) -> Result<Settled, RepoError> {
        let rotation = Rotation {
            add: self.keys(add),
            remove: remove.iter().map(|name| (*name).to_owned()).collect(),
            threshold: None,
        };
        self.desk().rotate(kind, &rotation, &self.by(by))
    }
}

pub fn v(text: &str) -> Version {
    text.parse().unwrap()
}

pub fn roles(settled: &Settled) -> Vec<RoleType> {
    settled.published.iter().map(|(role, _)| *role).collect()
}

pub fn client_at(repo: &Path, now: Timestamp) -> Result<Vec<String>, ClientError> {
    let place = Folder::open(repo).unwrap();
    let report = verify(&place, None, Some(&Shop::keyring()), now, &mut |_| ())?;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(report.files, 2 * report.releases.len(), "an archive and its signature each");
    Ok(report.releases.iter().map(|(release, _)| release.id.version.to_string()).collect())
}
