use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::console::{Exit, ToolError};
use crate::crypto::{Context, Keyring, Release, SecretKey, SignError, Signature, SignatureLength, VerifyError};
use crate::sys::{Dir, OperatorFile, SysError};
use crate::types::{ByteLimit, KeyId};

/// Why a file was not signed, or does not count as signed.
#[derive(Debug, thiserror::Error)]
pub enum DetachedError {
    /// The file system says no.
    #[error(transparent)]
    Storage(#[from] SysError),
    /// The key could not sign.
    #[error("{} was not signed: {source}", path.display())]
    Sign {
        /// The file to sign.
        path: PathBuf,
        /// Why.
        source: SignError,
    },
    /// The file changed while it was read.
    #[error("{} changed while it was being signed; no signature was written. Sign it when its writer is done.", .0.display())]
    Changed(PathBuf),
    /// The signature file has another length than a signature.
    #[error("{} is not a signature: {source}. Fetch or make the signature again; do not use the file it belongs to.", path.display())]
    SignatureLength {
        /// The signature file.
        path: PathBuf,
        /// Its length.
        source: SignatureLength,
    },
    /// The file could not be read to its end.
    #[error("{} was not verified: {source}", path.display())]
    Read {
        /// The file to verify.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No key made this signature for this file and context.
    #[error(
        "{} does NOT verify: none of the named keys signed these bytes as {context}. Either the file or its signature \
         was changed, or the signature was made by another key or for another product, version, target or purpose. \
         Do not use the file; compare the fingerprint (exuvia-keygen show) and the names with those of whoever signed.",
        path.display()
    )]
    NotSigned {
        /// The file.
        path: PathBuf,
        /// The context under which a signature was expected.
        context: String,
    },
}

impl ToolError for DetachedError {
    fn exit(&self) -> Exit {
        match self {
            Self::Storage(_) | Self::Changed(_) | Self::Read { .. } => Exit::Storage,
            Self::Sign { source: SignError::Read(_), .. } => Exit::Storage,
            Self::Sign { .. } => Exit::Unexpected,
            Self::SignatureLength { .. } | Self::NotSigned { .. } => Exit::Verification,
        }
    }
}

/// A file that was signed, or whose signature was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The file's length in bytes.
    pub length: u64,
    /// The key that made the signature.
    pub key: KeyId,
}

// A file is read in pieces whatever its length, so there is no length to refuse.
const ANY_LENGTH: ByteLimit = ByteLimit::bytes(1 << 63);
const SIGNATURE_FILE: ByteLimit = ByteLimit::kib(64);

/// The length of a file that is about to be read, for a progress bar.
pub fn length_of(path: &Path) -> Result<u64, SysError> {
    OperatorFile::open(path, ANY_LENGTH).map(|file| file.length)
}

/// Signs `path` and writes the raw signature to `signature`, whole or not at all.
pub fn sign_file(
    key: &SecretKey<Release>,
    context: &Context<Release>,
    path: &Path,
    signature: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Signed, DetachedError> {
    let input = OperatorFile::open(path, ANY_LENGTH)?;
    let (dir, name) = Dir::parent_of_operator_file(signature)?;
    let mut reader = Metered { inner: &input.file, read: 0, progress };
    let made = key
        .sign(context, &mut Read::by_ref(&mut reader).take(input.length))
        .map_err(|source| DetachedError::Sign { path: path.to_owned(), source })?;
    let read = reader.read;
    let length_now = input.file.metadata().map_err(|error| SysError::io("examine", path, error))?.len();
    if read != input.length || length_now != input.length {
        return Err(DetachedError::Changed(path.to_owned()));
    }
    dir.replace(&name, made.as_bytes(), 0o644)?;
    Ok(Signed { length: input.length, key: key.public().id() })
}

/// Verifies `path` against the raw signature in `signature`: any key of the keyring suffices.
pub fn verify_file(
    keys: &Keyring<Release>,
    context: &Context<Release>,
    path: &Path,
    signature: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Signed, DetachedError> {
    let input = OperatorFile::open(path, ANY_LENGTH)?;
    let bytes = OperatorFile::read(signature, SIGNATURE_FILE)?;
    let stated = Signature::from_bytes(&bytes)
        .map_err(|source| DetachedError::SignatureLength { path: signature.to_owned(), source })?;
    let mut reader = Metered { inner: &input.file, read: 0, progress };
    match keys.verify(context, &mut reader, &stated) {
        Ok(key) => Ok(Signed { length: input.length, key: key.id() }),
        Err(VerifyError::Read(source)) => Err(DetachedError::Read { path: path.to_owned(), source }),
        Err(VerifyError::NotSigned { context, .. }) => Err(DetachedError::NotSigned { path: path.to_owned(), context }),
    }
}

/// A reader that tells how far it is.
pub(super) struct Metered<'a, R> {
    pub(super) inner: R,
    pub(super) read: u64,
    pub(super) progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        (self.progress)(n as u64);
        Ok(n)
    }
}

impl<R: Seek> Seek for Metered<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
