use std::fs;
use std::path::PathBuf;

use exuvia::crypto::{Keyring, NodeSnapshot};
use exuvia::snapshot::{
    Binary, Creation, Expectations, NodeKeys, Reason, Recipient, Snapshot, SnapshotError, Snapshots, StateFiles,
    UntrustedSnapshot, VerifiedSnapshot, Whose,
};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::{NodeId, Product, Sha256Digest};
use rusqlite::Connection;
use tempfile::TempDir;

/// `application_id` of the databases of these tests.
pub(crate) const PROGRAM: i32 = 0x6578_7501;

/// A node's data folder with a state, keys and snapshots.
pub(crate) struct Node {
    pub(crate) folder: TempDir,
    pub(crate) data: PrivateDir,
    pub(crate) keys: NodeKeys,
    pub(crate) snapshots: Snapshots,
    pub(crate) product: Product,
    pub(crate) id: NodeId,
}

impl Node {
    pub(crate) fn new(digit: char) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::at(folder, digit)
    }

    pub(crate) fn at(folder: TempDir, digit: char) -> Self {
        let data = PrivateDir::open_or_create(folder.path().join("data"), Loose::RefuseWritable).unwrap();
        let keys = NodeKeys::open_or_make(&data).unwrap();
        let snapshots = Snapshots::open(&data).unwrap();
        let (product, id) = ("exuvia".parse().unwrap(), digit.to_string().repeat(32).parse().unwrap());
        Self { folder, data, keys, snapshots, product, id }
    }

    /// With a small state of epoch 1.
    pub(crate) fn with_state(digit: char) -> Self {
        let node = Self::new(digit);
        node.open_state().execute("INSERT INTO t VALUES ('first')", []).unwrap();
        node
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.data.path().join("state.db")
    }

    pub(crate) fn open_state(&self) -> Connection {
        let db = Connection::open(self.state()).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        if db.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0)).unwrap() == 0 {
            db.pragma_update(None, "application_id", PROGRAM).unwrap();
            db.pragma_update(None, "user_version", 1).unwrap();
            db.execute_batch("CREATE TABLE t (text TEXT)").unwrap();
        }
        db
    }

    pub(crate) fn rows(&self) -> Vec<String> {
        let db = Connection::open(self.state()).unwrap();
        let mut query = db.prepare("SELECT text FROM t ORDER BY rowid").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    pub(crate) fn take(&self) -> Result<Snapshot, SnapshotError> {
        self.take_for(&[])
    }

    pub(crate) fn take_for(&self, recipients: &[Recipient]) -> Result<Snapshot, SnapshotError> {
        self.take_of(&StateFiles::database(), recipients)
    }

    /// As a launcher has it taken: nobody has the state open.
    pub(crate) fn take_before_migration(&self) -> Result<Snapshot, SnapshotError> {
        self.take_because(Reason::Upgrade, &StateFiles::database(), &[])
    }

    pub(crate) fn take_of(&self, state: &StateFiles, recipients: &[Recipient]) -> Result<Snapshot, SnapshotError> {
        self.take_because(Reason::Operator, state, recipients)
    }

    fn take_because(
        &self,
        reason: Reason,
        state: &StateFiles,
        recipients: &[Recipient],
    ) -> Result<Snapshot, SnapshotError> {
        let what = Creation {
            product: &self.product,
            node: &self.id,
            data: &self.data,
            state,
            binary: Binary { sha256: Sha256Digest::from_bytes([1; 32]), version: "1.0.0".parse().unwrap() },
            reason,
            recipients,
            now: jiff::Timestamp::now(),
        };
        self.snapshots.create(&what, &self.keys, &mut |_, _| {})
    }

    pub(crate) fn verify(&self, file: &std::path::Path) -> Result<VerifiedSnapshot, SnapshotError> {
        verify(file, &self.keys.trusted(), Whose::Node(&self.product, &self.id))
    }

    pub(crate) fn restore(&self, snapshot: &Snapshot) -> Result<exuvia::snapshot::Restored, SnapshotError> {
        self.restore_of(snapshot, &StateFiles::database())
    }

    pub(crate) fn restore_of(
        &self,
        snapshot: &Snapshot,
        state: &StateFiles,
    ) -> Result<exuvia::snapshot::Restored, SnapshotError> {
        let lock = self.data.try_lock("node.lock").unwrap().unwrap();
        let mut verified = self.verify(&snapshot.path)?;
        verified.restore(&self.data, state, &lock, &[self.keys.identity()], jiff::Timestamp::now(), &mut |_, _| {})
    }

    /// Every name below the data folder with its content: to show that nothing changed.
    pub(crate) fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.data.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = fs::read(&path).unwrap();
                    found.push((path, content));
                }
            }
        }
        found.sort();
        found
    }
}

pub(crate) fn verify(
    file: &std::path::Path,
    keys: &Keyring<NodeSnapshot>,
    whose: Whose<'_>,
) -> Result<VerifiedSnapshot, SnapshotError> {
    let expected = Expectations { keys, whose, id: None, digest: None };
    UntrustedSnapshot::open(file)?.verify(&expected, &mut |_, _| {})
}
