use std::fmt;

/// A detached ML-DSA-65 signature: 3,309 raw bytes (FIPS 204, table 2). Says nothing until verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(Box<[u8; Signature::LEN]>);

/// Bytes of another length than a signature's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an ML-DSA-65 signature is exactly 3309 bytes long, this is {0}")]
pub struct SignatureLength(pub usize);

impl Signature {
    /// Length in bytes.
    pub const LEN: usize = 3309;

    /// Takes bytes that claim to be a signature.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignatureLength> {
        match <[u8; Self::LEN]>::try_from(bytes) {
            Ok(bytes) => Ok(Self(Box::new(bytes))),
            Err(_) => Err(SignatureLength(bytes.len())),
        }
    }

    /// The raw bytes, as they stand in a `.sig` file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", hex::encode(&self.0[..8]))
    }
}
