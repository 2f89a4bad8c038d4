use crate::sys::{Dir, NewFile, SysError};
use crate::types::{ReleaseId, Sha256Digest};

/// The binary of a verified archive, written under a temporary name and not yet durable. Dropping
/// it removes it.
#[derive(Debug)]
pub struct StagedBinary {
    file: NewFile,
    id: ReleaseId,
    digest: Sha256Digest,
    length: u64,
}

impl StagedBinary {
    pub(super) fn new(file: NewFile, id: ReleaseId, digest: Sha256Digest, length: u64) -> Self {
        Self { file, id, digest, length }
    }

    /// The release that it is.
    #[must_use]
    pub fn id(&self) -> &ReleaseId {
        &self.id
    }

    /// SHA-256 of the bytes that were written: whoever runs the binary compares it with what the
    /// handle that is executed holds.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Gives the binary its name in a folder of the same file system, durably, with the mode 0755.
    /// Refused where the temporary name leads to another file by now.
    pub fn publish_into(self, dir: &Dir, name: &str) -> Result<(), SysError> {
        self.file.publish_into(dir, name)
    }
}
