use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::Reason;
use crate::archive::VerifiedArchive;
use crate::crypto::Signature;
use crate::types::{ByteLimit, KeyId, Packing, ReleaseId, Sha256Digest};

/// An entry is about 7 KB, nearly all of it the signature.
pub(super) const ENTRY_MAX: ByteLimit = ByteLimit::kib(16);

const SUFFIX: &str = ".json";
/// Before it, where the entry is of a tar: a name that builds without patches do not take for one of theirs.
const TAR: &str = ".tar";
/// Occurs in no product, version, target or key id, so two names never share a file.
const SEPARATOR: char = '@';

/// What of a release an entry keeps. Each has a signature of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The archive, as it is published.
    Archive,
    /// The tar in it, which a patch made and with which the next one begins.
    Tar,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Archive, Self::Tar];

    pub(super) fn of(packing: Packing) -> Self {
        match packing {
            Packing::Compressed(_) => Self::Archive,
            Packing::Tar => Self::Tar,
        }
    }
}

/// What an entry is filed under: a release, the key that signed, and what it signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryName {
    id: ReleaseId,
    key_id: KeyId,
    kind: Kind,
}

impl EntryName {
    pub(super) fn new(id: &ReleaseId, key_id: KeyId, kind: Kind) -> Self {
        Self { id: id.clone(), key_id, kind }
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

    /// What is kept.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn file_name(&self) -> String {
        let ReleaseId { product, version, target } = &self.id;
        let kind = match self.kind {
            Kind::Archive => "",
            Kind::Tar => TAR,
        };
        format!("{product}{SEPARATOR}{version}{SEPARATOR}{target}{SEPARATOR}{}{kind}{SUFFIX}", self.key_id)
    }

    /// The reverse of [`Self::file_name`], exactly.
    pub(super) fn parse(file_name: &str) -> Option<Self> {
        let name = file_name.strip_suffix(SUFFIX)?;
        let (name, kind) = name.strip_suffix(TAR).map_or((name, Kind::Archive), |name| (name, Kind::Tar));
        let mut parts = name.split(SEPARATOR);
        let id = ReleaseId {
            product: parts.next()?.parse().ok()?,
            version: parts.next()?.parse().ok()?,
            target: parts.next()?.parse().ok()?,
        };
        let name = Self { id, key_id: parts.next()?.parse().ok()?, kind };
        parts.next().is_none().then_some(name)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Archive => "",
            Kind::Tar => " (its tar)",
        };
        write!(f, "{}{kind} signed by {}", self.id, self.key_id.short())
    }
}

/// What an entry says. All of it is a claim until the signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "format", with = "format_name")]
    pub(super) packing: Packing,
    pub(super) length: u64,
    pub(super) digest: Sha256Digest,
    #[serde(with = "hex")]
    signature: Vec<u8>,
}

impl Entry {
    pub(super) fn of(archive: &VerifiedArchive, digest: Sha256Digest) -> Self {
        let signature = archive.signature().as_bytes().to_vec();
        Self { packing: archive.packing(), length: archive.length(), digest, signature }
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

    use crate::types::Packing;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(packing: &Packing, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(packing.suffix())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Packing, D::Error> {
        let text = String::deserialize(from)?;
        let known = Packing::ALL.into_iter().find(|packing| packing.suffix() == text);
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
            kind in prop::sample::select(Kind::ALL.to_vec()),
        ) {
            let Ok(version) = format!("1.2.3{pre}").parse() else { return Ok(()) };
            let id = ReleaseId { product: product.parse().unwrap(), version, target: target.parse().unwrap() };
            let name = EntryName::new(&id, KeyId::from_bytes(key), kind);
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
