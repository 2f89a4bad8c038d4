use std::fs::File;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::decode::{Decoder, reason};
use super::error::{ArchiveError, ContentError};
use super::limits::plausible;
use super::signed::VerifiedArchive;
use crate::sys::{Dir, FromStart, sha256};
use crate::types::{ByteLimit, Sha256Digest};

/// The tar of a release, uncompressed, in a private file without a name: what patches begin with and
/// end with. It says which bytes it holds, and not whose they are.
#[derive(Debug)]
pub struct Tar {
    file: File,
    length: u64,
    digest: Sha256Digest,
}

const PIECE: usize = 256 * 1024;

impl Tar {
    /// Takes a private file, and reads it once for its digest.
    pub fn of_private_file(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let digest = sha256(FromStart::new(&file, length))?;
        Ok(Self { file, length, digest })
    }

    /// The handle, to be read by position.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// SHA-256 of all of it.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }
}

pub(super) fn unpack(archive: &VerifiedArchive, staging: &Dir, limit: ByteLimit) -> Result<Tar, ArchiveError> {
    let refused = |reason| ArchiveError::Content { id: Box::new(archive.id().clone()), reason };
    let decoding = |error| reason(error).map_or_else(ArchiveError::Copy, refused);
    let most = limit.get().min(plausible(archive.length()).saturating_add(1 << 20));
    let mut decoder = Decoder::new(archive.bytes(), archive.packing()).map_err(decoding)?;
    let mut file = staging.unnamed_file()?;
    let (mut digest, mut piece, mut length) = (Sha256::new(), vec![0; PIECE], 0);
    loop {
        let read = match decoder.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(decoding(error)),
        };
        length += read as u64;
        if length > most {
            return Err(refused(ContentError::TooLong { length, limit: most }));
        }
        digest.update(&piece[..read]);
        file.write_all(&piece[..read]).map_err(ArchiveError::Copy)?;
    }
    if decoder.has_more().map_err(decoding)? {
        return Err(refused(ContentError::DataAfterStream));
    }
    let digest = Sha256Digest::from_bytes(digest.finalize().into());
    Ok(Tar { file, length, digest })
}
