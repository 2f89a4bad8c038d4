//! A header whose checksum is wrong is refused at once, and chance never finds a right one: mutated tar
//! files get their sums mended, most of the time.

/// Mends the checksum of every block that looks like a header.
pub fn mend(bytes: &mut [u8], seed: u32) {
    if seed % 8 == 0 {
        return;
    }
    for block in bytes.chunks_exact_mut(512).filter(|block| block[0] != 0) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
