use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;

use getrandom::SysRng;
use getrandom::rand_core::TryCryptoRng;
use ml_dsa::{MlDsa65, Seed, SigningKey};
use pkcs8::spki::AssociatedAlgorithmIdentifier;
use pkcs8::{EncodePrivateKey, LineEnding, PrivateKeyInfoRef, SecretDocument};
use zeroize::{ZeroizeOnDrop, Zeroizing};

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

impl<R: Role> ZeroizeOnDrop for SecretKey<R> {}

// What `SecretKey` promises, its parts do: a change of library that drops the promise does not build.
const _: () = {
    const fn wiped_on_drop<T: ZeroizeOnDrop>() {}
    wiped_on_drop::<SigningKey<MlDsa65>>();
    wiped_on_drop::<SecretDocument>();
    wiped_on_drop::<Zeroizing<Seed>>();
};

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The message could not be read to its end.
    #[error("the file to sign cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness; nothing was signed")]
    Randomness,
    /// The signature that was just made does not verify.
    #[error(
        "the signature just made does not verify, so it was thrown away: this machine computes wrongly, sign on another one"
    )]
    Faulty,
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
        let seed = Zeroizing::new(Seed::from(*seed));
        let key = SigningKey::from_seed(&seed);
        let public = PublicKey::new(key.expanded_key().verifying_key()).expect("a generated key encodes");
        Self { key, public, role: PhantomData }
    }

    /// Reads a PEM text with the label `PRIVATE KEY`, holding a seed alone.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let (label, document) = SecretDocument::from_pem(pem).map_err(|_| KeyError::Private)?;
        if label != "PRIVATE KEY" {
            return Err(KeyError::Private);
        }
        let info = PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| KeyError::Private)?;
        if info.algorithm != MlDsa65::ALGORITHM_IDENTIFIER {
            return Err(KeyError::Private);
        }
        // RFC 9881, section 6: seed [0] IMPLICIT OCTET STRING (SIZE (32)). Read here, and not by the
        // library, because its copy of the seed would stay on the stack.
        let seed = match info.private_key.as_bytes() {
            [0x80, 32, seed @ ..] => <&[u8; 32]>::try_from(seed).map_err(|_| KeyError::Private)?,
            _ => return Err(KeyError::Private),
        };
        let key = Self::from_seed(seed);
        match info.public_key {
            Some(stated) if stated.as_bytes() != Some(key.key.expanded_key().verifying_key().encode().as_slice()) => {
                Err(KeyError::Private)
            }
            _ => Ok(key),
        }
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
        self.sign_mu(&mu, &mut SysRng)
    }

    pub(super) fn sign_mu(&self, mu: &Mu, random: &mut impl TryCryptoRng) -> Result<Signature, SignError> {
        let signature =
            self.key.expanded_key().sign_mu_randomized(&mu.0.into(), random).map_err(|_| SignError::Randomness)?;
        let signature = Signature::from_bytes(&signature.encode()).expect("an encoded signature has its length");
        // Costs 0.2 ms; a signature made by a faulty computation may betray the key.
        if self.public.accepts(mu, &signature) { Ok(signature) } else { Err(SignError::Faulty) }
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
        assert_eq!(PublicKey::<Release>::from_pem(&key.to_pem()).unwrap_err(), KeyError::PrivateForPublic);
        assert_eq!(SecretKey::<Release>::from_pem(&key.public().to_pem()).unwrap_err(), KeyError::Private);
    }

    #[test]
    fn a_private_key_of_another_form_is_refused() {
        let key = SecretKey::<Release>::generate().unwrap();
        let (_, document) = SecretDocument::from_pem(&key.to_pem()).unwrap();
        let der = document.as_bytes();
        let refused = |label: &str, der: &[u8]| {
            let pem = pkcs8::der::pem::encode_string(label, LineEnding::LF, der).unwrap();
            assert_eq!(SecretKey::<Release>::from_pem(&pem).unwrap_err(), KeyError::Private);
        };
        refused("ENCRYPTED PRIVATE KEY", der);
        refused("PRIVATE KEY", &der[..der.len() - 1]);
        let seed_at = der.windows(2).position(|pair| pair == [0x80, 32]).unwrap();
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut der = der.to_vec();
            change(&mut der);
            der
        };
        // ML-DSA-44 and -87, and a seed that is not tagged as one.
        let oid_end = seed_at - 3;
        assert_eq!(der[oid_end], 18, "id-ml-dsa-65");
        for parameter_set in [17, 19] {
            refused("PRIVATE KEY", &with(&|der| der[oid_end] = parameter_set));
        }
        refused("PRIVATE KEY", &with(&|der| der[seed_at] = 4));
        refused("PRIVATE KEY", &[der, &[0]].concat());
        let twice = format!("{}{}", *key.to_pem(), *key.to_pem());
        assert_eq!(SecretKey::<Release>::from_pem(&twice).unwrap_err(), KeyError::Private);
    }

    #[test]
    fn debug_output_holds_no_private_material() {
        let key = SecretKey::<Release>::from_seed(&[7; 32]);
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("SecretKey<release>(of PublicKey<release>({}))", key.public().id().short()));
    }

    #[test]
    fn two_signatures_of_the_same_bytes_differ() {
        let key = SecretKey::<Release>::from_seed(&[7; 32]);
        let context = Context::archive(&id("1.0.0"));
        let sign = || key.sign(&context, &mut &b"bytes"[..]).unwrap();
        assert_ne!(sign(), sign(), "signing is hedged");
    }

    #[test]
    fn a_message_that_cannot_be_read_is_neither_signed_nor_accepted() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let key = SecretKey::<Release>::from_seed(&[7; 32]);
        let context = Context::archive(&id("1.0.0"));
        let is_eof = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
        assert!(matches!(key.sign(&context, &mut Broken), Err(SignError::Read(error)) if is_eof(&error)));
        let signature = key.sign(&context, &mut &b""[..]).unwrap();
        let outcome = key.public().verify(&context, &mut Broken, &signature);
        assert!(matches!(outcome, Err(crate::crypto::VerifyError::Read(error)) if is_eof(&error)));
    }
}
