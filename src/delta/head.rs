use super::error::PatchError;
use crate::types::ByteLimit;

/// What a patch says of itself before its streams. All numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Length of the tar to begin with.
    pub(super) base: u64,
    /// Length of the tar that is made.
    pub(super) result: u64,
    /// The instructions.
    pub(super) numbers: Part,
    /// What is added to bytes of the base.
    pub(super) differences: Part,
    /// What is taken as it is.
    pub(super) literals: Part,
}

/// The length of one stream, as it lies in the patch and decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) packed: u64,
    pub(super) plain: u64,
}

const MAGIC: &[u8; 16] = b"exuvia patch v1\n";

/// Bytes before the first stream.
pub(super) const HEAD: usize = MAGIC.len() + 8 * 8;

impl Head {
    /// Written by the tools alone; read everywhere.
    #[cfg(any(test, fuzzing, feature = "tools"))]
    pub(super) fn to_bytes(self) -> [u8; HEAD] {
        let Self { base, result, numbers, differences, literals } = self;
        let parts = [numbers, differences, literals].into_iter().flat_map(|part| [part.packed, part.plain]);
        let mut bytes = [0; HEAD];
        bytes[..16].copy_from_slice(MAGIC);
        for (place, number) in bytes[16..].chunks_exact_mut(8).zip([base, result].into_iter().chain(parts)) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(super) fn parse(bytes: &[u8; HEAD]) -> Result<Self, PatchError> {
        if bytes[..16] != *MAGIC {
            return Err(PatchError::NotAPatch);
        }
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let part = |at: usize| Part { packed: number(at), plain: number(at + 8) };
        Ok(Self { base: number(16), result: number(24), numbers: part(32), differences: part(48), literals: part(64) })
    }

    /// Holds the lengths against the base that there is, the limit on tars, the patch's own length and
    /// each other.
    pub(super) fn judge(&self, base: u64, limit: ByteLimit, patch: u64) -> Result<(), PatchError> {
        if self.base != base {
            return Err(PatchError::WrongBase { stated: self.base, found: base });
        }
        if self.result == 0 || !limit.admits(self.result) {
            return Err(PatchError::Result { length: self.result, limit: limit.get() });
        }
        let Self { numbers, differences, literals, .. } = self;
        // Each byte of the result comes from one of the two, and instructions are fewer than what they make.
        if differences.plain.checked_add(literals.plain) != Some(self.result)
            || numbers.plain > self.result.saturating_add(1024)
        {
            return Err(PatchError::Lengths);
        }
        let whole = [numbers, differences, literals]
            .into_iter()
            .try_fold(HEAD as u64, |sum, part| sum.checked_add(part.packed));
        match whole {
            Some(whole) if whole == patch => Ok(()),
            Some(whole) if whole < patch => Err(PatchError::DataAfter),
            _ => Err(PatchError::Truncated),
        }
    }
}
