use std::convert::Infallible;
use std::io::{self, Write};

use bidiff::{Control, DiffParams, Translator};
use zstd::stream::raw::CParameter;

use super::head::{HEAD, Head, Part};

/// Why no patch was made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// Memory could not be compressed.
    #[error("the patch cannot be compressed: {0}")]
    Compression(#[from] io::Error),
    /// One of the tars is empty, or longer than the differ can count.
    #[error("a tar of {0} bytes cannot be patched; 1 byte to 2 GiB can")]
    Length(usize),
}

/// 4 MiB: what nodes allow for each stream.
const WINDOW_LOG: u32 = 22;

/// Makes a patch that makes `result` from `base`. Keeps both and an index of the base in memory: about seven
/// times the base's length in all.
pub fn make(base: &[u8], result: &[u8], level: i32) -> Result<Vec<u8>, MakeError> {
    for length in [base.len(), result.len()] {
        if length == 0 || i32::try_from(length).is_err() {
            return Err(MakeError::Length(length));
        }
    }
    let streams = Streams::of(base, result);
    let mut patch = vec![0; HEAD];
    let mut part = |plain: &[u8]| -> Result<Part, MakeError> {
        let packed = compress(plain, level)?;
        patch.extend_from_slice(&packed);
        Ok(Part { packed: packed.len() as u64, plain: plain.len() as u64 })
    };
    let head = Head {
        base: base.len() as u64,
        result: result.len() as u64,
        numbers: part(&streams.numbers)?,
        differences: part(&streams.differences)?,
        literals: part(&streams.literals)?,
    };
    patch[..HEAD].copy_from_slice(&head.to_bytes());
    Ok(patch)
}

fn compress(plain: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    encoder.set_pledged_src_size(Some(plain.len() as u64))?;
    encoder.write_all(plain)?;
    encoder.finish()
}

/// Kept apart, because each compresses better among its like.
#[derive(Default)]
struct Streams {
    numbers: Vec<u8>,
    differences: Vec<u8>,
    literals: Vec<u8>,
    /// How far to leap before the next instruction.
    leap: i64,
}

impl Streams {
    fn of(base: &[u8], result: &[u8]) -> Self {
        let mut streams = Self::default();
        let mut translator = Translator::new(base, result, |control: &Control<'_>| {
            streams.instruct(control);
            Ok::<_, Infallible>(())
        });
        let matched = bidiff::diff(base, result, &DiffParams::default(), |found| translator.translate(found));
        matched.and_then(|()| translator.close()).unwrap_or_else(|never| match never {});
        streams
    }

    fn instruct(&mut self, Control { add, copy, seek }: &Control<'_>) {
        if add.is_empty() && copy.is_empty() {
            // Makes nothing, and is left out; its leap is not.
            self.leap += seek;
            return;
        }
        number(&mut self.numbers, zigzag(self.leap));
        number(&mut self.numbers, add.len() as u64);
        number(&mut self.numbers, copy.len() as u64);
        self.differences.extend_from_slice(add);
        self.literals.extend_from_slice(copy);
        self.leap = *seek;
    }
}

fn number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    to.push(u8::try_from(number).expect("seven bits"));
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}
