use tar::Header;

use super::error::{ContentError, EntryKind};
use crate::types::Product;

/// Bytes of a tar block: headers, and the unit to which content is padded.
pub(super) const BLOCK: usize = 512;

/// Judges the header of what must be the binary, and returns the length that it states.
pub(super) fn judge(block: &[u8; BLOCK], product: &Product) -> Result<u64, ContentError> {
    let entry = Entry::read(block)?;
    let (name, kind) = (entry.shown(), entry.kind());
    if kind != EntryKind::File {
        return Err(ContentError::NotAFile { name, kind });
    }
    if !entry.is_named(product.as_str()) {
        return Err(ContentError::WrongPath { name });
    }
    entry.program()
}

/// What it means that this block follows the binary, where zeros should.
pub(super) fn extra(block: &[u8; BLOCK], product: &Product) -> ContentError {
    match Entry::read(block) {
        Ok(entry) if entry.is_named(product.as_str()) && entry.kind() == EntryKind::File => ContentError::Duplicate,
        Ok(entry) => ContentError::ExtraEntry { name: entry.shown(), kind: entry.kind() },
        Err(_) => ContentError::DataAfterTar,
    }
}

/// A header whose checksum is right. Nothing else in it is believed.
pub(super) struct Entry<'a>(&'a Header);

impl<'a> Entry<'a> {
    pub(super) fn read(block: &'a [u8; BLOCK]) -> Result<Self, ContentError> {
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        let header = Header::from_byte_slice(block);
        match header.cksum() {
            Ok(stated) if stated == sum => Ok(Self(header)),
            _ => Err(ContentError::NotTar),
        }
    }

    /// Whether the whole name field spells this path: nothing in the prefix field, and nothing
    /// behind the first NUL, where another reader might go on.
    pub(super) fn is_named(&self, path: &str) -> bool {
        let mut field = self.0.as_old().name.as_slice();
        while let [rest @ .., 0] = field {
            field = rest;
        }
        let prefixed = self.0.as_ustar().is_some_and(|ustar| ustar.prefix[0] != 0);
        !prefixed && field.strip_prefix(b"./").unwrap_or(field) == path.as_bytes()
    }

    /// The length of a regular file that is to be run.
    pub(super) fn program(&self) -> Result<u64, ContentError> {
        if self.0.as_old().linkname[0] != 0 {
            return Err(ContentError::LinkTarget);
        }
        // Some packers repeat "regular file" (0o100000) in the mode.
        let mode = self.0.mode().map_err(|_| ContentError::NotTar)?;
        if mode & !0o100_777 != 0 {
            return Err(ContentError::Mode { mode });
        }
        match self.length()? {
            0 => Err(ContentError::EmptyBinary),
            length => Ok(length),
        }
    }

    pub(super) fn length(&self) -> Result<u64, ContentError> {
        self.0.entry_size().map_err(|_| ContentError::NotTar)
    }

    pub(super) fn shown(&self) -> String {
        self.0.path_bytes().escape_ascii().to_string()
    }

    pub(super) fn kind(&self) -> EntryKind {
        match self.0.as_old().linkflag[0] {
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
}
