use std::time::{Duration, SystemTime};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// The pause after failed attempt number `attempt` (from 1): doubles from one second to thirty, and
/// `random` spreads it evenly over its upper half, so that nodes which failed together do not
/// return together.
#[must_use]
pub fn backoff(attempt: u32, random: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST);
    doubled.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// The pause that a `Retry-After` field asks for (RFC 9110, section 10.2.3): seconds, or a date.
pub(super) fn retry_after(field: &str, now: SystemTime) -> Option<Duration> {
    let field = field.trim();
    if !field.is_empty() && field.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(field.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(field).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pause_is_between_half_and_all_of_its_step(attempt in 0u32..=u32::MAX, random in any::<u32>()) {
            let step = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST);
            let pause = backoff(attempt, random);
            prop_assert!(pause >= step / 2 && pause <= step, "{pause:?} of {step:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let steps: Vec<u64> = (1..=7).map(|attempt| backoff(attempt, u32::MAX).as_secs()).collect();
        assert_eq!(steps, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nothing_else() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("99999999999999999999999", now), Some(Duration::from_secs(u64::MAX)));
        let date = httpdate::fmt_http_date(now + Duration::from_secs(90));
        assert_eq!(retry_after(&date, now), Some(Duration::from_secs(90)));
        let past = httpdate::fmt_http_date(now - Duration::from_secs(90));
        assert_eq!(retry_after(&past, now), Some(Duration::ZERO));
        for field in ["", "-1", "1.5", "soon", "0x10"] {
            assert_eq!(retry_after(field, now), None, "{field:?}");
        }
    }
}
