use std::error::Error;

use super::signature::Signature;

/// Somebody who signs payloads with a key that metadata lists.
pub trait Signer {
    /// Signs the canonical bytes of a file's signed part.
    fn sign(&self, payload: &[u8]) -> Result<Signature, SignerError>;
}

/// Why a signer did not sign: its own reason, which only its caller can act on.
#[derive(Debug, thiserror::Error)]
#[error("the metadata was not signed: {0}")]
pub struct SignerError(#[source] pub Box<dyn Error + Send + Sync>);

/// Signs with an ML-DSA-65 key (`ml-dsa-65/1`).
#[cfg(feature = "tools")]
#[derive(Debug)]
pub struct MlDsaSigner {
    keyid: String,
    key: crate::crypto::SecretKey<crate::crypto::ReleaseMetadata>,
}

#[cfg(feature = "tools")]
impl MlDsaSigner {
    /// A signer whose signatures name this keyid.
    #[must_use]
    pub fn new(keyid: impl Into<String>, key: crate::crypto::SecretKey<crate::crypto::ReleaseMetadata>) -> Self {
        Self { keyid: keyid.into(), key }
    }

    /// The public half, under the same keyid.
    #[must_use]
    pub fn public(&self) -> super::Key {
        super::Key::ml_dsa(&self.keyid, self.key.public())
    }
}

#[cfg(feature = "tools")]
impl Signer for MlDsaSigner {
    fn sign(&self, payload: &[u8]) -> Result<Signature, SignerError> {
        let message = super::scheme::ml_dsa_message(payload);
        let signature = self.key.sign(&crate::crypto::Context::metadata(), &mut &message[..]);
        let signature = signature.map_err(|error| SignerError(error.into()))?;
        Ok(Signature::new(&self.keyid, signature.as_bytes()))
    }
}
