use std::fs::File;
use std::io::Read;

use super::apply::apply;
use super::base::Base;
use super::error::PatchError;
use super::head::{HEAD, Head};
use crate::archive::Tar;
use crate::crypto::{Context, Keyring, Release, Signature};
use crate::sys::{Dir, FromStart};
use crate::types::{ByteLimit, ReleaseId, Sha256Digest};

/// Bytes of unknown origin in a private file. All that can be done with them is to verify them.
#[derive(Debug)]
pub struct UntrustedPatch {
    file: File,
    length: u64,
}

/// A patch that a pinned release key signed for exactly one release and one base.
#[derive(Debug)]
pub struct VerifiedPatch {
    // Unnamed, as archives are: what is verified is what is applied.
    file: File,
    length: u64,
}

impl UntrustedPatch {
    /// Takes a finished download: a file without a name ([`Dir::unnamed_file`]), all of it.
    pub fn from_private_file(file: File) -> Result<Self, PatchError> {
        let length = file.metadata().map_err(PatchError::Copy)?.len();
        Ok(Self { file, length })
    }

    /// Verifies the signature for exactly this release, made from exactly this base.
    pub fn verify(
        self,
        id: &ReleaseId,
        base: Sha256Digest,
        signature: &Signature,
        keyring: &Keyring<Release>,
    ) -> Result<VerifiedPatch, PatchError> {
        let context = Context::patch(id, base);
        for key in keyring.keys() {
            let mu = key.mu(&context, &mut FromStart::new(&self.file, self.length)).map_err(PatchError::Copy)?;
            if key.accepts(&mu, signature) {
                return Ok(VerifiedPatch { file: self.file, length: self.length });
            }
        }
        Err(PatchError::NotSigned { id: Box::new(id.clone()) })
    }
}

impl VerifiedPatch {
    /// Makes the result, at most `limit` bytes, in a private file without a name. It is bytes of unknown
    /// origin still: a patch says what to do, and the result's own signature says what it must be.
    pub fn apply(&self, base: &Tar, staging: &Dir, limit: ByteLimit) -> Result<File, PatchError> {
        apply_file(&self.file, self.length, base, staging, limit)
    }
}

pub(super) fn apply_file(
    patch: &File,
    length: u64,
    base: &Tar,
    staging: &Dir,
    limit: ByteLimit,
) -> Result<File, PatchError> {
    let mut bytes = [0; HEAD];
    if length < HEAD as u64 {
        return Err(PatchError::Truncated);
    }
    FromStart::new(patch, length).read_exact(&mut bytes).map_err(PatchError::Copy)?;
    let head = Head::parse(&bytes)?;
    head.judge(base.length(), limit, length)?;
    let result = staging.unnamed_file()?;
    apply(&head, patch, Base::new(base.file(), base.length()), &result)?;
    Ok(result)
}
