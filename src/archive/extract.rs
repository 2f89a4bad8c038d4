//! Takes the one binary out of a verified archive.
//!
//! The archive is signed, and still nothing in it is believed: a release pipeline can be made to
//! sign a hostile tar, and two readers of one tar may see different files in it. So the accepted
//! form is the smallest there is: one compressed stream, holding one header, the binary, and zeros.
//! What it withstands, each refused with its own [`ContentError`]:
//!
//! - **paths** that are absolute, climb with `..`, lie in a folder, are split over the ustar prefix
//!   field, go on behind a NUL, or are not UTF-8: the name field must spell `<product>` or
//!   `./<product>`, byte for byte;
//! - **kinds** other than a regular file, under any name: symbolic link, hard link, device, FIFO,
//!   folder (also `./`: packers that add it must not), GNU sparse file, unknown type flags;
//! - **extensions that override** the next header: GNU long name and long link, PAX local and
//!   global headers (path, size, linkpath, sparse maps). They are never interpreted: their mere
//!   presence refuses the archive;
//! - **mode bits** for setuid, setgid and sticky. The staged file's mode is 0755, whatever it says;
//! - **a second entry** of any kind, the binary twice, 10^6 entries: reading stops at the second
//!   header, so entries cost nothing;
//! - **bombs**: the header's stated length is held against the limit on binaries and against 200
//!   times the archive's length before a byte of content is decoded, and never more than that is
//!   read; the zeros at the end are bounded, too;
//! - **memory**: Zstandard frames that ask for a window of more than 8 MiB; buffers are a fixed set
//!   that is recycled;
//! - **hidden data** behind the tar's end, behind the compressed stream (second gzip member, second
//!   or skippable frame), or in the binary's padding;
//! - **truncation** anywhere, and content that is shorter than its header says.
//!
//! Decoding runs on the calling thread, writing and SHA-256 on a second one.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sha2::{Digest, Sha256};

use super::decode::{Decoder, reason};
use super::error::{ArchiveError, ContentError};
use super::header::{self, BLOCK};
use super::limits::plausible;
use super::signed::VerifiedArchive;
use super::staged::StagedBinary;
use crate::config::Limits;
use crate::sys::{Dir, SysError};
use crate::types::{Product, Sha256Digest};

/// Decoded bytes handed over at a time. Waking the other thread is what costs: smaller pieces
/// measure slower.
const PIECE: usize = 256 * 1024;
/// Pieces in flight: enough for the decoder never to wait for a disk that hesitates briefly.
const PIECES: usize = 8;
/// Zeros at the tar's end: two blocks at least, and packers that fill a record write up to this.
const TAIL_MAX: u64 = 64 * 1024;

/// Why decoding ended early.
enum Stop {
    Content(ContentError),
    /// The private copy cannot be read.
    Copy(io::Error),
    /// The writer has given up; it knows why.
    Writer,
}

