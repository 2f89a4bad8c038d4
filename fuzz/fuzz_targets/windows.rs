//! Maintenance windows in time zones: the next change is one, and nothing changes before it.
#![no_main]

use exuvia::rollout::Maintenance;
use exuvia::types::WeeklyWindow;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;

/// Changes of clocks by an hour and by half of one, backwards in summer, over midnight, of a whole day.
const ZONES: [&str; 10] = [
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "America/Asuncion",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Antarctica/Troll",
    "Asia/Beirut",
];

/// Now (second, nanosecond), the zone, the windows (days, start, end), and where to look in between.
type Input = (i64, u32, u8, Vec<(u8, u16, u16)>, Vec<u16>);

fn window((days, start, end): (u8, u16, u16)) -> Option<WeeklyWindow> {
    let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let days: Vec<&str> = (0..7).filter(|day| days & 1 << day != 0).map(|day| names[day]).collect();
    let (start, end) = (start % 1440, end % 1441);
    let hours = format!("{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60);
    format!("{} {hours}", days.join(",")).parse().ok()
}

fuzz_target!(|input: Input| {
    let (second, nanosecond, zone, windows, within) = input;
    let second =
        second.rem_euclid(Timestamp::MAX.as_second() - Timestamp::MIN.as_second()) + Timestamp::MIN.as_second();
    let Ok(now) = Timestamp::new(second, (nanosecond % 1_000_000_000).cast_signed()) else { return };
    let zone = TimeZone::get(ZONES[usize::from(zone) % ZONES.len()]).expect("it is bundled");
    let windows: Vec<WeeklyWindow> = windows.into_iter().take(6).filter_map(window).collect();
    let maintenance = Maintenance { windows: &windows, zone: &zone };
    let open = maintenance.is_open(now);
    match maintenance.next_opening(now) {
        None => assert!(open),
        Some(at) => assert!(!open && (at > now || now == Timestamp::MAX), "{at} is not after {now}"),
    }
    let (change, end) = match maintenance.next_change(now) {
        Some(change) => {
            assert!(change > now && maintenance.is_open(change) != open, "{change} is no change after {now}");
            (Some(change), change)
        }
        None => (None, now.saturating_add(SignedDuration::from_hours(24 * 15)).unwrap_or(Timestamp::MAX)),
    };
    // Points between now and then; the last moment before a change is the most telling.
    let span = end.duration_since(now).as_secs();
    let mut points: Vec<Timestamp> = within
        .iter()
        .take(16)
        .filter_map(|part| now.checked_add(SignedDuration::from_secs(span / 65_536 * i64::from(*part))).ok())
        .collect();
    points.extend(change.and_then(|change| change.checked_sub(SignedDuration::from_nanos(1)).ok()));
    for point in points.into_iter().filter(|point| *point >= now && *point < end) {
        assert_eq!(maintenance.is_open(point), open, "it changes at {point}, between {now} and {end}");
    }
});
