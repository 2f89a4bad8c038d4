//! Times and sizes as people read them.

use jiff::Timestamp;
use maud::{Markup, html};

/// A moment, with how far away it is.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> Markup {
    html! {
        time datetime=(at) title=(at.strftime("%Y-%m-%d %H:%M:%S UTC")) { (relative(at, now)) }
        " " span.soft { "(" (at.strftime("%b %-d, %H:%M")) " UTC)" }
    }
}

/// `in 3 h`, `5 min ago`.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    let (amount, unit) = match seconds.unsigned_abs() {
        0..=9 => return if seconds > 0 { "in a moment" } else { "just now" }.to_owned(),
        span @ 10..=89 => (span, "s"),
        span @ 90..=5399 => ((span + 30) / 60, "min"),
        span @ 5400..=129_599 => ((span + 1800) / 3600, "h"),
        span => ((span + 43_200) / 86_400, "days"),
    };
    if seconds > 0 { format!("in {amount} {unit}") } else { format!("{amount} {unit} ago") }
}

/// A sentence in which commands stand between backticks.
pub(super) fn sentence(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('`').enumerate() {
            @if n % 2 == 0 { (part) } @else { code { (part) } }
        }
    }
}

/// `41.9 MB`.
pub(super) fn bytes(count: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", count as f64 / size as f64),
        None => format!("{count} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_as_people_say_them() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (seconds, words) in [
            (0, "just now"),
            (-9, "just now"),
            (5, "in a moment"),
            (-45, "45 s ago"),
            (-300, "5 min ago"),
            (7200, "in 2 h"),
            (-200_000, "2 days ago"),
        ] {
            assert_eq!(relative(Timestamp::from_second(1_000_000 + seconds).unwrap(), now), words);
        }
        assert_eq!([bytes(12), bytes(1_500), bytes(41_943_040)], ["12 bytes", "1.5 kB", "41.9 MB"]);
    }
}
