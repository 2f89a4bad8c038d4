use super::public::{KeyError, PublicKey};
use super::role::Role;
use crate::types::KeyId;

/// The keys that a build trusts for one role. Any one of them suffices.
#[derive(Clone, Debug)]
pub struct Keyring<R: Role> {
    keys: Vec<PublicKey<R>>,
}

/// Why a list of keys is not a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// A keyring without keys would refuse everything.
    #[error("no key is pinned: build with at least two public keys in keys/release")]
    Empty,
    /// The key at this place, counted from 1, cannot be read.
    #[error("pinned key number {0} {1}")]
    Key(usize, #[source] KeyError),
}

impl<R: Role> Keyring<R> {
    /// Reads the PEM texts that a build pins.
    pub fn from_pems<'a>(pems: impl IntoIterator<Item = &'a str>) -> Result<Self, KeyringError> {
        let keys = pems
            .into_iter()
            .enumerate()
            .map(|(index, pem)| PublicKey::from_pem(pem).map_err(|error| KeyringError::Key(index + 1, error)))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(KeyringError::Empty);
        }
        Ok(Self { keys })
    }

    /// The keys, in the order in which they are tried.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey<R>> {
        self.keys.iter()
    }

    /// The key of that name, if it is pinned.
    #[must_use]
    pub fn find(&self, id: KeyId) -> Option<&PublicKey<R>> {
        self.keys.iter().find(|key| key.id() == id)
    }
}
