use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::GzBuilder;
use zstd::stream::raw::CParameter;

use super::detached::Metered;
use super::pack::Pack;
use super::pack_error::PackError;
use super::tar_stream::TarStream;
use super::tee::{Hashing, Tee};
use crate::archive::{ArchiveError, Limits, UntrustedArchive, VerifiedArchive};
use crate::crypto::{Context, Keyring, Release, SecretKey, SignError, Signature};
use crate::sys::{Dir, NewFile, OperatorFile};
use crate::types::{ArchiveFormat, Sha256Digest};

/// 2 MiB: what a reader must keep in memory, and within the 8 MiB that nodes allow.
const WINDOW_LOG: u32 = 21;

/// Makes the tar, signs it and compresses it, all in one pass over the binary.
pub(super) fn write_archive(
    plan: &Pack,
    level: u32,
    key: &SecretKey<Release>,
    binary: &Path,
    input: &OperatorFile,
    archive: &mut NewFile,
    progress: &mut dyn FnMut(u64),
) -> Result<(Signature, Sha256Digest), PackError> {
    let failed = |source| PackError::Archive { path: binary.to_owned(), source };
    let mut body_hash = Hashing::default();
    let metered = Metered { inner: &input.file, read: 0, progress };
    let body = Tee { reader: metered, writer: &mut body_hash };
    let tar = TarStream::new(&plan.id.product, body, input.length).map_err(failed)?;
    let context = Context::tar(&plan.id);
    let tar_length = tar.length();
    let outcome = match plan.format {
        ArchiveFormat::TarZst => {
            let mut encoder = zstd_encoder(archive, level, tar_length).map_err(failed)?;
            let signature = key.sign(&context, &mut Tee { reader: tar, writer: &mut encoder });
            encoder.finish().map_err(failed)?;
            signature
        }
        ArchiveFormat::TarGz => {
            // No name, no time, no operating system: the same bytes everywhere.
            let builder = GzBuilder::new().mtime(0).operating_system(255);
            let mut encoder = builder.write(archive, flate2::Compression::new(level));
            let signature = key.sign(&context, &mut Tee { reader: tar, writer: &mut encoder });
            encoder.finish().map_err(failed)?;
            signature
        }
    };
    let length_now = input.file.metadata().map_err(failed)?.len();
    match outcome {
        Err(SignError::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(PackError::Changed(binary.to_owned()))
        }
        Err(SignError::Read(source)) => Err(failed(source)),
        Err(error) => Err(PackError::Sign(error)),
        Ok(_) if length_now != input.length => Err(PackError::Changed(binary.to_owned())),
        Ok(signature) => Ok((signature, body_hash.digest())),
    }
}

fn zstd_encoder<W: Write>(writer: W, level: u32, length: u64) -> io::Result<zstd::stream::write::Encoder<'static, W>> {
    let level = i32::try_from(level).map_err(io::Error::other)?;
    let mut encoder = zstd::stream::write::Encoder::new(writer, level)?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(length))?;
    Ok(encoder)
}

/// Signs the finished archive and takes its digest in the same pass.
pub(super) fn sign_archive(
    plan: &Pack,
    key: &SecretKey<Release>,
    archive: &NewFile,
) -> Result<(Signature, Sha256Digest, u64), SignError> {
    let mut file = archive.file();
    file.seek(SeekFrom::Start(0))?;
    let mut hashing = Hashing::default();
    let signature = key.sign(&Context::archive(&plan.id), &mut Tee { reader: file, writer: &mut hashing })?;
    let length = hashing.length;
    Ok((signature, hashing.digest(), length))
}

/// Does with the finished archive what a node will do with it.
pub(super) fn rehearse(
    plan: &Pack,
    key: &SecretKey<Release>,
    archive: &NewFile,
    signature: &Signature,
    folder: &Dir,
    content: Sha256Digest,
) -> Result<VerifiedArchive, PackError> {
    let keys = Keyring::from_pems([key.public().to_pem().as_str()]).map_err(|_| PackError::Faulty)?;
    let copy = archive.file().try_clone().map_err(ArchiveError::Copy)?;
    let limits = Limits::default();
    let untrusted = UntrustedArchive::from_private_file(copy, plan.format)?;
    if !limits.archive.admits(untrusted.length()) {
        return Err(PackError::TooLong { length: untrusted.length(), limit: limits.archive.get() });
    }
    let verified = untrusted.verify(&plan.id, signature, &keys)?;
    let binary = verified.extract(folder, &limits, &mut |_| ())?;
    if binary.digest() == content { Ok(verified) } else { Err(PackError::Faulty) }
}
