use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::types::Version;

/// How long the install at `position` waits with `version` after it first saw it: at least zero and
/// less than `window`, always the same for the same arguments, spread evenly over positions, and for
/// each version anew.
#[must_use]
pub fn delay(position: &[u8], version: &Version, window: Duration) -> Duration {
    part(fraction(position, version), window)
}

/// The place of an install for a version, as so many 2^64ths of the whole: less than 2^64.
pub(super) fn fraction(position: &[u8], version: &Version) -> u128 {
    // The length keeps position and version apart: no two pairs are hashed as the same bytes.
    let hash = Sha256::new()
        .chain_update((position.len() as u64).to_be_bytes())
        .chain_update(position)
        .chain_update(version.to_string())
        .finalize();
    hash[..8].iter().fold(0, |high, byte| high << 8 | u128::from(*byte))
}

/// So many 2^64ths of a span, less than all of it.
pub(super) fn part(fraction: u128, span: Duration) -> Duration {
    // Spans are below 2^64 ns (584 years), so the product fits.
    let nanos = (span.as_nanos().min(u128::from(u64::MAX)) * fraction) >> 64;
    Duration::from_nanos(u64::try_from(nanos).expect("less than a span of at most 2^64 ns"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_hours(24);
    const POSITIONS: u32 = 10_000;

    fn bin(position: u32, version: &str, bins: u128) -> usize {
        let delay = delay(&position.to_be_bytes(), &version.parse().unwrap(), WINDOW);
        usize::try_from(delay.as_nanos() * bins / WINDOW.as_nanos()).unwrap()
    }

    fn chi_square(counts: &[u32], expected: f64) -> f64 {
        counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
    }

    // 99 degrees of freedom: a uniform distribution stays below this but for one time in 10,000.
    const BOUND: f64 = 161.0;

    #[test]
    fn ten_thousand_positions_spread_evenly() {
        for version in ["1.0.0", "1.4.0", "2.0.0", "10.20.30"] {
            let mut counts = [0; 100];
            (0..POSITIONS).for_each(|position| counts[bin(position, version, 100)] += 1);
            let statistic = chi_square(&counts, 100.0);
            assert!(statistic < BOUND, "{version}: {statistic}");
        }
    }

    #[test]
    fn a_position_is_early_for_one_version_and_late_for_another() {
        for (one, other) in [("1.0.0", "1.0.1"), ("1.4.0", "1.4.0-rc.1"), ("1.9.9", "2.0.0")] {
            let mut counts = [0; 100];
            (0..POSITIONS).for_each(|position| counts[bin(position, one, 10) * 10 + bin(position, other, 10)] += 1);
            let statistic = chi_square(&counts, 100.0);
            assert!(statistic < BOUND, "{one} and {other}: {statistic}");
        }
    }

    #[test]
    fn the_lowest_digits_of_the_hash_count() {
        // With a window of 2^64 - 1 ns each nanosecond is a place of its own: no two of these collide.
        let window = Duration::from_nanos(u64::MAX);
        let version = "1.0.0".parse().unwrap();
        let mut delays: Vec<_> = (0..1000_u32).map(|n| delay(&n.to_be_bytes(), &version, window)).collect();
        delays.sort();
        delays.dedup();
        assert_eq!(delays.len(), 1000);
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_its_window(position: Vec<u8>, nanos: u64) {
            let window = Duration::from_nanos(nanos);
            let version = "1.0.0".parse().unwrap();
            let wait = delay(&position, &version, window);
            prop_assert!(wait < window || window.is_zero());
            prop_assert_eq!(wait, delay(&position, &version, window));
        }
    }
}
