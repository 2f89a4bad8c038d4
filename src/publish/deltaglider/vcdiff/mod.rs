//! VCDIFF (RFC 3284), as xdelta3 writes it: its header, the default code table, sections compressed by LZMA, an
//! Adler-32 for each window.
//!
//! Withstands, against whoever wrote the delta:
//! - **bombs**: what a window makes, what is encoded of it, each section and each dictionary have a limit, and the
//!   whole makes exactly the length that the caller names;
//! - **addresses** outside the reference, or of what is not made yet, and instructions that leave the window or
//!   make nothing;
//! - **lengths** that disagree, bytes that nobody reads, and an end in the middle;
//! - what only other encoders write (other compressors, code tables, windows made from windows) is refused.
//!
//! It cannot know whether the delta belongs to this reference: the caller holds both digests.

mod address;
mod checksum;
mod error;
mod number;
mod section;
mod table;
#[cfg(test)]
mod tests;
mod window;

use std::fs::File;
use std::io::{BufRead, Read, Write};

pub use error::VcdiffError;
use number::{byte, length, reading};
use window::Ground;

const MAGIC: [u8; 4] = [0xd6, 0xc3, 0xc4, 0];
const SECONDARY: u8 = 1;
const CODE_TABLE: u8 = 2;
const APP_HEADER: u8 = 4;
/// LZMA, by the number that xdelta3 gives it.
const LZMA: u8 = 2;
/// xdelta3 writes two file names there.
const APP_HEADER_LIMIT: usize = 64 << 10;

/// Makes `stated` bytes from the delta and the first `length` bytes of the reference; `made` takes each window's.
///
/// Memory: two windows of at most 16 MiB, three sections of as much, and three dictionaries, which together grow to
/// what was decompressed, and to 64 MiB each.
pub(super) fn decode(
    delta: &mut impl BufRead,
    (reference, length): (&File, u64),
    stated: u64,
    made: &mut dyn Write,
) -> Result<(), VcdiffError> {
    let sections = header(delta)?;
    let mut ground = Ground { reference, length, sections };
    let (mut done, mut count) = (0, 0);
    while let Some(bytes) = window::next(delta, &mut ground, count, stated - done)? {
        made.write_all(&bytes).map_err(VcdiffError::Copy)?;
        done += bytes.len() as u64;
        count += 1;
    }
    if done == stated { Ok(()) } else { Err(VcdiffError::Short { made: done, stated }) }
}

fn header(delta: &mut impl BufRead) -> Result<Option<[section::Sections; 3]>, VcdiffError> {
    let mut magic = [0; MAGIC.len()];
    delta.read_exact(&mut magic).map_err(reading)?;
    if magic != MAGIC {
        return Err(VcdiffError::NotVcdiff);
    }
    let indicator = byte(delta)?;
    if indicator & CODE_TABLE != 0 {
        return Err(VcdiffError::Unsupported("a code table of its own"));
    }
    if indicator & !(SECONDARY | APP_HEADER) != 0 {
        return Err(VcdiffError::Bits);
    }
    let sections = match indicator & SECONDARY {
        0 => None,
        _ if byte(delta)? == LZMA => Some(Default::default()),
        _ => return Err(VcdiffError::Unsupported("a compressor other than LZMA")),
    };
    if indicator & APP_HEADER != 0 {
        let skipped = length(delta, "an application header", APP_HEADER_LIMIT)?;
        let mut names = Vec::new();
        delta.take(skipped as u64).read_to_end(&mut names).map_err(reading)?;
        if names.len() < skipped {
            return Err(VcdiffError::Truncated);
        }
        // Of each file, its name and the letter of the program that decompresses it.
        let mut parts = names.split(|byte| *byte == b'/').skip(1).step_by(2);
        if parts.any(|program| !program.is_empty()) {
            return Err(VcdiffError::Recompressed);
        }
    }
    Ok(sections)
}
