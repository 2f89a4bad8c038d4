use std::fs::File;
use std::io::{self, BufRead, BufReader};

use zstd::stream::read::Decoder;

use super::error::PatchError;
use super::head::Part;
use crate::sys::FromStart;

/// Windows of at most 4 MiB: three streams are open at once.
const WINDOW_LOG_MAX: u32 = 22;
/// Decompressed bytes held at a time.
const PIECE: usize = 128 * 1024;

/// One of the streams of a patch, decompressed as it is asked for, and never more than the head states.
pub(super) struct Stream<'a> {
    reader: BufReader<Decoder<'static, BufReader<FromStart<'a>>>>,
    left: u64,
}

impl<'a> Stream<'a> {
    /// The stream that lies at `at` in the patch.
    pub(super) fn open(patch: &'a File, at: u64, part: Part) -> Result<Self, PatchError> {
        let source = BufReader::with_capacity(PIECE, FromStart::between(patch, at, at + part.packed));
        let mut decoder = Decoder::with_buffer(source).map_err(PatchError::Compression)?.single_frame();
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(PatchError::Compression)?;
        Ok(Self { reader: BufReader::with_capacity(PIECE, decoder), left: part.plain })
    }

    /// The next bytes, at least one and at most `most`. To be told of by [`Self::consume`].
    pub(super) fn some(&mut self, most: u64) -> Result<&[u8], PatchError> {
        let most = usize::try_from(most.min(self.left)).unwrap_or(usize::MAX);
        let some = self.reader.fill_buf().map_err(reason)?;
        let some = &some[..most.min(some.len())];
        if some.is_empty() { Err(PatchError::Truncated) } else { Ok(some) }
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.left -= count as u64;
    }

    /// A number: seven bits in each byte, the lowest first, the highest bit where more follow (LEB128).
    pub(super) fn number(&mut self) -> Result<u64, PatchError> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.some(1)?[0];
            self.consume(1);
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 {
                break;
            }
            number |= bits << (7 * place);
            if byte & 0x80 == 0 {
                // One form for each number: no bytes that say nothing.
                return if byte == 0 && place > 0 { Err(PatchError::Number) } else { Ok(number) };
            }
        }
        Err(PatchError::Number)
    }

    /// A number that may be negative: 0, -1, 1, -2, … as 0, 1, 2, 3, …
    pub(super) fn signed_number(&mut self) -> Result<i64, PatchError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// Nothing is left: neither of the stream, nor behind its compressed form.
    pub(super) fn end(mut self) -> Result<(), PatchError> {
        if self.left > 0 || !self.reader.fill_buf().map_err(reason)?.is_empty() {
            return Err(PatchError::DataAfter);
        }
        let decoder = self.reader.get_mut();
        decoder.finish_frame().map_err(reason)?;
        if decoder.get_mut().fill_buf().map_err(PatchError::Copy)?.is_empty() {
            Ok(())
        } else {
            Err(PatchError::DataAfter)
        }
    }
}

fn reason(error: io::Error) -> PatchError {
    if error.raw_os_error().is_some() {
        PatchError::Copy(error)
    } else if error.kind() == io::ErrorKind::UnexpectedEof {
        PatchError::Truncated
    } else {
        PatchError::Compression(error)
    }
}
