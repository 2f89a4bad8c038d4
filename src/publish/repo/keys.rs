//! Key files of those who sign metadata.

use std::path::{Path, PathBuf};

use super::error::RepoError;
use crate::crypto::{PublicKey, ReleaseMetadata, SecretKey};
use crate::publish::key_file::{KeyFileError, read_text};
use crate::tuf::metadata::{Key, MlDsaSigner};

/// A public key, and what its file is called.
#[derive(Clone, Debug)]
pub struct NamedKey {
    /// The key, under its fingerprint as keyid.
    pub key: Key,
    /// The name of its file without the ending.
    pub name: String,
}

/// Somebody who is at the desk, with a private key.
#[derive(Debug)]
pub struct Engineer {
    pub(super) signer: MlDsaSigner,
    pub(super) keyid: String,
    pub(super) path: PathBuf,
    /// Whether others than the owner may read the file.
    pub is_exposed: bool,
}

impl NamedKey {
    /// Reads a public key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let (text, _) = read_text(path)?;
        let key = PublicKey::<ReleaseMetadata>::from_pem(&text)
            .map_err(|source| KeyFileError::Key { path: path.to_owned(), source })?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { key: Key::ml_dsa(key.id().to_string(), &key), name })
    }
}

impl Engineer {
    /// Reads a private key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let (text, mode) = read_text(path)?;
        let key = SecretKey::<ReleaseMetadata>::from_pem(&text)
            .map_err(|source| KeyFileError::Key { path: path.to_owned(), source })?;
        let keyid = key.public().id().to_string();
        let signer = MlDsaSigner::new(keyid.clone(), key);
        Ok(Self { signer, keyid, path: path.to_owned(), is_exposed: mode & 0o077 != 0 })
    }

    pub(super) fn unknown(&self) -> RepoError {
        RepoError::UnknownKey { path: self.path.clone(), keyid: self.keyid.clone() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
