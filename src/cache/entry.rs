use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::Reason;
use crate::archive::VerifiedArchive;
use crate::crypto::Signature;
use crate::delta::VerifiedPatch;
use crate::types::{ByteLimit, KeyId, Packing, ReleaseId, Sha256Digest};

/// An entry is about 7 KB, nearly all of it the signature.
pub(super) const ENTRY_MAX: ByteLimit = ByteLimit::kib(16);

const SUFFIX: &str = ".json";
/// Before it, where the entry is of a tar or a patch: names that builds without those do not take for theirs.
const TAR: &str = ".tar";
const FROM: &str = ".from-";
/// Occurs in no product, version, target or key id, so two names never share a file.
const SEPARATOR: char = '@';

/// What of a release an entry keeps. Each has a signature of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The archive, as it is published.
    Archive,
    /// The tar in it, which a patch made and with which the next one begins.
    Tar,
    /// A patch that makes the tar, kept for neighbours.
    Patch {
        /// The first eight bytes of the SHA-256 of the tar that it begins with.
        from: [u8; 8],
    },
}

impl Kind {
    /// What a release can be installed from.
    pub(super) const WHOLE: [Self; 2] = [Self::Archive, Self::Tar];

    pub(super) fn of_patch_from(base: Sha256Digest) -> Self {
        let from = *base.as_bytes().first_chunk().expect("a digest is longer");
        Self::Patch { from }
    }

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
            Kind::Archive => String::new(),
            Kind::Tar => TAR.to_owned(),
            Kind::Patch { from } => format!("{FROM}{}", hex::encode(from)),
        };
        format!("{product}{SEPARATOR}{version}{SEPARATOR}{target}{SEPARATOR}{}{kind}{SUFFIX}", self.key_id)
    }

    /// The reverse of [`Self::file_name`], exactly.
    pub(super) fn parse(file_name: &str) -> Option<Self> {
        let name = file_name.strip_suffix(SUFFIX)?;
        let (name, kind) = match (name.strip_suffix(TAR), name.rsplit_once(FROM)) {
            (Some(name), _) => (name, Kind::Tar),
            (None, Some((name, from))) if from.len() == 16 => (name, Kind::Patch { from: eight_bytes(from)? }),
            (None, _) => (name, Kind::Archive),
        };
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
            Kind::Patch { .. } => " (a patch to it)",
        };
        write!(f, "{}{kind} signed by {}", self.id, self.key_id.short())
    }
}

fn eight_bytes(digits: &str) -> Option<[u8; 8]> {
    let mut bytes = [0; 8];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    // One spelling only.
    (hex::encode(bytes) == digits).then_some(bytes)
}

/// What an entry says. All of it is a claim until the signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "format")]
    pub(super) content: Content,
    pub(super) length: u64,
    pub(super) digest: Sha256Digest,
    #[serde(with = "hex")]
    signature: Vec<u8>,
    /// SHA-256 of the tar that a patch begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<Sha256Digest>,
}

/// What kind of file an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Content {
    /// A release, packed in this way.
    Release(Packing),
    /// A patch.
    Patch,
}

const PATCH: &str = ".patch";

impl Content {
    /// The ending of such a file's name, with its dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Release(packing) => packing.suffix(),
            Self::Patch => PATCH,
        }
    }
}

impl TryFrom<String> for Content {
    type Error = &'static str;

    fn try_from(suffix: String) -> Result<Self, Self::Error> {
        let known = Packing::ALL.into_iter().map(Self::Release).chain([Self::Patch]);
        known.into_iter().find(|content| content.suffix() == suffix).ok_or("unknown archive format")
    }
}

impl From<Content> for String {
    fn from(content: Content) -> Self {
        content.suffix().to_owned()
    }
}

impl Entry {
    pub(super) fn of(archive: &VerifiedArchive, digest: Sha256Digest) -> Self {
        let (content, signature) = (Content::Release(archive.packing()), archive.signature().as_bytes().to_vec());
        Self { content, length: archive.length(), digest, signature, base: None }
    }

    pub(super) fn of_patch(patch: &VerifiedPatch, digest: Sha256Digest) -> Self {
        let signature = patch.signature().as_bytes().to_vec();
        Self { content: Content::Patch, length: patch.length(), digest, signature, base: Some(patch.base()) }
    }

    /// What an entry of this content is filed as.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.content {
            Content::Release(packing) => Some(Kind::of(packing)),
            Content::Patch => self.base.map(Kind::of_patch_from),
        }
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
            kind in prop::sample::select(vec![Kind::Archive, Kind::Tar, Kind::Patch { from: *b"from-tar" }]),
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
