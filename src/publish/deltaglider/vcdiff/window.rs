use std::fs::File;
use std::io::{BufRead, Read};
use std::os::unix::fs::FileExt;

use super::address::Addresses;
use super::checksum::adler32;
use super::error::VcdiffError;
use super::number::{byte, length, number, reading, split};
use super::section::Sections;
use super::table::{Half, TABLE};

/// The longest window that xdelta3 makes: 16 MiB, where it is told to.
const WINDOW: usize = 16 << 20;
/// A window that has nothing in common with the reference takes little more than itself.
const ENCODING: usize = 2 * WINDOW;
/// Each byte of a section makes a byte of the window, or says where one comes from.
const SECTION: usize = WINDOW;

const SOURCE: u8 = 1;
const TARGET: u8 = 2;
const ADLER32: u8 = 4;

/// What windows are made from.
pub(super) struct Ground<'a> {
    pub(super) reference: &'a File,
    pub(super) length: u64,
    /// Data, instructions, addresses; none where nothing is compressed.
    pub(super) sections: Option<[Sections; 3]>,
}

/// A stretch of the reference, and behind it what was made of the window so far.
struct Window<'a> {
    reference: &'a File,
    at: u64,
    source: u64,
    made: Vec<u8>,
    length: usize,
}

/// The next window of the delta, of at most `left` bytes; `None`: there is no other.
pub(super) fn next(
    delta: &mut impl BufRead,
    ground: &mut Ground<'_>,
    count: u64,
    left: u64,
) -> Result<Option<Vec<u8>>, VcdiffError> {
    if delta.fill_buf().map_err(reading)?.is_empty() {
        return Ok(None);
    }
    let indicator = byte(delta)?;
    if indicator & TARGET != 0 {
        return Err(VcdiffError::Unsupported("a window made from windows before it"));
    }
    if indicator & !(SOURCE | ADLER32) != 0 {
        return Err(VcdiffError::Bits);
    }
    let (source, at) = if indicator & SOURCE != 0 { (number(delta)?, number(delta)?) } else { (0, 0) };
    // Both have 63 bits at most: the sum is no other number.
    if source + at > ground.length {
        return Err(VcdiffError::OutsideReference);
    }
    let encoding = length(delta, "a window", ENCODING)?;
    let mut bytes = Vec::new();
    delta.take(encoding as u64).read_to_end(&mut bytes).map_err(reading)?;
    if bytes.len() < encoding {
        return Err(VcdiffError::Truncated);
    }

    let mut rest = bytes.as_slice();
    let target = length(&mut rest, "a window's content", WINDOW)?;
    if target as u64 > left {
        return Err(VcdiffError::Overlong);
    }
    let compressed = byte(&mut rest)?;
    let mut lengths = [0; 3];
    for stated in &mut lengths {
        *stated = length(&mut rest, "a section", SECTION)?;
    }
    let sum = if indicator & ADLER32 != 0 { Some(split(&mut rest, 4)?) } else { None };
    if lengths.iter().sum::<usize>() != rest.len() {
        return Err(VcdiffError::Lengths);
    }
    let [data, instructions, addresses] = sections(ground, compressed, lengths, rest)?;

    let mut window = Window { reference: ground.reference, at, source, made: Vec::new(), length: target };
    window.follow(&data, &instructions, &addresses)?;
    if sum.is_some_and(|sum| sum != adler32(&window.made).to_be_bytes()) {
        return Err(VcdiffError::Checksum(count));
    }
    Ok(Some(window.made))
}

fn sections(
    ground: &mut Ground<'_>,
    compressed: u8,
    lengths: [usize; 3],
    mut rest: &[u8],
) -> Result<[Vec<u8>; 3], VcdiffError> {
    if compressed > 7 {
        return Err(VcdiffError::Bits);
    }
    let mut plain = <[Vec<u8>; 3]>::default();
    for (kind, plain) in plain.iter_mut().enumerate() {
        let section = split(&mut rest, lengths[kind])?;
        *plain = match &mut ground.sections {
            _ if compressed & 1 << kind == 0 => section.to_vec(),
            Some(streams) => streams[kind].decompress(section, SECTION)?,
            None => return Err(VcdiffError::Bits),
        };
    }
    Ok(plain)
}

impl Window<'_> {
    /// Follows the instructions to their end, which is that of everything else, too.
    fn follow(&mut self, mut data: &[u8], mut instructions: &[u8], addresses: &[u8]) -> Result<(), VcdiffError> {
        let mut addresses = Addresses::new(addresses);
        while !instructions.is_empty() {
            let (first, then) = TABLE[usize::from(byte(&mut instructions)?)];
            for half in [first, then] {
                let size = match half {
                    Half::Nothing => continue,
                    Half::Add(0) | Half::Run | Half::Copy(0, _) => number(&mut instructions)?,
                    Half::Add(size) | Half::Copy(size, _) => u64::from(size),
                };
                let size = self.room(size)?;
                match half {
                    Half::Nothing => {}
                    Half::Add(_) => self.made.extend_from_slice(split(&mut data, size)?),
                    Half::Run => {
                        let filled = self.made.len() + size;
                        self.made.resize(filled, byte(&mut data)?);
                    }
                    Half::Copy(_, mode) => {
                        let here = self.source + self.made.len() as u64;
                        self.copy(addresses.next(mode, here)?, size)?;
                    }
                }
            }
        }
        if self.made.len() == self.length && data.is_empty() && addresses.are_used_up() {
            Ok(())
        } else {
            Err(VcdiffError::Lengths)
        }
    }

    /// A size, as long as there is room for it in the window.
    fn room(&self, size: u64) -> Result<usize, VcdiffError> {
        match usize::try_from(size) {
            Ok(0) => Err(VcdiffError::Idle),
            Ok(size) if size <= self.length - self.made.len() => Ok(size),
            _ => Err(VcdiffError::Overlong),
        }
    }

    /// The address lies below what is made: every byte that is asked for is there when its turn comes.
    fn copy(&mut self, address: u64, size: usize) -> Result<(), VcdiffError> {
        let of_reference = self.source.saturating_sub(address).min(size as u64);
        let of_reference = usize::try_from(of_reference).expect("no more than the size");
        if of_reference > 0 {
            let start = self.made.len();
            self.made.resize(start + of_reference, 0);
            self.reference.read_exact_at(&mut self.made[start..], self.at + address).map_err(VcdiffError::Copy)?;
        }
        let from = usize::try_from(address.saturating_sub(self.source)).expect("within the window");
        let mut left = size - of_reference;
        // What is copied may be what the copy itself makes: a period that goes on.
        while left > 0 {
            let some = left.min(self.made.len() - from);
            self.made.extend_from_within(from..from + some);
            left -= some;
        }
        Ok(())
    }
}
