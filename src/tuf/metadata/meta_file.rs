use std::io::{self, Read};

use crate::tuf::digests::{self, Digests, Mismatch};
use crate::tuf::fields::{self, Fields, FormatError};
use crate::tuf::json::{Json, Object};

use super::head::RoleVersion;

/// What one metadata file says about another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaFile {
    /// The edition.
    pub version: RoleVersion,
    /// Its length in bytes, if stated.
    pub length: Option<u64>,
    /// Its digests, if stated.
    pub digests: Option<Digests>,
    /// Members that nobody here knows.
    pub unrecognized: Object,
}

impl MetaFile {
    /// An edition, and nothing about its bytes.
    #[must_use]
    pub fn of(version: RoleVersion) -> Self {
        Self { version, length: None, digests: None, unrecognized: Object::new() }
    }

    /// An edition with the length and the SHA-256 digest of its bytes.
    pub fn of_content(version: RoleVersion, content: &mut dyn Read) -> io::Result<Self> {
        let (length, digests) = Digests::sha256_of(content)?;
        Ok(Self { version, length: Some(length), digests: Some(digests), unrecognized: Object::new() })
    }

    /// Whether `bytes` have the stated length and all stated digests.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), Mismatch> {
        digests::verify(bytes, self.length, self.digests.as_ref())
    }

    pub(super) fn read(value: Json) -> Result<Self, FormatError> {
        let mut fields = Fields::of(value)?;
        let version = fields.read("version", RoleVersion::read)?;
        let length = fields.read_optional("length", fields::length)?;
        let digests = fields.read_optional("hashes", Digests::read)?;
        Ok(Self { version, length, digests, unrecognized: fields.rest() })
    }

    pub(super) fn write(&self) -> Json {
        let mut object = self.unrecognized.clone();
        object.insert("version".to_owned(), self.version.write());
        if let Some(length) = self.length {
            object.insert("length".to_owned(), Json::from(length));
        }
        if let Some(digests) = &self.digests {
            object.insert("hashes".to_owned(), digests.write());
        }
        Json::Object(object)
    }
}
