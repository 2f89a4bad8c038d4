use std::fmt;
use std::path::Path;

use age::secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::error::SnapshotError;
use crate::crypto::{KeyError, Keyring, KeyringError, NodeSnapshot, PublicKey, SecretKey};
use crate::sys::{Dir, Loose, OperatorFile, PrivateDir, SysError};
use crate::types::ByteLimit;

/// Who may open a sealed snapshot: the public half of an age identity, `age1…`.
pub type Recipient = age::x25519::Recipient;

/// What opens a sealed snapshot, `AGE-SECRET-KEY-1…`. Wiped when dropped.
pub type Identity = age::x25519::Identity;

const FOLDER: &str = "trust";
const SECRET: &str = "snapshot.key";
const PUBLIC: &str = "snapshot.pem";
const IDENTITY: &str = "snapshot.identity";
/// Of both files a node keeps in `trust`.
const KEY_FILE: ByteLimit = ByteLimit::kib(64);

/// The node's own two keys: one signs its snapshots, one opens those that are sealed. Both are private to
/// the node, in the folder that no snapshot holds and no restore touches.
pub struct NodeKeys {
    pub(super) secret: SecretKey<NodeSnapshot>,
    identity: Identity,
}

impl NodeKeys {
    /// Reads the keys from the node's data folder, making them (0600) where there are none.
    pub fn open_or_make(data: &PrivateDir) -> Result<Self, SnapshotError> {
        let trust = data.private_subdir(FOLDER, Loose::RefuseWritable)?;
        // What a kill or a power cut left of a key, or of a state, that was being made.
        trust.sweep()?;
        data.sweep()?;
        if !trust.exists(SECRET)? {
            let key = SecretKey::<NodeSnapshot>::generate()?;
            make(&trust, SECRET, key.to_pem().as_bytes())?;
        }
        if !trust.exists(IDENTITY)? {
            let identity = Identity::generate().to_string();
            make(&trust, IDENTITY, format!("{}\n", identity.expose_secret()).as_bytes())?;
        }
        let secret = read_text(&trust, SECRET)?;
        let secret = SecretKey::from_pem(&secret)
            .map_err(|source| SnapshotError::Key { path: trust.path().join(SECRET), source })?;
        let text = read_text(&trust, IDENTITY)?;
        let identity = parse_identities(&text)
            .and_then(|mut all| all.pop())
            .ok_or_else(|| SnapshotError::Identity(trust.path().join(IDENTITY)))?;
        let public = secret.public().to_pem();
        let stated = trust.exists(PUBLIC)?.then(|| trust.read(PUBLIC, KEY_FILE).ok()).flatten();
        if stated.as_deref() != Some(public.as_bytes()) {
            trust.replace(PUBLIC, public.as_bytes(), 0o600)?;
        }
        Ok(Self { secret, identity })
    }

    /// The key that verifies this node's snapshots.
    #[must_use]
    pub fn public(&self) -> &PublicKey<NodeSnapshot> {
        self.secret.public()
    }

    /// A keyring of this node's key alone.
    #[must_use]
    pub fn trusted(&self) -> Keyring<NodeSnapshot> {
        Keyring::from_pems([self.public().to_pem().as_str()]).expect("one key is a keyring")
    }

    /// Who can open what is sealed for this node.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        self.identity.to_public()
    }

    /// What opens what is sealed for this node.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKeys({:?}, {})", self.secret, self.recipient())
    }
}

/// Never replaces: of two that make keys at once, the first one's stand.
fn make(dir: &Dir, name: &str, bytes: &[u8]) -> Result<(), SnapshotError> {
    let mut file = dir.new_file(0o600)?;
    std::io::Write::write_all(&mut file, bytes)
        .map_err(|error| SnapshotError::of_write(dir.path().join(name), error))?;
    match file.publish_as_new(name) {
        Err(error) if error.already_exists() => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn read_text(dir: &Dir, name: &str) -> Result<Zeroizing<String>, SnapshotError> {
    let bytes = Zeroizing::new(dir.read(name, KEY_FILE)?);
    let unreadable = || SnapshotError::Key { path: dir.path().join(name), source: KeyError::Private };
    std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| unreadable())
}

/// The identities of an `age-keygen` file: comments and blank lines left out. `None`: something else is in it.
fn parse_identities(text: &str) -> Option<Vec<Identity>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.parse().ok()).collect()
}

/// Reads the identities of a file that `age-keygen` made.
pub fn read_identities(path: &Path) -> Result<Vec<Identity>, SnapshotError> {
    let bytes = Zeroizing::new(OperatorFile::read(path, KEY_FILE)?);
    let identities = std::str::from_utf8(&bytes).ok().and_then(parse_identities);
    identities.filter(|all| !all.is_empty()).ok_or_else(|| SnapshotError::Identity(path.to_owned()))
}

/// Reads a list of trusted snapshot keys: PEM texts, one behind the other. What stands between them is
/// not looked at.
pub fn read_trusted_keys(path: &Path) -> Result<Keyring<NodeSnapshot>, SnapshotError> {
    const END: &str = "-----END PUBLIC KEY-----";
    let bytes = OperatorFile::read(path, ByteLimit::mib(1))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| SysError::read_of(path, std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
    let pems: Vec<String> = text
        .split_inclusive(END)
        .filter_map(|part| part.find("-----BEGIN").map(|at| format!("{}\n", &part[at..])))
        .collect();
    Keyring::from_pems(pems.iter().map(String::as_str)).map_err(|source| match source {
        KeyringError::Empty => SnapshotError::NoTrustedKeys(path.to_owned()),
        source => SnapshotError::TrustedKeys { path: path.to_owned(), source },
    })
}
