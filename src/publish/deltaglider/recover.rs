use std::fs::File;
use std::io::{self, BufReader, Write};

use super::metadata::{Described, REFERENCE};
use super::shelf::Shelf;
use super::unrecovered::Unrecovered;
use super::vcdiff::decode;
use crate::archive::{Limits, tar_limit};
use crate::publish::tee::Hashing;
use crate::sys::{Dir, FromStart};
use crate::types::{ByteLimit, Packing, Sha256Digest};

/// Recovers objects one after the other, in private files of `scratch`. It remembers the reference that it
/// verified last: neighbours share it.
pub(super) struct Recovery<'a> {
    pub(super) shelf: &'a Shelf,
    pub(super) scratch: &'a Dir,
    pub(super) reference: Option<Reference>,
}

/// A reference that has the digest that a delta asks for, by the handle of a private copy.
pub(super) struct Reference {
    folder: String,
    digest: Sha256Digest,
    file: File,
    length: u64,
}

/// A private file, and the digest of what was written to it.
struct Kept<'a> {
    file: File,
    hash: Hashing,
    progress: &'a mut dyn FnMut(u64),
}

impl Write for Kept<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        (self.progress)(bytes.len() as u64);
        self.hash.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The longest file of a packing.
fn limit(packing: Packing) -> ByteLimit {
    let limits = Limits::default();
    match packing {
        Packing::Tar => tar_limit(&limits),
        Packing::Compressed(_) => limits.archive,
    }
}

impl Recovery<'_> {
    /// The file that an object keeps, in a private file: exactly what its metadata state. `progress` hears of every
    /// byte that is written.
    pub(super) fn recover(
        &mut self,
        path: &str,
        described: &Described,
        packing: Packing,
        progress: &mut dyn FnMut(u64),
    ) -> Result<File, Unrecovered> {
        let (most, length) = (limit(packing), described.length);
        if length == 0 || !most.admits(length) {
            return Err(Unrecovered::TooLong { length, limit: most });
        }
        let kept = match described.reference {
            None => self.copy(path, ByteLimit::bytes(length), progress)?.ok_or(Unrecovered::Gone)?,
            Some(digest) => {
                let mut silent = |_| ();
                let delta = self.copy(path, Limits::default().archive, &mut silent)?.ok_or(Unrecovered::Gone)?;
                self.find_reference(path, digest)?;
                let reference = self.reference.as_ref().expect("it was just found");
                let mut delta = BufReader::new(FromStart::new(&delta.file, delta.hash.length));
                let mut made = Kept { file: self.scratch.unnamed_file()?, hash: Hashing::default(), progress };
                decode(&mut delta, (&reference.file, reference.length), length, &mut made)?;
                made
            }
        };
        if kept.hash.length == length && kept.hash.digest() == described.digest {
            Ok(kept.file)
        } else {
            Err(Unrecovered::OtherContent)
        }
    }

    /// Copies the reference of the object's folder and verifies the copy, unless that is done already.
    fn find_reference(&mut self, path: &str, digest: Sha256Digest) -> Result<(), Unrecovered> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if self.reference.as_ref().is_some_and(|known| known.folder == folder && known.digest == digest) {
            return Ok(());
        }
        self.reference = None;
        let at = if folder.is_empty() { REFERENCE.to_owned() } else { format!("{folder}/{REFERENCE}") };
        let mut silent = |_| ();
        let copy = self.copy(&at, limit(Packing::Tar), &mut silent)?.ok_or(Unrecovered::NoReference)?;
        let (file, length) = (copy.file, copy.hash.length);
        if copy.hash.digest() != digest {
            return Err(Unrecovered::OtherReference);
        }
        self.reference = Some(Reference { folder: folder.to_owned(), digest, file, length });
        Ok(())
    }

    fn copy<'p>(
        &self,
        path: &str,
        limit: ByteLimit,
        progress: &'p mut dyn FnMut(u64),
    ) -> Result<Option<Kept<'p>>, Unrecovered> {
        let mut kept = Kept { file: self.scratch.unnamed_file()?, hash: Hashing::default(), progress };
        Ok(self.shelf.copy(path, limit, &mut kept)?.then_some(kept))
    }
}
