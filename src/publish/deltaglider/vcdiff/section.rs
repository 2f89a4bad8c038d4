use std::io::{self, Read};

use flate2::Crc;
use lzma_rust2::Lzma2Reader;

use super::error::VcdiffError;
use super::number::{length, split};

/// What a stream may ask to be remembered: 64 MiB, the most that any level of xz uses. It is reserved as it fills.
const DICTIONARY: u32 = 64 << 20;

/// The head of an .xz stream (12 bytes, no check) and of its one block (12 bytes, LZMA2 alone), as xdelta3 writes them.
const HEAD: usize = 24;
const STREAM: [u8; 8] = *b"\xfd7zXZ\0\0\0";
const BLOCK: [u8; 4] = [2, 0, 0x21, 1];

/// The sections of one kind: all windows together are one .xz stream, which is never ended.
#[derive(Default)]
pub(super) struct Sections(Option<Lzma2Reader<Fed>>);

/// What was handed to the decompressor, and how much of it was read.
struct Fed {
    bytes: Vec<u8>,
    read: usize,
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&self.bytes[self.read..]).read(buffer)?;
        self.read += read;
        Ok(read)
    }
}

impl Sections {
    /// A compressed section of a window: it begins with the length that it decompresses to, which is at most `most`.
    pub(super) fn decompress(&mut self, mut section: &[u8], most: usize) -> Result<Vec<u8>, VcdiffError> {
        let plain = length(&mut section, "a section", most)?;
        let stream = match &mut self.0 {
            Some(stream) => {
                *stream.inner_mut() = Fed { bytes: section.to_vec(), read: 0 };
                stream
            }
            none => {
                let dictionary = dictionary(split(&mut section, HEAD)?)?;
                let fed = Fed { bytes: section.to_vec(), read: 0 };
                none.insert(Lzma2Reader::new(fed, dictionary, None))
            }
        };
        let mut bytes = Vec::new();
        stream.take(plain as u64).read_to_end(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => VcdiffError::Truncated,
            _ => VcdiffError::Compression(error),
        })?;
        let fed = stream.inner();
        if bytes.len() == plain && fed.read == fed.bytes.len() { Ok(bytes) } else { Err(VcdiffError::Lengths) }
    }
}

/// The length of the dictionary that the heads state.
fn dictionary(head: &[u8]) -> Result<u32, VcdiffError> {
    let (stream, block) = head.split_at(HEAD / 2);
    let is_sum = |of: &[u8], sum: &[u8]| {
        let mut crc = Crc::new();
        crc.update(of);
        crc.sum().to_le_bytes() == sum
    };
    let bits = block[4];
    let sums = is_sum(&stream[6..8], &stream[8..]) && is_sum(&block[..8], &block[8..]);
    if stream[..8] != STREAM || block[..4] != BLOCK || block[5..8] != [0; 3] || !sums {
        return Err(VcdiffError::Unsupported("a stream of xz with other filters or checks"));
    }
    // The .xz format, section 5.3.1: 2 or 3, times a power of two.
    let length = if bits <= 40 { (2 | u64::from(bits & 1)) << (bits / 2 + 11) } else { u64::MAX };
    match u32::try_from(length) {
        Ok(length) if length <= DICTIONARY => Ok(length),
        _ => Err(VcdiffError::TooLong { what: "a dictionary", stated: length, most: u64::from(DICTIONARY) }),
    }
}
