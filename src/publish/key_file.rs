use std::io::Write;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::console::{Exit, ToolError};
use crate::crypto::{KeyError, Keyring, KeyringError, PublicKey, Release, SecretKey, SignError};
use crate::sys::{Dir, OperatorFile, SysError};
use crate::types::{ByteLimit, KeyId};

/// Why a key file was not made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system says no.
    #[error(transparent)]
    Storage(#[from] SysError),
    /// A file of that name is there; keys are never replaced.
    #[error("{} exists already, and a key is never replaced; nothing was made. Choose another name.", .0.display())]
    Exists(PathBuf),
    /// Not a text file.
    #[error("{} is not a PEM text, and so not a key; nothing was done with it", .0.display())]
    NotText(PathBuf),
    /// A text, but not such a key.
    #[error("{} {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The same public key was named twice, or none at all.
    #[error("the keys named with --key do not make a keyring: {0}")]
    Keyring(#[from] KeyringError),
    /// No key could be drawn.
    #[error(transparent)]
    Generate(#[from] SignError),
}

impl ToolError for KeyFileError {
    fn exit(&self) -> Exit {
        match self {
            Self::Storage(_) | Self::Exists(_) => Exit::Storage,
            Self::NotText(_) | Self::Key { .. } | Self::Keyring(_) => Exit::Usage,
            Self::Generate(_) => Exit::Unexpected,
        }
    }
}

/// A key pair that was just written.
#[derive(Debug)]
pub struct NewKeyPair {
    /// The private half: PKCS#8, mode 0600.
    pub private: PathBuf,
    /// The public half: SubjectPublicKeyInfo.
    pub public: PathBuf,
    /// The name of the key.
    pub id: KeyId,
}

/// A PEM key is some 3 KB long; this leaves room for comments around it.
const KEY_FILE: ByteLimit = ByteLimit::kib(64);

/// Makes a release key and writes `<out>.key` and `<out>.pem`. Where `out` is a folder, the files in
/// it are named after the key's fingerprint. Both are written, or neither.
pub fn new_key_pair(out: &Path) -> Result<NewKeyPair, KeyFileError> {
    let key = SecretKey::<Release>::generate()?;
    let id = key.public().id();
    let in_folder = out.is_dir() || out.as_os_str().as_encoded_bytes().ends_with(b"/");
    let prefix = if in_folder { out.join(format!("release-{}", id.short())) } else { out.to_owned() };
    let (dir, name) = Dir::parent_of_operator_file(&prefix)?;
    let shown = |ending: &str| prefix.with_file_name(format!("{name}.{ending}"));
    let (private, public) = (shown("key"), shown("pem"));
    for (path, ending) in [(&private, "key"), (&public, "pem")] {
        if dir.exists(&format!("{name}.{ending}"))? {
            return Err(KeyFileError::Exists(path.clone()));
        }
    }
    let write = |ending: &str, path: &Path, text: &str, mode: u32| {
        let outcome = dir.new_file(mode).and_then(|mut file| {
            file.write_all(text.as_bytes()).map_err(|error| SysError::io("write", path, error))?;
            file.publish_as_new(&format!("{name}.{ending}"))
        });
        outcome.map_err(|error| match error {
            error if error.already_exists() => KeyFileError::Exists(path.to_owned()),
            error => KeyFileError::Storage(error),
        })
    };
    write("key", &private, &key.to_pem(), 0o600)?;
    if let Err(error) = write("pem", &public, &key.public().to_pem(), 0o644) {
        dir.remove(&format!("{name}.key"))?;
        return Err(error);
    }
    Ok(NewKeyPair { private, public, id })
}

/// Either half of a key.
#[derive(Debug)]
pub enum AnyKey {
    /// A public key.
    Public(PublicKey<Release>),
    /// A private key.
    Private(SecretKey<Release>),
}

impl AnyKey {
    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey<Release> {
        match self {
            Self::Public(key) => key,
            Self::Private(key) => key.public(),
        }
    }
}

/// Reads a private key. The second value tells whether others than its owner may read the file.
pub fn read_secret_key(path: &Path) -> Result<(SecretKey<Release>, bool), KeyFileError> {
    let (text, mode) = read_text(path)?;
    match SecretKey::from_pem(&text) {
        Ok(key) => Ok((key, mode & 0o077 != 0)),
        Err(source) => Err(KeyFileError::Key { path: path.to_owned(), source }),
    }
}

/// Reads a key file of either kind.
pub fn read_any_key(path: &Path) -> Result<AnyKey, KeyFileError> {
    let (text, _) = read_text(path)?;
    match SecretKey::from_pem(&text) {
        Ok(key) => Ok(AnyKey::Private(key)),
        Err(private) => match PublicKey::from_pem(&text) {
            Ok(key) => Ok(AnyKey::Public(key)),
            // It says that it is private: then what is wrong with it as such is the reason.
            Err(KeyError::PrivateForPublic) => Err(KeyFileError::Key { path: path.to_owned(), source: private }),
            Err(source) => Err(KeyFileError::Key { path: path.to_owned(), source }),
        },
    }
}

/// Reads public keys, any one of which shall suffice.
pub fn read_keyring(paths: &[PathBuf]) -> Result<Keyring<Release>, KeyFileError> {
    let mut texts = Vec::new();
    for path in paths {
        let (text, _) = read_text(path)?;
        if let Err(source) = PublicKey::<Release>::from_pem(&text) {
            return Err(KeyFileError::Key { path: path.clone(), source });
        }
        texts.push(text);
    }
    Ok(Keyring::from_pems(texts.iter().map(|text| text.as_str()))?)
}

pub(super) fn read_text(path: &Path) -> Result<(Zeroizing<String>, u32), KeyFileError> {
    let file = OperatorFile::open(path, KEY_FILE)?;
    let mode = file.mode;
    let bytes = Zeroizing::new(file.into_bytes(path)?);
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok((Zeroizing::new(text.to_owned()), mode)),
        Err(_) => Err(KeyFileError::NotText(path.to_owned())),
    }
}