impl From<ContentError> for Stop {
    fn from(error: ContentError) -> Self {
        Self::Content(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        reason(error).map_or_else(Self::Copy, Self::Content)
    }
}

pub(super) fn extract(
    archive: &VerifiedArchive,
    staging: &Dir,
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> Result<StagedBinary, ArchiveError> {
    let refused = |reason| ArchiveError::Content { id: Box::new(archive.id().clone()), reason };
    let stopped = |stop| match stop {
        Stop::Content(reason) => refused(reason),
        Stop::Copy(error) => ArchiveError::Copy(error),
        Stop::Writer => unreachable!("a writer that gives up has reported why"),
    };
    let mut decoder = Decoder::new(archive.bytes(), archive.packing()).map_err(|error| stopped(error.into()))?;
    let length = open(&mut decoder, archive, limits).map_err(stopped)?;

    let mut file = staging.new_file(0o755)?;
    let (full, filled) = sync_channel::<Vec<u8>>(PIECES);
    let (empty, emptied) = sync_channel::<Vec<u8>>(PIECES);
    let (written, outcome) = thread::scope(|scope| {
        let to = &mut file;
        let writing = scope.spawn(move || write(to, filled, &empty));
        let outcome = decode(&mut decoder, length, &full, &emptied, progress)
            .and_then(|()| close(&mut decoder, length, &archive.id().product));
        drop(full);
        (writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), outcome)
    });
    let digest = written.map_err(|error| SysError::io("write the binary in", staging.path(), error))?;
    outcome.map_err(stopped)?;
    Ok(StagedBinary::new(file, archive.id().clone(), digest, length))
}

/// Reads the first header and holds the length that it states against the limits.
fn open(decoder: &mut Decoder<'_>, archive: &VerifiedArchive, limits: &Limits) -> Result<u64, Stop> {
    let mut block = [0; BLOCK];
    match fill(decoder, &mut block)? {
        BLOCK => {}
        0 => return Err(ContentError::Empty.into()),
        _ => return Err(ContentError::Truncated.into()),
    }
    if block == [0; BLOCK] {
        return Err(ContentError::Empty.into());
    }
    let length = header::judge(&block, &archive.id().product)?;
    if !limits.binary.admits(length) {
        return Err(ContentError::TooLong { length, limit: limits.binary.get() }.into());
    }
    if length > plausible(archive.length()) {
        return Err(ContentError::Ratio { length, archive: archive.length() }.into());
    }
    Ok(length)
}

/// Hands exactly `length` decoded bytes to the writer.
fn decode(
    decoder: &mut Decoder<'_>,
    length: u64,
    full: &SyncSender<Vec<u8>>,
    emptied: &Receiver<Vec<u8>>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Stop> {
    let (mut left, mut made) = (length, 0);
    while left > 0 {
        let mut piece = if made < PIECES {
            made += 1;
            vec![0; PIECE]
        } else {
            emptied.recv().map_err(|_| Stop::Writer)?
        };
        piece.resize(usize::try_from(left).unwrap_or(PIECE).min(PIECE), 0);
        if fill(decoder, &mut piece)? < piece.len() {
            return Err(ContentError::Truncated.into());
        }
        left -= piece.len() as u64;
        full.send(piece).map_err(|_| Stop::Writer)?;
        progress(length - left);
    }
    Ok(())
}

/// Reads to the very end: padding, the tar's end marker, its zeros, the end of the stream.
fn close(decoder: &mut Decoder<'_>, length: u64, product: &Product) -> Result<(), Stop> {
    let mut block = [0; BLOCK];
    let padding = usize::try_from(length.next_multiple_of(BLOCK as u64) - length).unwrap_or(0);
    if fill(decoder, &mut block[..padding])? < padding {
        return Err(ContentError::Truncated.into());
    }
    if block != [0; BLOCK] {
        return Err(ContentError::DataAfterTar.into());
    }
    let mut zeros = 0;
    loop {
        match fill(decoder, &mut block)? {
            0 if zeros >= 2 * BLOCK as u64 => break,
            BLOCK if block == [0; BLOCK] && zeros < TAIL_MAX => zeros += BLOCK as u64,
            // A header may stand only where the first zero block should.
            BLOCK if zeros == 0 => return Err(header::extra(&block, product).into()),
            BLOCK => return Err(ContentError::DataAfterTar.into()),
            _ => return Err(ContentError::Truncated.into()),
        }
    }
    if decoder.has_more()? {
        return Err(ContentError::DataAfterStream.into());
    }
    Ok(())
}

/// Dropping `filled` on the way out is what tells the decoder to stop.
fn write(file: &mut impl Write, filled: Receiver<Vec<u8>>, empty: &SyncSender<Vec<u8>>) -> io::Result<Sha256Digest> {
    let mut digest = Sha256::new();
    for piece in filled {
        file.write_all(&piece)?;
        digest.update(&piece);
        // The decoder may have what it needs and be gone.
        empty.send(piece).ok();
    }
    Ok(Sha256Digest::from_bytes(digest.finalize().into()))
}

/// Reads until `buffer` is full or the stream ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
