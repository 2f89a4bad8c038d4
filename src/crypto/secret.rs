use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;

use getrandom::SysRng;
use ml_dsa::{MlDsa65, Seed, SigningKey};
use pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use zeroize::{Zeroize, Zeroizing};

use super::context::Context;
use super::public::{KeyError, Mu, PublicKey};
use super::role::Role;
use super::signature::Signature;

/// An ML-DSA-65 private key of one role. Wiped from memory when dropped; never printed.
pub struct SecretKey<R: Role> {
    key: SigningKey<MlDsa65>,
    public: PublicKey<R>,
    role: PhantomData<R>,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The message could not be read to its end.
    #[error("the file to sign cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness; nothing was signed")]
    Randomness,
}

impl<R: Role> SecretKey<R> {
    /// A new key from the operating system's randomness (FIPS 204, algorithm 1).
    pub fn generate() -> Result<Self, SignError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| SignError::Randomness)?;
        Ok(Self::from_seed(&seed))
    }

    /// The key that belongs to a 32-byte seed ξ (FIPS 204, algorithm 6).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut seed = Seed::from(*seed);
        let key = SigningKey::from_seed(&seed);
        seed.zeroize();
        let public = PublicKey::new(key.expanded_key().verifying_key()).expect("a generated key encodes");
        Self { key, public, role: PhantomData }
    }

    /// Reads a PEM text with the label `PRIVATE KEY`, holding a seed.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = SigningKey::<MlDsa65>::from_pkcs8_pem(pem).map_err(|_| KeyError::Private)?;
        let public = PublicKey::new(key.expanded_key().verifying_key()).map_err(|_| KeyError::Private)?;
        Ok(Self { key, public, role: PhantomData })
    }

    /// The PEM text: PKCS#8 with the seed alone (RFC 9881). Wiped when dropped.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.key.to_pkcs8_pem(LineEnding::LF).expect("a decoded key encodes")
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey<R> {
        &self.public
    }

    /// Signs a message in one streaming pass, hedged (FIPS 204, section 3.4).
    pub fn sign(&self, context: &Context<R>, message: &mut dyn Read) -> Result<Signature, SignError> {
        let mu = self.public.mu(context, message)?;
        self.sign_mu(&mu)
    }

    fn sign_mu(&self, mu: &Mu) -> Result<Signature, SignError> {
        let signature =
            self.key.expanded_key().sign_mu_randomized(&mu.0.into(), &mut SysRng).map_err(|_| SignError::Randomness)?;
        Ok(Signature::from_bytes(&signature.encode()).expect("an encoded signature has its length"))
    }
}

impl<R: Role> fmt::Debug for SecretKey<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey<{}>(of {:?})", R::NAME, self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Release;
    use crate::types::ReleaseId;

    fn id(version: &str) -> ReleaseId {
        ReleaseId {
            product: "exuvia".parse().unwrap(),
            version: version.parse().unwrap(),
            target: "x86_64-unknown-linux-gnu".parse().unwrap(),
        }
    }

    #[test]
    fn a_signature_counts_for_its_own_context_and_key_only() {
        let key = SecretKey::<Release>::generate().unwrap();
        let other = SecretKey::<Release>::generate().unwrap();
        let context = Context::archive(&id("1.0.0"));
        let signature = key.sign(&context, &mut &b"bytes"[..]).unwrap();
        let check = |key: &SecretKey<Release>, context: &Context<Release>, bytes: &[u8]| {
            key.public().verify(context, &mut &*bytes, &signature).is_ok()
        };
        assert!(check(&key, &context, b"bytes"));
        assert!(!check(&key, &context, b"bytez"));
        assert!(!check(&key, &Context::archive(&id("1.0.1")), b"bytes"));
        assert!(!check(&key, &Context::tar(&id("1.0.0")), b"bytes"));
        assert!(!check(&other, &context, b"bytes"));
    }

    #[test]
    fn keys_survive_their_pem() {
        let key = SecretKey::<Release>::generate().unwrap();
        let again = SecretKey::<Release>::from_pem(&key.to_pem()).unwrap();
        assert_eq!(key.public().id(), again.public().id());
        let public = PublicKey::<Release>::from_pem(&key.public().to_pem()).unwrap();
        assert_eq!(public.id(), key.public().id());
        assert_eq!(PublicKey::<Release>::from_pem(&key.to_pem()).unwrap_err(), KeyError::Public);
        assert_eq!(SecretKey::<Release>::from_pem(&key.public().to_pem()).unwrap_err(), KeyError::Private);
    }
}
