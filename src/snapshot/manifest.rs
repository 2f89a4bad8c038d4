use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::FormatError;
use super::id::SnapshotId;
use super::state::Role;
use crate::types::{ByteLimit, NodeId, Product, Sha256Digest, Version};

/// What a snapshot says of itself, and what its signature covers. Closed: an unknown, missing or
/// repeated field refuses it, and so does any other spelling of the same facts.
///
/// Fields stand in the order of their names: that is the order of the canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The database's `application_id`: whose state this is. 0 where the state has no database.
    pub application_id: i32,
    /// The program that took the snapshot, and that can read it.
    pub binary: Binary,
    /// When it was taken, by the node's clock.
    pub created_at: Timestamp,
    /// What is inside, in this order.
    pub files: Vec<StoredFile>,
    /// Always [`Manifest::FORMAT`].
    pub format: String,
    /// The snapshot's name.
    pub id: SnapshotId,
    /// The node whose state this is.
    pub node_id: NodeId,
    /// What holds the files.
    pub payload: Payload,
    /// The snapshot before it, where there was one in the same folder.
    pub previous: Option<SnapshotId>,
    /// Whose state this is.
    pub product: Product,
    /// Why it was taken.
    pub reason: Reason,
    /// One more than the newest snapshot in the same folder had.
    pub sequence: u64,
    /// The database's `user_version`: the epoch of its schema. 0 where the state has no database.
    pub user_version: i32,
}

/// A program, by version and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binary {
    /// SHA-256 of the binary.
    pub sha256: Sha256Digest,
    /// Its version.
    pub version: Version,
}

/// One file of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFile {
    /// In bytes.
    pub length: u64,
    /// Which file of the state it is: a role and no path.
    pub role: Role,
    /// Of its content.
    pub sha256: Sha256Digest,
}

/// What holds the files: a tar, compressed, and perhaps sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// In bytes, as it stands in the snapshot.
    pub length: u64,
    /// Whether it is encrypted (age).
    pub sealed: bool,
    /// Of the bytes that stand in the snapshot: sealed ones are hashed sealed.
    pub sha256: Sha256Digest,
}

/// Why a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Before a version that changes the schema.
    Upgrade,
    /// Somebody asked for it.
    Operator,
}

impl Manifest {
    /// What `format` says.
    pub const FORMAT: &str = "exuvia-snapshot-v1";
    /// The longest manifest.
    pub const LIMIT: ByteLimit = ByteLimit::kib(64);
    /// The most files of one snapshot.
    pub const MOST_FILES: usize = 64;
    /// The longest file of the state, and the longest payload.
    pub const LONGEST_FILE: u64 = 1 << 40;

    pub(super) fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers are JSON")
    }

    /// Reads the canonical text, and no other.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, FormatError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(FormatError::Manifest)?;
        if manifest.canonical() != bytes {
            return Err(FormatError::NotCanonical);
        }
        if manifest.format != Self::FORMAT {
            return Err(FormatError::OtherFormat);
        }
        let count = manifest.files.len();
        if count == 0 || count > Self::MOST_FILES {
            return Err(FormatError::Files(count));
        }
        let lengths = manifest.files.iter().map(|file| file.length).chain([manifest.payload.length]);
        if let Some(length) = lengths.into_iter().find(|length| *length > Self::LONGEST_FILE) {
            return Err(FormatError::TooLong(length));
        }
        for (at, file) in manifest.files.iter().enumerate() {
            if manifest.files[..at].iter().any(|other| other.role == file.role) {
                return Err(FormatError::Repeated(file.role.clone()));
            }
        }
        Ok(manifest)
    }

    /// How many bytes the files have together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }
}

/// For people: every text of it has been parsed, so none can misuse a terminal.
impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::Upgrade => "before an upgrade",
            Reason::Operator => "asked for",
        };
        writeln!(f, "id         {} (number {}, {reason})", self.id, self.sequence)?;
        writeln!(f, "taken      {:.0} by {} {}", self.created_at, self.product, self.binary.version)?;
        writeln!(f, "node       {}", self.node_id)?;
        writeln!(f, "schema     {} (application id {:#010x})", self.user_version, self.application_id)?;
        let sealed = if self.payload.sealed { "sealed" } else { "not sealed" };
        write!(f, "payload    {} bytes, {sealed}", self.payload.length)?;
        for file in &self.files {
            write!(f, "\nfile       {} {} bytes sha256:{}", file.role, file.length, file.sha256.short())?;
        }
        Ok(())
    }
}

/// Which node a manifest says it belongs to: only to say whose it is when it does not verify.
#[derive(Deserialize)]
pub(super) struct Claim {
    pub(super) node_id: NodeId,
    pub(super) product: Product,
}
