use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::Reason;
use crate::archive::VerifiedArchive;
use crate::crypto::Signature;
use crate::types::{ArchiveFormat, ByteLimit, KeyId, ReleaseId, Sha256Digest};

/// An entry is about 7 KB, nearly all of it the signature.
pub(super) const ENTRY_MAX: ByteLimit = ByteLimit::kib(16);

const SUFFIX: &str = ".json";
/// Occurs in no product, version, target or key id, so two names never share a file.
const SEPARATOR: char = '@';

/// What an entry is filed under: a release, and the key that signed its archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryName {
    id: ReleaseId,
    key_id: KeyId,
}

impl EntryName {
    pub(super) fn new(id: &ReleaseId, key_id: KeyId) -> Self {
        Self { id: id.clone(), key_id }
    }

    /// The release.
    #[must_use]
    pub fn id(&self) -> &ReleaseId {
        &self.id
    }

    /// The key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub(super) fn file_name(&self) -> String {
        let ReleaseId { product, version, target } = &self.id;
        format!("{product}{SEPARATOR}{version}{SEPARATOR}{target}{SEPARATOR}{}{SUFFIX}", self.key_id)
    }

    /// The reverse of [`Self::file_name`], exactly.
    pub(super) fn parse(file_name: &str) -> Option<Self> {
        let mut parts = file_name.strip_suffix(SUFFIX)?.split(SEPARATOR);
        let id = ReleaseId {
            product: parts.next()?.parse().ok()?,
            version: parts.next()?.parse().ok()?,
            target: parts.next()?.parse().ok()?,
        };
        let name = Self { id, key_id: parts.next()?.parse().ok()? };
        parts.next().is_none().then_some(name)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} signed by {}", self.id, self.key_id.short())
    }
}

/// What an entry says. All of it is a claim until the signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(with = "format_name")]
    pub(super) format: ArchiveFormat,
    pub(super) length: u64,
    pub(super) digest: Sha256Digest,
    #[serde(with = "hex")]
    signature: Vec<u8>,
}

impl Entry {
    pub(super) fn of(archive: &VerifiedArchive, digest: Sha256Digest) -> Self {
        let signature = archive.signature().as_bytes().to_vec();
        Self { format: archive.format(), length: archive.length(), digest, signature }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text, numbers and hex have a JSON form")
    }

    /// Fields that are not known here are ignored: a newer build may have written them.
    pub(super) fn from_json(bytes: &[u8]) -> Result<(Self, Signature), Reason> {
        let entry: Self = serde_json::from_slice(bytes).map_err(Reason::Malformed)?;
        let signature = Signature::from_bytes(&entry.signature).map_err(Reason::SignatureLength)?;
        Ok((entry, signature))
    }
}

mod format_name {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::types::ArchiveFormat;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(format: &ArchiveFormat, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(format.suffix())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ArchiveFormat, D::Error> {
        let text = String::deserialize(from)?;
        let known = ArchiveFormat::ALL.into_iter().find(|format| format.suffix() == text);
        known.ok_or_else(|| de::Error::custom("unknown archive format"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_name_survives_its_file_name_and_fits_into_255_bytes(
            product in "[a-z0-9]{1,32}",
            pre in "(-[a-zA-Z][a-zA-Z0-9.-]{0,55}[a-z])?",
            target in "[a-z0-9][a-z0-9_.-]{0,63}",
            key in any::<[u8; 32]>(),
        ) {
            let Ok(version) = format!("1.2.3{pre}").parse() else { return Ok(()) };
            let id = ReleaseId { product: product.parse().unwrap(), version, target: target.parse().unwrap() };
            let name = EntryName::new(&id, KeyId::from_bytes(key));
            prop_assert!(name.file_name().len() <= 255);
            prop_assert_eq!(EntryName::parse(&name.file_name()), Some(name));
        }

        #[test]
        fn arbitrary_bytes_are_never_an_entry(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Entry::from_json(&bytes).is_err());
        }
    }

    #[test]
    fn deep_json_is_refused_and_not_followed() {
        let mut bytes = br#"{"x":"#.to_vec();
        bytes.resize(15_000, b'[');
        assert!(matches!(Entry::from_json(&bytes), Err(Reason::Malformed(_))));
    }
}
