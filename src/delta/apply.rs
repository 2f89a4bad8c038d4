use std::fs::File;
use std::io::{BufWriter, Write};

use super::base::Base;
use super::error::PatchError;
use super::head::{HEAD, Head};
use super::stream::Stream;

/// Bytes written at a time.
const PIECE: usize = 128 * 1024;

/// Follows the instructions until the result has the length that the head states.
///
/// Each instruction is three numbers: how far to leap in the base, from where the one before ended; how
/// many bytes of the base to take, each with a difference added to it, modulo 256; and how many literal
/// bytes to take.
pub(super) fn apply(head: &Head, patch: &File, base: Base<'_>, result: &File) -> Result<(), PatchError> {
    let (mut at, mut parts) = (HEAD as u64, Vec::with_capacity(3));
    for part in [head.numbers, head.differences, head.literals] {
        parts.push(Stream::open(patch, at, part)?);
        at += part.packed;
    }
    let [mut numbers, differences, literals] = <[Stream<'_>; 3]>::try_from(parts).ok().expect("three were opened");
    let file = BufWriter::with_capacity(PIECE, result);
    let mut making = Making { base, at: 0, differences, literals, file, left: head.result };
    while making.left > 0 {
        making.leap(numbers.signed_number()?)?;
        let (add, copy) = (numbers.number()?, numbers.number()?);
        making.add(add)?;
        making.copy(copy)?;
        if add == 0 && copy == 0 {
            return Err(PatchError::Idle);
        }
    }
    numbers.end()?;
    making.differences.end()?;
    making.literals.end()?;
    making.file.flush().map_err(PatchError::Copy)
}

struct Making<'a> {
    base: Base<'a>,
    /// Where in the base.
    at: u64,
    differences: Stream<'a>,
    literals: Stream<'a>,
    file: BufWriter<&'a File>,
    /// Bytes of the result that are still to be made.
    left: u64,
}

impl Making<'_> {
    fn add(&mut self, length: u64) -> Result<(), PatchError> {
        self.reserve(length)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.base.length());
        let end = end.ok_or(PatchError::OutsideBase)?;
        let mut sum = [0; 4096];
        while self.at < end {
            let differences = self.differences.some((end - self.at).min(sum.len() as u64))?;
            let old = self.base.some(self.at, differences.len()).map_err(PatchError::Copy)?;
            let sum = &mut sum[..old.len()];
            for ((sum, old), difference) in sum.iter_mut().zip(old).zip(differences) {
                *sum = old.wrapping_add(*difference);
            }
            self.file.write_all(sum).map_err(PatchError::Copy)?;
            self.differences.consume(sum.len());
            self.at += sum.len() as u64;
        }
        Ok(())
    }

    fn copy(&mut self, length: u64) -> Result<(), PatchError> {
        self.reserve(length)?;
        let mut left = length;
        while left > 0 {
            let some = self.literals.some(left)?;
            let count = some.len();
            self.file.write_all(some).map_err(PatchError::Copy)?;
            self.literals.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    fn leap(&mut self, far: i64) -> Result<(), PatchError> {
        let to = self.at.checked_add_signed(far).filter(|to| *to <= self.base.length());
        self.at = to.ok_or(PatchError::OutsideBase)?;
        Ok(())
    }

    fn reserve(&mut self, length: u64) -> Result<(), PatchError> {
        self.left = self.left.checked_sub(length).ok_or(PatchError::Overlong)?;
        Ok(())
    }
}
