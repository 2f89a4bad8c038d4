use std::io::{self, Read, Write};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::error::{CacheError, replace_planted};
use crate::sys::{CheckedFile, Loose, PrivateDir, SysError, sha256};
use crate::types::{ByteLimit, Sha256Digest};

/// Archives, each under its SHA-256: `ab/cd/<sha256>`.
#[derive(Debug)]
pub(super) struct Blobs {
    root: PrivateDir,
}

const PIECE: usize = 64 * 1024;

impl Blobs {
    pub(super) fn new(root: PrivateDir) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &PrivateDir {
        &self.root
    }

    /// Opens a blob, judged on its handle.
    pub(super) fn open(&self, digest: Sha256Digest, limit: ByteLimit) -> Result<CheckedFile, SysError> {
        self.folder(digest)?.open_file(&digest.to_string(), limit)
    }

    /// Writes what `from` yields, durably, and returns the name under which it lies.
    pub(super) fn store(&self, mut from: impl Read) -> Result<Sha256Digest, CacheError> {
        // Temporary names only at the top, so that the sweep need not look into 65,536 folders.
        let mut file = self.root.new_file(0o600)?;
        let (mut digest, mut piece) = (Sha256::new(), vec![0; PIECE]);
        loop {
            match from.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => {
                    digest.update(&piece[..read]);
                    file.write_all(&piece[..read])
                        .map_err(|error| SysError::io("write an archive in", self.root.path(), error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CacheError::Read(error)),
            }
        }
        let digest = Sha256Digest::from_bytes(digest.finalize().into());
        let name = digest.to_string();
        let sub =
            |dir: &PrivateDir, name: &str| replace_planted(dir, name, |name| dir.private_subdir(name, Loose::Tighten));
        let folder = sub(&sub(&self.root, &name[..2])?, &name[2..4])?;
        // rename(2) replaces whatever has the name, except a folder.
        if folder.open_file(&name, ByteLimit::bytes(1 << 62)).is_err_and(|error| error.refusal().is_some()) {
            folder.remove_tree(&name)?;
        }
        file.publish_into(&folder, &name)?;
        Ok(digest)
    }

    /// Whether the blob holds the bytes that its name says.
    pub(super) fn is_sound(&self, digest: Sha256Digest, limit: ByteLimit) -> bool {
        let Ok(blob) = self.open(digest, limit) else { return false };
        sha256(blob.file.take(blob.length)).is_ok_and(|found| found == digest)
    }

    /// Removes a blob, or whatever lies in its place. Gone already is fine.
    pub(super) fn remove(&self, digest: Sha256Digest) -> Result<(), SysError> {
        match self.folder(digest) {
            Ok(folder) => folder.remove_tree(&digest.to_string()),
            Err(error) if error.is_not_found() => Ok(()),
            // Its folder is not one of ours: the next store replaces it.
            Err(error) if error.refusal().is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Every blob, with the time at which it was stored and its length. What cannot be read is no blob.
    pub(super) fn all(&self) -> Result<Vec<(Sha256Digest, SystemTime, u64)>, SysError> {
        let mut all = Vec::new();
        let two_digits = |name: &String| name.len() == 2;
        for high in self.root.names()?.iter().filter(|name| two_digits(name)) {
            let Ok(upper) = self.root.existing_private_subdir(high, Loose::Tighten) else { continue };
            for low in upper.names()?.iter().filter(|name| two_digits(name)) {
                let Ok(folder) = upper.existing_private_subdir(low, Loose::Tighten) else { continue };
                for name in folder.names()? {
                    // Under another name than its own, nothing would ever look for it.
                    let Ok(digest) = name.parse::<Sha256Digest>() else { continue };
                    if let Ok((stored, length)) = folder.modified(&name) {
                        all.push((digest, stored, length));
                    }
                }
            }
        }
        Ok(all)
    }

    fn folder(&self, digest: Sha256Digest) -> Result<PrivateDir, SysError> {
        let name = digest.to_string();
        self.root
            .existing_private_subdir(&name[..2], Loose::Tighten)?
            .existing_private_subdir(&name[2..4], Loose::Tighten)
    }
}
