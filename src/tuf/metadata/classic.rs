use std::fmt;

use pkcs8::der::asn1::BitStringRef;
use pkcs8::der::{Any, Decode, Document};
use pkcs8::spki::{ObjectIdentifier, SubjectPublicKeyInfo};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};

/// A key of a scheme that a quantum computer breaks: for other people's repositories.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ClassicKey {
    scheme: Scheme,
    /// As the scheme's verifier takes it: raw for Ed25519, an uncompressed point, or PKCS#1.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Ed25519,
    EcdsaP256,
    RsaPssSha256,
}

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

impl ClassicKey {
    pub(super) fn read(keytype: &str, scheme: &str, public: &str) -> Option<Self> {
        let (scheme, bytes) = match (keytype, scheme) {
            ("ed25519", "ed25519") => (Scheme::Ed25519, hex::decode(public).ok().filter(|key| key.len() == 32)?),
            // The second type name is an old spelling of the first.
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                (Scheme::EcdsaP256, from_pem(public, EC, Some(P256))?)
            }
            ("rsa", "rsassa-pss-sha256") => (Scheme::RsaPssSha256, from_pem(public, RSA, None)?),
            _ => return None,
        };
        Some(Self { scheme, bytes })
    }

    pub(super) fn verifies(&self, payload: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.scheme {
            Scheme::Ed25519 => &ED25519,
            Scheme::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
            Scheme::RsaPssSha256 => &RSA_PSS_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(payload, signature).is_ok()
    }
}

impl fmt::Debug for ClassicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} bytes)", self.scheme, self.bytes.len())
    }
}

/// The key inside a PEM text, if it is of that algorithm and on that curve.
fn from_pem(pem: &str, algorithm: ObjectIdentifier, curve: Option<ObjectIdentifier>) -> Option<Vec<u8>> {
    let (label, document) = Document::from_pem(pem.trim()).ok()?;
    let info = SubjectPublicKeyInfo::<Any, BitStringRef<'_>>::from_der(document.as_bytes()).ok()?;
    let on_curve = match curve {
        Some(curve) => info.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()? == curve,
        None => true,
    };
    let is_it = label == "PUBLIC KEY" && info.algorithm.oid == algorithm && on_curve;
    info.subject_public_key.as_bytes().filter(|_| is_it).map(<[u8]>::to_vec)
}
