use std::fs::File;
use std::io::Read;

use super::copy::Claim;
use super::error::ArchiveError;
use super::extract;
use super::limits::tar_limit;
use super::staged::StagedBinary;
use super::unpacked::{Tar, unpack};
use crate::config::Limits;
use crate::crypto::{Context, Keyring, Release, Signature};
use crate::sys::{Dir, FromStart};
use crate::types::{KeyId, Packing, ReleaseId};

/// Bytes of unknown origin in a private file. All that can be done with them is to verify them.
#[derive(Debug)]
pub struct UntrustedArchive {
    copy: File,
    length: u64,
    packing: Packing,
}

/// A private copy whose every byte a pinned release key signed for exactly one release.
#[derive(Debug)]
pub struct VerifiedArchive {
    // Unnamed: there is no path through which to exchange it between verification and extraction.
    copy: File,
    length: u64,
    packing: Packing,
    id: ReleaseId,
    signature: Signature,
    key_id: KeyId,
}

/// What a file of this release signs as: the archive, or the tar in it.
pub(super) fn context(id: &ReleaseId, packing: Packing) -> Context<Release> {
    match packing {
        Packing::Compressed(_) => Context::archive(id),
        Packing::Tar => Context::tar(id),
    }
}

impl UntrustedArchive {
    /// Takes a finished download: a file without a name ([`Dir::unnamed_file`]), all of it.
    pub fn from_private_file(file: File, packing: impl Into<Packing>) -> Result<Self, ArchiveError> {
        let length = file.metadata().map_err(ArchiveError::Copy)?.len();
        Ok(Self { copy: file, length, packing: packing.into() })
    }

    /// Length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Verifies the signature for exactly this release, trying each pinned key.
    pub fn verify(
        self,
        id: &ReleaseId,
        signature: &Signature,
        keyring: &Keyring<Release>,
    ) -> Result<VerifiedArchive, ArchiveError> {
        let context = context(id, self.packing);
        for key in keyring.keys() {
            let mut bytes = FromStart::new(&self.copy, self.length);
            let mu = key.mu(&context, &mut bytes).map_err(ArchiveError::Copy)?;
            if key.accepts(&mu, signature) {
                let claim = Claim { id, packing: self.packing, signature, key };
                return Ok(VerifiedArchive::new(self.copy, self.length, &claim));
            }
        }
        Err(ArchiveError::NotSigned { id: Box::new(id.clone()) })
    }
}

impl VerifiedArchive {
    /// For [`UntrustedArchive::verify`] and [`super::verify_copy`] alone, which have just verified.
    pub(super) fn new(copy: File, length: u64, claim: &Claim<'_>) -> Self {
        let Claim { id, packing, signature, key } = *claim;
        Self { copy, length, packing, id: id.clone(), signature: signature.clone(), key_id: key.id() }
    }

    /// The release that the signature names.
    #[must_use]
    pub fn id(&self) -> &ReleaseId {
        &self.id
    }

    /// The key that signed.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// How it is packed.
    #[must_use]
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The archive's bytes from the first on. Several readers do not disturb each other.
    #[must_use]
    pub fn reader(&self) -> impl Read {
        self.bytes()
    }

    /// The tar in it, decompressed into a private file of its own; the archive itself where it is one
    /// already. At most [`tar_limit`] bytes are written, and a signed archive that holds more, or that goes
    /// on behind its end, is refused.
    pub fn into_tar(self, staging: &Dir, limits: &Limits) -> Result<Tar, ArchiveError> {
        if self.packing == Packing::Tar {
            return Tar::of_private_file(self.copy).map_err(ArchiveError::Copy);
        }
        unpack(&self, staging, tar_limit(limits))
    }

    pub(super) fn bytes(&self) -> FromStart<'_> {
        FromStart::new(&self.copy, self.length)
    }

    /// Extracts the binary into a temporary file in `staging`. `progress` hears the bytes written
    /// so far. See [`extract`] for what is refused; nothing is left behind then.
    pub fn extract(
        &self,
        staging: &Dir,
        limits: &Limits,
        progress: &mut dyn FnMut(u64),
    ) -> Result<StagedBinary, ArchiveError> {
        extract::extract(self, staging, limits, progress)
    }
}
