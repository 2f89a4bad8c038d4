use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;

use ml_dsa::{MlDsa65, VerifyingKey};
use pkcs8::{DecodePublicKey, EncodePublicKey, LineEnding};
use sha2::{Digest, Sha256};

use super::context::Context;
use super::role::Role;
use super::shake256::{Shake256, shake256};
use super::signature::Signature;
use crate::types::KeyId;

/// An ML-DSA-65 public key, usable for one role only.
#[derive(Clone)]
pub struct PublicKey<R: Role> {
    key: VerifyingKey<MlDsa65>,
    /// SHAKE256 of the encoded key: what binds a µ to it.
    tr: [u8; 64],
    id: KeyId,
    role: PhantomData<R>,
}

/// Why bytes are not an ML-DSA-65 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM with the label that RFC 9881 asks for, or not an ML-DSA-65 key inside.
    #[error("is not an ML-DSA-65 public key (PEM, SubjectPublicKeyInfo, RFC 9881); give the .pem of a key pair")]
    Public,
    /// A private key where its public half is wanted.
    #[error("is a private key, and a public one is needed here; keep this file away from whoever only verifies")]
    PrivateForPublic,
    /// Not a PKCS#8 private key in seed form.
    #[error("is not an ML-DSA-65 private key in seed form (PEM, PKCS#8, RFC 9881); give the .key of a key pair")]
    Private,
}

/// Why a signature was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The bytes could not be read to their end.
    #[error("the signed bytes cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The signature does not belong to these bytes, this context and any of the keys.
    #[error("the signature was not made by a trusted {role} key for {context}")]
    NotSigned {
        /// The role of the keys that were tried.
        role: &'static str,
        /// The context under which a signature was expected.
        context: String,
    },
}

/// The message representative µ (FIPS 204, algorithm 7, line 6): 64 bytes that stand for a key, a
/// context and a message. Computing it is the only part of signing that touches the message.
#[derive(Clone, PartialEq, Eq)]
pub struct Mu(pub(super) [u8; 64]);

impl fmt::Debug for Mu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mu({})", hex::encode(&self.0[..8]))
    }
}

/// Bytes read at a time: measured best for SHAKE256, and small enough to stay in the cache.
const PIECE: usize = 64 * 1024;

impl<R: Role> PublicKey<R> {
    /// Reads a PEM text with the label `PUBLIC KEY`.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        match VerifyingKey::from_public_key_pem(pem) {
            Ok(key) => Self::new(key),
            Err(_) if pem.contains("PRIVATE KEY-----") => Err(KeyError::PrivateForPublic),
            Err(_) => Err(KeyError::Public),
        }
    }

    pub(super) fn new(key: VerifyingKey<MlDsa65>) -> Result<Self, KeyError> {
        let der = key.to_public_key_der().map_err(|_| KeyError::Public)?;
        let id = KeyId::from_bytes(Sha256::digest(der.as_bytes()).into());
        let tr = shake256(&[&key.encode()]);
        Ok(Self { key, tr, id, role: PhantomData })
    }

    /// The PEM text: SubjectPublicKeyInfo, RFC 9881.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.key.to_public_key_pem(LineEnding::LF).expect("a decoded key encodes")
    }

    /// The key's name: SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Reads the whole message once, in constant memory, and returns its µ under this key.
    pub fn mu(&self, context: &Context<R>, message: &mut dyn Read) -> io::Result<Mu> {
        self.mu_of(context.as_bytes(), message)
    }

    // Takes any context, so that published test vectors can be run. Everybody else states a purpose.
    pub(super) fn mu_of(&self, context: &[u8], message: &mut dyn Read) -> io::Result<Mu> {
        let length = u8::try_from(context.len()).map_err(|_| io::Error::other("context longer than 255 bytes"))?;
        let mut shake = Shake256::new();
        shake.update(&self.tr);
        // 0: the message itself is signed, and not a digest of it (FIPS 204, algorithm 3).
        shake.update(&[0, length]);
        shake.update(context);
        let mut piece = vec![0; PIECE];
        loop {
            match message.read(&mut piece) {
                Ok(0) => return Ok(Mu(shake.finish())),
                Ok(n) => shake.update(&piece[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether this key made `signature` for the message and context behind `mu`. `mu` must come
    /// from [`Self::mu`] of this same key: another key's µ never verifies.
    #[must_use]
    pub fn accepts(&self, mu: &Mu, signature: &Signature) -> bool {
        ml_dsa::Signature::<MlDsa65>::try_from(signature.as_bytes().as_slice())
            .is_ok_and(|signature| self.key.verify_mu(&mu.0.into(), &signature))
    }

    /// Verifies a whole message in one streaming pass.
    pub fn verify(
        &self,
        context: &Context<R>,
        message: &mut dyn Read,
        signature: &Signature,
    ) -> Result<(), VerifyError> {
        if self.accepts(&self.mu(context, message)?, signature) {
            return Ok(());
        }
        Err(VerifyError::NotSigned { role: R::NAME, context: context.to_string() })
    }
}

impl<R: Role> fmt::Debug for PublicKey<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey<{}>({})", R::NAME, self.id.short())
    }
}
