use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use age::stream::StreamReader;

use super::block::{self, END};
use super::error::{FormatError, SnapshotError};
use super::folder::Snapshots;
use super::keys::Identity;
use super::manifest::Manifest;
use super::state::Role;
use super::tally::Tally;
use super::verify::VerifiedSnapshot;
use super::{Step, WINDOW_LOG_MAX};
use crate::sys::Dir;

/// What unpacking may need beside the files.
const MARGIN: u64 = 1 << 20;

impl VerifiedSnapshot {
    /// Writes the files into `into`, each durable under the name and with the mode that `name` gives its
    /// role. What is there under such a name is replaced.
    ///
    /// Every length and digest is checked once more on the way: a file that was changed after it was
    /// verified leaves nothing.
    ///
    /// # Errors
    /// Files that were written already are removed.
    pub fn unpack(
        &mut self,
        into: &Dir,
        identities: &[&Identity],
        name: &dyn Fn(&Role) -> (String, u32),
        progress: &mut dyn FnMut(Step, u64),
    ) -> Result<(), SnapshotError> {
        Snapshots::expect_room(into, self.manifest().bytes().saturating_add(MARGIN))?;
        let mut written = Vec::new();
        let outcome = self.unpack_each(into, identities, name, &mut written, progress);
        if outcome.is_err() {
            for name in &written {
                into.remove(name)?;
            }
            into.sync()?;
        }
        outcome
    }

    fn unpack_each(
        &mut self,
        into: &Dir,
        identities: &[&Identity],
        name: &dyn Fn(&Role) -> (String, u32),
        written: &mut Vec<String>,
        progress: &mut dyn FnMut(Step, u64),
    ) -> Result<(), SnapshotError> {
        let manifest = self.manifest().clone();
        let path = self.path().to_owned();
        let malformed = |reason| SnapshotError::Malformed { path: path.clone(), reason };
        let mut tar = self.open_payload(&manifest, identities)?;
        for file in &manifest.files {
            let wrong = |error| malformed(compressed(error));
            block::expect_header(&mut tar, file.role.as_str(), file.length).map_err(wrong)?;
            let (name, mode) = name(&file.role);
            let shown = into.path().join(&name);
            let mut out = Tally::new(into.new_file(mode)?);
            block::pass(&mut tar, file.length, |piece| {
                progress(Step::Unpack, piece.len() as u64);
                out.write_all(piece).map_err(|error| Unpacked::Write(SnapshotError::of_write(shown.clone(), error)))
            })
            .map_err(|error| match error {
                Unpacked::Write(error) => error,
                Unpacked::Read(reason) => wrong(reason),
            })?;
            block::expect_zeros(&mut tar, block::padding(file.length)).map_err(wrong)?;
            let (out, _, digest) = out.finish();
            if digest != file.sha256 {
                return Err(malformed(FormatError::OtherFile(file.role.clone())));
            }
            out.publish(&name)?;
            written.push(name);
        }
        let wrong = |error| malformed(compressed(error));
        block::expect_zeros(&mut tar, END).map_err(wrong)?;
        block::expect_end(&mut tar).map_err(wrong)?;
        let mut packed = tar.finish();
        match packed.fill_buf() {
            Ok([]) => {}
            Ok(_) => return Err(malformed(FormatError::Trailing)),
            Err(error) => return Err(malformed(FormatError::Compression(error))),
        }
        packed.into_inner().finish(&manifest).map_err(malformed)
    }

    fn open_payload(
        &self,
        manifest: &Manifest,
        identities: &[&Identity],
    ) -> Result<zstd::Decoder<'static, BufReader<Source>>, SnapshotError> {
        let unreadable = |error| SnapshotError::Malformed { path: self.path.clone(), reason: FormatError::Read(error) };
        let mut file = self.file.try_clone().map_err(unreadable)?;
        file.seek(SeekFrom::Start(self.payload_at)).map_err(unreadable)?;
        let stored = Tally::new(BufReader::with_capacity(1 << 17, file).take(manifest.payload.length));
        let source = if manifest.payload.sealed {
            let sealed = age::Decryptor::new(stored).map_err(|error| match error {
                age::DecryptError::Io(error) => unreadable(error),
                _ => SnapshotError::Malformed { path: self.path.clone(), reason: FormatError::Payload },
            })?;
            let identities = identities.iter().map(|identity| *identity as &dyn age::Identity);
            Source::Sealed(Box::new(sealed.decrypt(identities).map_err(|error| match error {
                age::DecryptError::Io(error) => unreadable(error),
                _ => SnapshotError::Sealed,
            })?))
        } else {
            Source::Open(stored)
        };
        let mut tar =
            zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 17, source)).map_err(unreadable)?.single_frame();
        tar.window_log_max(WINDOW_LOG_MAX).map_err(unreadable)?;
        Ok(tar)
    }
}

/// A failed read is the decoder's: it says why what it reads is no such stream.
fn compressed(reason: FormatError) -> FormatError {
    match reason {
        FormatError::Read(error) => FormatError::Compression(error),
        other => other,
    }
}

enum Unpacked {
    Read(FormatError),
    Write(SnapshotError),
}

impl From<FormatError> for Unpacked {
    fn from(error: FormatError) -> Self {
        Self::Read(error)
    }
}

type Stored = Tally<io::Take<BufReader<File>>>;

/// The compressed tar: as it stands in the snapshot, or out of its seal.
enum Source {
    Open(Stored),
    Sealed(Box<StreamReader<Stored>>),
}

impl Source {
    /// What was read must still be what was signed. A sealed stream keeps its reader; what came out of it has
    /// been compared with the signed digests, file by file.
    fn finish(self, manifest: &Manifest) -> Result<(), FormatError> {
        let Self::Open(stored) = self else { return Ok(()) };
        if stored.finish().2 == manifest.payload.sha256 { Ok(()) } else { Err(FormatError::OtherPayload) }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Open(stored) => stored.read(buffer),
            Self::Sealed(stream) => stream.read(buffer),
        }
    }
}
