use std::fs::File;
use std::io::{self, Read, Write};

use super::apply::apply;
use super::base::Base;
use super::error::PatchError;
use super::head::{HEAD, Head};
use crate::archive::Tar;
use crate::crypto::{Context, Keyring, PublicKey, Release, Signature};
use crate::sys::{CheckedFile, Dir, FromStart};
use crate::types::{ByteLimit, KeyId, ReleaseId, Sha256Digest};

/// Bytes copied at a time.
const PIECE: usize = 256 * 1024;

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
    id: ReleaseId,
    base: Sha256Digest,
    signature: Signature,
    key_id: KeyId,
}

impl UntrustedPatch {
    /// Takes a finished download: a file without a name ([`Dir::unnamed_file`]), all of it.
    pub fn from_private_file(file: File) -> Result<Self, PatchError> {
        let length = file.metadata().map_err(PatchError::Copy)?.len();
        Ok(Self { file, length })
    }

    /// Copies an open file to a private one without a name in `staging`: as long as the handle was when it
    /// was judged, however the source grows.
    pub fn copy_of(source: &CheckedFile, staging: &Dir) -> Result<Self, PatchError> {
        let mut copy = staging.unnamed_file()?;
        let mut left = source.length;
        let mut piece = vec![0; PIECE];
        let mut from = (&source.file).take(source.length);
        while left > 0 {
            let read = from.read(&mut piece).map_err(PatchError::Source)?;
            if read == 0 {
                return Err(PatchError::Source(io::ErrorKind::UnexpectedEof.into()));
            }
            copy.write_all(&piece[..read]).map_err(PatchError::Copy)?;
            left -= read as u64;
        }
        Ok(Self { file: copy, length: source.length })
    }

    /// Verifies the signature for exactly this release, made from exactly this base, trying each pinned key.
    pub fn verify(
        self,
        id: &ReleaseId,
        base: Sha256Digest,
        signature: &Signature,
        keyring: &Keyring<Release>,
    ) -> Result<VerifiedPatch, PatchError> {
        self.verify_by(id, base, signature, keyring.keys())
    }

    /// As [`Self::verify`], trying these keys alone. Pinned: the caller took them from its keyring.
    pub fn verify_by<'a>(
        self,
        id: &ReleaseId,
        base: Sha256Digest,
        signature: &Signature,
        keys: impl IntoIterator<Item = &'a PublicKey<Release>>,
    ) -> Result<VerifiedPatch, PatchError> {
        let context = Context::patch(id, base);
        for key in keys {
            let mu = key.mu(&context, &mut FromStart::new(&self.file, self.length)).map_err(PatchError::Copy)?;
            if key.accepts(&mu, signature) {
                let (id, signature, key_id) = (id.clone(), signature.clone(), key.id());
                return Ok(VerifiedPatch { file: self.file, length: self.length, id, base, signature, key_id });
            }
        }
        Err(PatchError::NotSigned { id: Box::new(id.clone()) })
    }
}

impl VerifiedPatch {
    /// The release that it makes.
    #[must_use]
    pub fn id(&self) -> &ReleaseId {
        &self.id
    }

    /// SHA-256 of the tar that it begins with.
    #[must_use]
    pub fn base(&self) -> Sha256Digest {
        self.base
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The key that signed.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The patch's bytes from the first on. Several readers do not disturb each other.
    #[must_use]
    pub fn reader(&self) -> impl Read {
        FromStart::new(&self.file, self.length)
    }

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
