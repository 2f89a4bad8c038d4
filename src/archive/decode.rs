use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstDecoder;

use super::error::ContentError;
use crate::sys::FromStart;
use crate::types::{ArchiveFormat, Packing};

/// Windows of at most 8 MiB: that much memory, and no more, may a frame ask for.
const WINDOW_LOG_MAX: u32 = 23;

/// Compressed bytes read at a time: what Zstandard asks for, and enough for gzip.
const PIECE: usize = 128 * 1024;

type Source<'a> = BufReader<FromStart<'a>>;

/// One compressed stream: one gzip member, or one Zstandard frame, and then the end. Or the tar as it is.
pub(super) enum Decoder<'a> {
    Gz(Box<GzDecoder<Source<'a>>>),
    Zst(Box<ZstDecoder<'static, Source<'a>>>),
    Tar(Source<'a>),
}

impl<'a> Decoder<'a> {
    pub(super) fn new(source: FromStart<'a>, packing: Packing) -> io::Result<Self> {
        let source = BufReader::with_capacity(PIECE, source);
        Ok(match packing {
            Packing::Tar => Self::Tar(source),
            Packing::Compressed(ArchiveFormat::TarGz) => Self::Gz(Box::new(GzDecoder::new(source))),
            Packing::Compressed(ArchiveFormat::TarZst) => {
                let mut decoder = ZstDecoder::with_buffer(source)?.single_frame();
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Self::Zst(Box::new(decoder))
            }
        })
    }

    /// Whether compressed bytes are left behind the end of the stream.
    pub(super) fn has_more(&mut self) -> io::Result<bool> {
        let source = match self {
            Self::Tar(source) => source,
            Self::Gz(decoder) => decoder.get_mut(),
            Self::Zst(decoder) => {
                decoder.finish_frame()?;
                decoder.get_mut()
            }
        };
        Ok(!source.fill_buf()?.is_empty())
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tar(source) => source.read(buffer),
            Self::Gz(decoder) => decoder.read(buffer),
            Self::Zst(decoder) => decoder.read(buffer),
        }
    }
}

/// What a decoder's complaint says about the archive; the disk's own complaints come back as they are.
pub(super) fn reason(error: io::Error) -> Result<ContentError, io::Error> {
    if error.raw_os_error().is_some() {
        return Err(error);
    }
    Ok(match error.kind() {
        io::ErrorKind::UnexpectedEof => ContentError::Truncated,
        // Zstandard's name for this refusal; the binding hands it over as text only.
        _ if error.to_string().contains("too much memory") => ContentError::Window,
        _ => ContentError::Compression(error),
    })
}
