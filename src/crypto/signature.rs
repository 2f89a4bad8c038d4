use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};

use crate::types::ByteLimit;

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

    /// How much of a file that should be one is read: longer than any, so that the length is judged and no cap met.
    pub const FILE_LIMIT: ByteLimit = ByteLimit::kib(8);

    /// Reads a file that claims to be a signature, from its start.
    pub fn read(file: &mut File) -> io::Result<Result<Self, SignatureLength>> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.take(Self::FILE_LIMIT.get()).read_to_end(&mut bytes)?;
        Ok(Self::from_bytes(&bytes))
    }

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
