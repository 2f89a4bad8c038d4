//! How each scheme's keys are read and its signatures verified.
//!
//! `ml-dsa-65/1` signs `"tuf"`, the byte 1 and the SHA-512 digest of the payload, with an empty FIPS 204
//! context. The 1 stands in the scheme's name: there is no other version, and nothing to fall back to.

use std::fmt;

use sha2::{Digest, Sha512};

use crate::crypto::{Context, PublicKey, ReleaseMetadata, Signature};

/// Whose signatures may count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPolicy {
    /// ML-DSA-65 keys alone: for a product's own metadata, whatever else its root may list.
    MlDsa,
    /// Every scheme that was compiled in: for metadata of other people's repositories.
    AnyCompiledIn,
}

/// A public key that was read.
#[derive(Clone)]
pub(super) enum Material {
    MlDsa(Box<PublicKey<ReleaseMetadata>>),
    #[cfg(feature = "tuf-interop")]
    Other(super::classic::ClassicKey),
}

impl KeyPolicy {
    pub(super) fn admits(self, material: &Material) -> bool {
        self == Self::AnyCompiledIn || matches!(material, Material::MlDsa(_))
    }
}

impl Material {
    /// `None` for what is not known, or not a key.
    pub(super) fn read(keytype: &str, scheme: &str, public: &str) -> Option<Self> {
        match (keytype, scheme) {
            ("ml-dsa", "ml-dsa-65/1") => PublicKey::from_pem(public).ok().map(|key| Self::MlDsa(Box::new(key))),
            #[cfg(feature = "tuf-interop")]
            _ => super::classic::ClassicKey::read(keytype, scheme, public).map(Self::Other),
            #[cfg(not(feature = "tuf-interop"))]
            _ => None,
        }
    }

    pub(super) fn verifies(&self, payload: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::MlDsa(key) => Signature::from_bytes(signature).is_ok_and(|signature| {
                key.verify(&Context::metadata(), &mut &ml_dsa_message(payload)[..], &signature).is_ok()
            }),
            #[cfg(feature = "tuf-interop")]
            Self::Other(key) => key.verifies(payload, signature),
        }
    }
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::MlDsa(one), Self::MlDsa(other)) => one.id() == other.id(),
            #[cfg(feature = "tuf-interop")]
            (Self::Other(one), Self::Other(other)) => one == other,
            #[cfg(feature = "tuf-interop")]
            _ => false,
        }
    }
}

impl Eq for Material {}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MlDsa(key) => key.fmt(f),
            #[cfg(feature = "tuf-interop")]
            Self::Other(key) => key.fmt(f),
        }
    }
}

/// What an `ml-dsa-65/1` signature is made over.
pub(super) fn ml_dsa_message(payload: &[u8]) -> [u8; 68] {
    let mut message = [0; 68];
    message[..3].copy_from_slice(b"tuf");
    message[3] = 1;
    message[4..].copy_from_slice(&Sha512::digest(payload));
    message
}
