use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::types::WeeklyWindow;

/// Weekly windows by the clock on the wall of a time zone. Without any, it is always open.
///
/// Open is what that clock shows and nothing else: an hour that a change of clocks skips opens
/// nothing, and one that comes twice opens twice.
#[derive(Clone, Copy, Debug)]
pub struct Maintenance<'a> {
    /// The windows.
    pub windows: &'a [WeeklyWindow],
    /// The time zone.
    pub zone: &'a TimeZone,
}

/// Within so many days every window begins at least once, also one whose hour is skipped this week.
const HORIZON_DAYS: i64 = 16;

impl Maintenance<'_> {
    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.windows.is_empty() || self.shows(self.zone.to_datetime(now))
    }

    /// When it next opens, or closes if it is open; `None`: never.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        if self.windows.is_empty() {
            return None;
        }
        let open = self.is_open(now);
        let mut moments = self.moments(now);
        moments.sort_unstable();
        moments.into_iter().find(|moment| *moment > now && self.is_open(*moment) != open)
    }

    /// When it opens; `None`: it is open.
    #[must_use]
    pub fn next_opening(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_open(now) {
            return None;
        }
        let look_again = || now.saturating_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX);
        Some(self.next_change(now).unwrap_or_else(look_again))
    }

    fn shows(&self, wall: DateTime) -> bool {
        let minute = |days: i64| i64::from(wall.hour()) * 60 + i64::from(wall.minute()) + days * 24 * 60;
        let begun = |window: &WeeklyWindow, days: i64| {
            let day = wall.date().weekday().wrapping_sub(days);
            window.begins_on(day) && (window.start()..window.end()).contains(&minute(days))
        };
        self.windows.iter().any(|window| begun(window, 0) || begun(window, 1))
    }

    /// Every moment up to the horizon at which something can open or close.
    fn moments(&self, now: Timestamp) -> Vec<Timestamp> {
        let end = now.saturating_add(SignedDuration::from_hours(24 * HORIZON_DAYS)).unwrap_or(Timestamp::MAX);
        // A change of clocks.
        let mut moments: Vec<Timestamp> =
            self.zone.following(now).map(|change| change.timestamp()).take_while(|at| *at <= end).collect();
        let today = self.zone.to_datetime(now).date();
        for days in -2..=HORIZON_DAYS {
            let Ok(date) = today.checked_add(days.days()) else { continue };
            for window in self.windows.iter().filter(|window| window.begins_on(date.weekday())) {
                for minutes in [window.start(), window.end()] {
                    let midnight = date.to_datetime(jiff::civil::Time::midnight());
                    let Ok(wall) = midnight.checked_add(minutes.minutes()) else { continue };
                    let moment = self.zone.to_ambiguous_timestamp(wall);
                    match moment.offset() {
                        AmbiguousOffset::Unambiguous { .. } => moments.extend(moment.compatible().ok()),
                        AmbiguousOffset::Fold { before, after } => {
                            moments.extend(before.to_timestamp(wall).ok());
                            moments.extend(after.to_timestamp(wall).ok());
                        }
                        // Never shown: the change of clocks stands for it.
                        AmbiguousOffset::Gap { .. } => {}
                    }
                }
            }
        }
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn windows(texts: &[&str]) -> Vec<WeeklyWindow> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Checks the moments at which it opens and closes, one after the other.
    fn changes(texts: &[&str], name: &str, from: &str, expected: &[&str]) {
        let (windows, zone) = (windows(texts), zone(name));
        let maintenance = Maintenance { windows: &windows, zone: &zone };
        let mut now = at(from);
        for text in expected {
            let next = maintenance.next_change(now).unwrap();
            assert_eq!(next, at(text), "after {now}");
            assert_ne!(maintenance.is_open(next), maintenance.is_open(now));
            now = next;
        }
    }

    #[test]
    fn a_window_opens_by_the_clock_of_its_zone() {
        let moments = ["2026-06-08T00:00:00Z", "2026-06-08T03:00:00Z", "2026-06-09T00:00:00Z"];
        changes(&["Mon-Fri 02:00-05:00"], "Europe/Berlin", "2026-06-05T12:00:00Z", &moments);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let moments = ["2026-06-06T22:00:00Z", "2026-06-07T06:00:00Z", "2026-06-13T22:00:00Z"];
        changes(&["Sat 22:00-06:00"], "UTC", "2026-06-05T12:00:00Z", &moments);
    }

    #[test]
    fn an_hour_that_is_skipped_opens_nothing() {
        // On 29 March 2026 clocks in Berlin go from 02:00 to 03:00, at 01:00 UTC.
        let moments = ["2026-04-05T00:15:00Z", "2026-04-05T00:45:00Z"];
        changes(&["Sun 02:15-02:45"], "Europe/Berlin", "2026-03-28T12:00:00Z", &moments);
    }

    #[test]
    fn a_window_that_begins_in_a_skipped_hour_opens_when_that_is_over() {
        let moments = ["2026-03-29T01:00:00Z", "2026-03-29T01:15:00Z"];
        changes(&["Sun 02:30-03:15"], "Europe/Berlin", "2026-03-28T12:00:00Z", &moments);
    }

    #[test]
    fn an_hour_that_comes_twice_opens_twice() {
        // On 25 October 2026 clocks in Berlin go from 03:00 to 02:00, at 01:00 UTC.
        let moments = ["2026-10-25T00:15:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:15:00Z", "2026-10-25T01:30:00Z"];
        changes(&["Sun 02:15-02:30"], "Europe/Berlin", "2026-10-24T12:00:00Z", &moments);
    }

    #[test]
    fn windows_that_touch_are_one() {
        let moments = ["2026-06-06T22:00:00Z", "2026-06-08T02:00:00Z"];
        let touching = ["Sat 22:00-24:00", "Sun 00:00-24:00", "Mon 00:00-02:00"];
        changes(&touching, "UTC", "2026-06-05T12:00:00Z", &moments);
    }

    #[test]
    fn what_is_always_open_never_changes() {
        for texts in [&[][..], &["daily 00:00-24:00"][..]] {
            let (windows, zone) = (windows(texts), zone("America/New_York"));
            let maintenance = Maintenance { windows: &windows, zone: &zone };
            assert!(maintenance.is_open(at("2026-06-05T12:00:00Z")));
            assert_eq!(maintenance.next_change(at("2026-06-05T12:00:00Z")), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn the_next_change_is_the_first_that_a_minute_by_minute_look_finds(
            days in 1_u8..128, start in 0_u16..1440, length in 1_u16..1440,
            name in proptest::sample::select(vec![
                "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia",
            ]),
            // 2011 (Apia skips a day) and 2026, whole minutes.
            now in prop_oneof![21_500_000_i64..22_100_000, 29_450_000_i64..29_980_000],
        ) {
            let named: Vec<_> = (0..7).filter(|day| days & 1 << day != 0)
                .map(|day| ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][day]).collect();
            let end = (start + length) % 1440;
            let text = format!("{} {:02}:{:02}-{:02}:{:02}", named.join(","), start / 60, start % 60, end / 60, end % 60);
            let (windows, zone) = (windows(&[&text]), zone(name));
            let maintenance = Maintenance { windows: &windows, zone: &zone };
            let minute = |minutes: i64| Timestamp::from_second(60 * minutes).unwrap();
            let now_open = maintenance.is_open(minute(now));
            let slow = (now + 1..now + 10 * 1440).map(minute).find(|at| maintenance.is_open(*at) != now_open);
            let fast = maintenance.next_change(minute(now));
            match slow {
                Some(slow) => prop_assert_eq!(fast, Some(slow), "{} in {}", text, name),
                None => prop_assert!(fast.is_none_or(|fast| fast >= minute(now + 10 * 1440))),
            }
        }
    }
}
