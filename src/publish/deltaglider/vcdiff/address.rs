use super::error::VcdiffError;
use super::number::{byte, number};

const NEAR: usize = 4;
const SAME: usize = 3;

/// The caches of addresses of RFC 3284, section 5.3. They begin anew in each window.
pub(super) struct Addresses<'a> {
    coded: &'a [u8],
    near: [u64; NEAR],
    next: usize,
    same: [u64; SAME * 256],
}

impl<'a> Addresses<'a> {
    pub(super) fn new(coded: &'a [u8]) -> Self {
        Self { coded, near: [0; NEAR], next: 0, same: [0; SAME * 256] }
    }

    /// The next address. It lies below `here`, where the instruction itself stands.
    pub(super) fn next(&mut self, mode: u8, here: u64) -> Result<u64, VcdiffError> {
        let mode = usize::from(mode);
        let address = match mode {
            0 => Some(number(&mut self.coded)?),
            1 => here.checked_sub(number(&mut self.coded)?),
            2..6 => self.near[mode - 2].checked_add(number(&mut self.coded)?),
            _ => Some(self.same[(mode - 6) * 256 + usize::from(byte(&mut self.coded)?)]),
        };
        let address = address.filter(|address| *address < here).ok_or(VcdiffError::Address)?;
        self.near[self.next] = address;
        self.next = (self.next + 1) % NEAR;
        self.same[usize::try_from(address % self.same.len() as u64).expect("below 768")] = address;
        Ok(address)
    }

    pub(super) fn are_used_up(&self) -> bool {
        self.coded.is_empty()
    }
}
