use crate::config::Limits;
use crate::types::ByteLimit;

/// Machine code compresses 2:1 to 5:1; two hundred times is a bomb.
const RATIO: u64 = 200;
/// Below this no ratio matters: a tiny test binary may well be all zeros.
const FLOOR: u64 = 4 << 20;

/// The most bytes that an archive of `compressed` bytes may hold without being a bomb.
pub(super) fn plausible(compressed: u64) -> u64 {
    compressed.saturating_mul(RATIO).max(FLOOR)
}

/// The longest tar that a release may have: its binary, a header, and the zeros at the end.
#[must_use]
pub fn tar_limit(limits: &Limits) -> ByteLimit {
    ByteLimit::bytes(limits.binary.get().saturating_add(1 << 20))
}
