use std::time::Duration;

const LONGEST: Duration = Duration::from_hours(24);

/// How long a release is left alone after `times` downloads of it did not verify: the time between two
/// looks at first, then twice as long each time, a day at most.
#[must_use]
pub fn pause_after(times: u32, interval: Duration) -> Duration {
    let doubled = interval.saturating_mul(1 << times.saturating_sub(1).min(31));
    doubled.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_from_the_interval_up_to_a_day() {
        let hour = Duration::from_hours(1);
        let hours: Vec<_> = (0..8).map(|times| pause_after(times, hour).as_secs() / 3600).collect();
        assert_eq!(hours, [1, 1, 2, 4, 8, 16, 24, 24]);
        assert_eq!(pause_after(u32::MAX, Duration::MAX), LONGEST);
        assert_eq!(pause_after(u32::MAX, Duration::from_millis(1)), LONGEST);
    }
}
