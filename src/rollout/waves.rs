use std::time::Duration;

use jiff::Timestamp;

use super::delay::{fraction, part};
use crate::types::{RolloutPolicy, Version, Wave};

/// When the publisher's plan lets one install go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The release is halted: nobody goes by itself.
    Halted,
    /// No wave so far is large enough to hold this install.
    NotYetIncluded,
    /// From this moment on.
    From(Timestamp),
}

/// When the install at `position` goes to `version` under this policy. Its place is uniform, always the same
/// for the same arguments, and spread evenly over the time of its wave: until the next one begins, and for
/// the last one over `window`. Without waves everybody's time is the window that begins at the start.
#[must_use]
pub fn turn(policy: &RolloutPolicy, position: &[u8], version: &Version, window: Duration) -> Turn {
    if policy.is_halted() {
        return Turn::Halted;
    }
    let everybody = [Wave { after: 0, permille: 1000 }];
    let waves = if policy.waves().is_empty() { &everybody } else { policy.waves() };
    // In units of 2^-64 of a thousandth, so that no install falls between two waves.
    let place = fraction(position, version) * 1000;
    let edge = |permille: u16| u128::from(permille) << 64;
    let mut from = 0;
    for (at, wave) in waves.iter().enumerate() {
        let to = edge(wave.permille);
        if place < to {
            let next = waves.get(at + 1).map(|next| Duration::from_secs(u64::from(next.after - wave.after)));
            // The place within the wave, again as a fraction: less than 2^64 by the comparison above.
            let within = (place - from) / u128::from(wave.permille - permille_before(waves, at));
            let wait = Duration::from_secs(u64::from(wave.after)) + part(within, next.unwrap_or(window));
            return Turn::From(policy.start().saturating_add(wait).unwrap_or(Timestamp::MAX));
        }
        from = to;
    }
    Turn::NotYetIncluded
}

fn permille_before(waves: &[Wave], at: usize) -> u16 {
    at.checked_sub(1).map_or(0, |before| waves[before].permille)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODES: u32 = 10_000;

    fn policy(waves: &[(u32, u16)]) -> RolloutPolicy {
        let waves = waves.iter().map(|(after, permille)| Wave { after: *after, permille: *permille }).collect();
        RolloutPolicy::new(Timestamp::UNIX_EPOCH, waves).unwrap()
    }

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    /// In milliseconds after the start; `None`: not yet included.
    fn turns(policy: &RolloutPolicy, version: &str, window: Duration) -> Vec<Option<i64>> {
        let of = |node: u32| match turn(policy, &node.to_be_bytes(), &v(version), window) {
            Turn::From(at) => Some(at.as_millisecond()),
            Turn::NotYetIncluded => None,
            Turn::Halted => panic!("halted"),
        };
        (0..NODES).map(of).collect()
    }

    #[test]
    fn ten_thousand_nodes_fill_each_wave_by_its_size_and_spread_evenly_within_it() {
        let waves = policy(&[(0, 10), (3600, 100), (7200, 500), (14_400, 1000)]);
        let window = Duration::from_secs(10_000);
        for version in ["1.4.0", "2.0.0", "10.20.30"] {
            let turns = turns(&waves, version, window);
            for (begins, ends, share) in [(0, 3600, 10), (3600, 7200, 90), (7200, 14_400, 400), (14_400, 24_400, 500)] {
                let (begins, ends) = (begins * 1000, ends * 1000);
                let within: Vec<i64> =
                    turns.iter().flatten().copied().filter(|at| (begins..ends).contains(at)).collect();
                let expected = f64::from(share) * 10.0;
                // Five standard deviations of a binomial count.
                let count = u32::try_from(within.len()).unwrap();
                assert!(
                    (f64::from(count) - expected).abs() < 5.0 * expected.sqrt(),
                    "{version}: {count} of {expected}"
                );
                let mut tenths = [0_u32; 10];
                for at in &within {
                    tenths[usize::try_from((at - begins) * 10 / (ends - begins)).unwrap()] += 1;
                }
                let each = f64::from(count) / 10.0;
                let statistic: f64 = tenths.iter().map(|n| (f64::from(*n) - each).powi(2) / each).sum();
                // 9 degrees of freedom: above this only one time in 10,000.
                assert!(statistic < 33.7, "{version}, from {begins} ms: {tenths:?}");
            }
        }
    }

    #[test]
    fn a_wave_for_some_leaves_the_others_where_they_are_and_the_next_wave_keeps_who_went() {
        let (first, both) = (policy(&[(0, 250)]), policy(&[(0, 250), (60, 1000)]));
        let window = Duration::from_mins(1);
        let (early, all) = (turns(&first, "1.4.0", window), turns(&both, "1.4.0", window));
        let included = early.iter().flatten().count();
        assert!((2300..2700).contains(&included), "{included}");
        for (early, all) in early.iter().zip(&all) {
            match early {
                Some(at) => assert_eq!(*all, Some(*at), "nobody's turn moves when a wave is added"),
                None => assert!(all.unwrap() >= 60_000),
            }
        }
    }

    #[test]
    fn without_waves_everybody_goes_within_the_window_that_begins_at_the_start() {
        let turns = turns(&policy(&[]), "1.4.0", Duration::from_secs(100));
        assert!(turns.iter().all(|at| at.is_some_and(|at| (0..100_000).contains(&at))));
        let late = turns.iter().flatten().filter(|at| **at >= 50_000).count();
        assert!((4750..5250).contains(&late), "{late}");
    }

    #[test]
    fn a_halt_holds_for_everybody() {
        let halted = policy(&[]).with_halted(true);
        assert_eq!(turn(&halted, b"install", &v("1.4.0"), Duration::ZERO), Turn::Halted);
    }

    proptest! {
        #[test]
        fn a_turn_lies_within_its_wave_and_never_changes(
            position: Vec<u8>,
            steps in proptest::collection::vec((1_u32..1_000_000, 1_u16..250), 1..5),
            window in 0_u64..1_000_000,
        ) {
            let (mut after, mut permille, mut waves) = (0, 0, Vec::new());
            for (seconds, more) in steps {
                after += seconds;
                permille = (permille + more).min(1000);
                if waves.last().is_none_or(|(_, before)| *before < permille) {
                    waves.push((after, permille));
                }
            }
            let (policy, version, window) = (policy(&waves), v("1.0.0"), Duration::from_secs(window));
            let answer = turn(&policy, &position, &version, window);
            prop_assert_eq!(answer, turn(&policy, &position, &version, window));
            let place = (fraction(&position, &version) * 1000) >> 64;
            let wave = waves.iter().position(|(_, permille)| place < u128::from(*permille));
            match (answer, wave) {
                (Turn::NotYetIncluded, None) => {}
                (Turn::From(at), Some(wave)) => {
                    let begins = i64::from(waves[wave].0);
                    let ends = waves.get(wave + 1).map_or(begins + i64::try_from(window.as_secs()).unwrap(), |next| i64::from(next.0));
                    prop_assert!(at.as_second() >= begins && (at.as_second() < ends || begins == ends), "{} in {}..{}", at, begins, ends);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
