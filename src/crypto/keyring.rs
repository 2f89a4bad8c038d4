use std::io::{Read, Seek, SeekFrom};

use super::context::Context;
use super::public::{KeyError, PublicKey, VerifyError};
use super::role::Role;
use super::signature::Signature;
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
    /// The key at this place is one that an earlier place holds already: it would look like a spare
    /// key and be none.
    #[error("pinned key number {0} repeats an earlier one")]
    Repeated(usize),
}

impl<R: Role> Keyring<R> {
    /// Reads the PEM texts that a build pins.
    pub fn from_pems<'a>(pems: impl IntoIterator<Item = &'a str>) -> Result<Self, KeyringError> {
        let mut keys: Vec<PublicKey<R>> = Vec::new();
        for (index, pem) in pems.into_iter().enumerate() {
            let key = PublicKey::from_pem(pem).map_err(|error| KeyringError::Key(index + 1, error))?;
            if keys.iter().any(|known| known.id() == key.id()) {
                return Err(KeyringError::Repeated(index + 1));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeyringError::Empty);
        }
        Ok(Self { keys })
    }

    /// The keyring without these keys. `None` when no key would be left: that keyring would refuse everything.
    #[must_use]
    pub fn without(&self, ids: &[KeyId]) -> Option<Self> {
        let left: Vec<_> = self.keys.iter().filter(|key| !ids.contains(&key.id())).cloned().collect();
        (!left.is_empty()).then_some(Self { keys: left })
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

    /// Verifies a whole message under each key until one accepts it, and says which. Every key costs
    /// one pass: a message's µ belongs to one key.
    pub fn verify<M: Read + Seek>(
        &self,
        context: &Context<R>,
        message: &mut M,
        signature: &Signature,
    ) -> Result<&PublicKey<R>, VerifyError> {
        for key in &self.keys {
            message.seek(SeekFrom::Start(0))?;
            if key.accepts(&key.mu(context, message)?, signature) {
                return Ok(key);
            }
        }
        Err(VerifyError::NotSigned { role: R::NAME, context: context.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Release;

    const PEMS: &[&str] = include!(concat!(env!("OUT_DIR"), "/pinned_keys.rs"));

    #[test]
    fn a_keyring_without_keys_is_refused() {
        assert_eq!(Keyring::<Release>::from_pems([]).unwrap_err(), KeyringError::Empty);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_however_it_is_written() {
        let text = PEMS[0];
        let other_line_ends = text.replace('\n', "\r\n");
        assert_eq!(Keyring::<Release>::from_pems([text, &other_line_ends]).unwrap_err(), KeyringError::Repeated(2));
    }

    #[test]
    fn k5_a_keyring_never_loses_its_last_key() {
        let all = Keyring::<Release>::from_pems(PEMS.iter().copied()).unwrap();
        let ids: Vec<_> = all.keys().map(PublicKey::id).collect();
        let left = all.without(&ids[..1]).unwrap();
        assert_eq!(left.keys().map(PublicKey::id).collect::<Vec<_>>(), ids[1..]);
        assert!(left.find(ids[0]).is_none());
        assert!(all.without(&ids).is_none());
    }

    #[test]
    fn two_keys_in_one_text_are_refused() {
        let two = PEMS[..2].concat();
        let refused = KeyringError::Key(1, KeyError::Public);
        assert_eq!(Keyring::<Release>::from_pems([two.as_str()]).unwrap_err(), refused);
    }
}
