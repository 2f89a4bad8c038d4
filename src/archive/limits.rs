use crate::types::ByteLimit;

/// How large things may be before they are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The compressed archive.
    pub archive: ByteLimit,
    /// The binary inside.
    pub binary: ByteLimit,
}

impl Default for Limits {
    fn default() -> Self {
        Self { archive: ByteLimit::mib(512), binary: ByteLimit::mib(1024) }
    }
}

impl Limits {
    /// Machine code compresses 2:1 to 5:1; two hundred times is a bomb.
    const RATIO: u64 = 200;
    /// Below this no ratio matters: a tiny test binary may well be all zeros.
    const FLOOR: u64 = 4 << 20;

    /// The most bytes that an archive of `compressed` bytes may hold without being a bomb.
    pub(super) fn plausible(compressed: u64) -> u64 {
        compressed.saturating_mul(Self::RATIO).max(Self::FLOOR)
    }
}
