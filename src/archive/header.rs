use tar::Header;

use super::error::{ContentError, EntryKind};
use crate::types::Product;

/// Bytes of a tar block: headers, and the unit to which content is padded.
pub(super) const BLOCK: usize = 512;

/// Judges the header of what must be the binary, and returns the length that it states.
pub(super) fn judge(block: &[u8; BLOCK], product: &Product) -> Result<u64, ContentError> {
    let header = read(block)?;
    let (name, kind) = (shown(header), kind(header));
    if kind != EntryKind::File {
        return Err(ContentError::NotAFile { name, kind });
    }
    if !names(header, product) {
        return Err(ContentError::WrongPath { name });
    }
    if header.as_old().linkname[0] != 0 {
        return Err(ContentError::LinkTarget);
    }
    // Some packers repeat "regular file" (0o100000) in the mode.
    let mode = header.mode().map_err(|_| ContentError::NotTar)?;
    if mode & !0o100_777 != 0 {
        return Err(ContentError::Mode { mode });
    }
    match header.entry_size() {
        Ok(0) => Err(ContentError::EmptyBinary),
        Ok(length) => Ok(length),
        Err(_) => Err(ContentError::NotTar),
    }
}

/// What it means that this block follows the binary, where zeros should.
pub(super) fn extra(block: &[u8; BLOCK], product: &Product) -> ContentError {
    match read(block) {
        Ok(header) if names(header, product) && kind(header) == EntryKind::File => ContentError::Duplicate,
        Ok(header) => ContentError::ExtraEntry { name: shown(header), kind: kind(header) },
        Err(_) => ContentError::DataAfterTar,
    }
}

fn read(block: &[u8; BLOCK]) -> Result<&Header, ContentError> {
    let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    let header = Header::from_byte_slice(block);
    match header.cksum() {
        Ok(stated) if stated == sum => Ok(header),
        _ => Err(ContentError::NotTar),
    }
}

/// Whether the whole name field spells the binary's path: nothing in the prefix field, and nothing
/// behind the first NUL, where another reader might go on.
fn names(header: &Header, product: &Product) -> bool {
    let mut field = header.as_old().name.as_slice();
    while let [rest @ .., 0] = field {
        field = rest;
    }
    let prefixed = header.as_ustar().is_some_and(|ustar| ustar.prefix[0] != 0);
    !prefixed && field.strip_prefix(b"./").unwrap_or(field) == product.as_str().as_bytes()
}

fn shown(header: &Header) -> String {
    header.path_bytes().escape_ascii().to_string()
}

fn kind(header: &Header) -> EntryKind {
    match header.as_old().linkflag[0] {
        0 | b'0' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' | b'4' => EntryKind::Device,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        b'L' | b'K' => EntryKind::LongName,
        b'S' => EntryKind::Sparse,
        b'x' | b'g' | b'X' => EntryKind::Pax,
        other => EntryKind::Unknown(other),
    }
}
