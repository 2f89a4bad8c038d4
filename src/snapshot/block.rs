//! The two tars of a snapshot: the outer one, and the one inside the payload.
//!
//! Both are written in one way only, so reading is comparing: a header is built from the name and length
//! that are expected, and the block must be the same. Links, paths, modes, long names and extensions have
//! no way in.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::error::FormatError;

const BLOCK: usize = 512;
const BLOCK_LENGTH: u64 = 512;

/// Zeros from the end of a file to the next block.
pub(super) fn padding(length: u64) -> u64 {
    length.next_multiple_of(BLOCK_LENGTH) - length
}

/// The end of a tar: two blocks of zeros.
pub(super) const END: u64 = 2 * BLOCK_LENGTH;

pub(super) fn header(name: &str, length: u64) -> [u8; BLOCK] {
    let mut header = Header::new_ustar();
    header.set_path(name).expect("roles are short and relative");
    header.set_size(length);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    *header.as_bytes()
}

pub(super) fn write_zeros(out: &mut impl Write, count: u64) -> io::Result<()> {
    let zeros = [0; 2 * BLOCK];
    let count = usize::try_from(count).expect("at most the end of a tar");
    out.write_all(&zeros[..count])
}

/// Reads a header that must be exactly the one of a file of that name; its length is what it says, up to `limit`.
pub(super) fn read_header(from: &mut impl Read, name: &'static str, limit: u64) -> Result<u64, FormatError> {
    let mut block = [0; BLOCK];
    read_exact(from, &mut block)?;
    let length = Header::from_byte_slice(&block).entry_size().map_err(|_| FormatError::Entry(name))?;
    if length > limit {
        return Err(FormatError::TooLong(length));
    }
    if block == header(name, length) { Ok(length) } else { Err(FormatError::Entry(name)) }
}

pub(super) fn expect_header(from: &mut impl Read, name: &str, length: u64) -> Result<(), FormatError> {
    let mut block = [0; BLOCK];
    read_exact(from, &mut block)?;
    if block == header(name, length) { Ok(()) } else { Err(FormatError::Payload) }
}

pub(super) fn expect_zeros(from: &mut impl Read, count: u64) -> Result<(), FormatError> {
    let mut block = [0; 2 * BLOCK];
    let block = &mut block[..usize::try_from(count).expect("at most the end of a tar")];
    read_exact(from, block)?;
    if block.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(FormatError::Padding) }
}

pub(super) fn expect_end(from: &mut impl Read) -> Result<(), FormatError> {
    let mut byte = [0];
    loop {
        return match from.read(&mut byte) {
            Ok(0) => Ok(()),
            Ok(_) => Err(FormatError::Trailing),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(FormatError::Read(error)),
        };
    }
}

pub(super) fn read_exact(from: &mut impl Read, buffer: &mut [u8]) -> Result<(), FormatError> {
    from.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FormatError::Truncated,
        _ => FormatError::Read(error),
    })
}

/// Moves exactly `length` bytes, 64 KiB at a time, and shows each piece on its way.
pub(super) fn pass<E>(
    from: &mut impl Read,
    length: u64,
    mut piece_of: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E>
where
    E: From<FormatError>,
{
    let mut buffer = vec![0; 64 * 1024];
    let mut left = length;
    while left > 0 {
        let wanted = usize::try_from(left.min(buffer.len() as u64)).expect("at most the buffer");
        read_exact(from, &mut buffer[..wanted])?;
        piece_of(&buffer[..wanted])?;
        left -= wanted as u64;
    }
    Ok(())
}
