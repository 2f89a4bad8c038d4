use std::fmt;
use std::str::FromStr;

use jiff::civil::Weekday;
use serde::{Deserialize, Serialize};

/// A stretch of the week, such as `Mon-Fri 02:00-05:00`: on each of its days from its start up to,
/// and without, its end. An end that is not after the start lies on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WeeklyWindow {
    /// One bit for each day, Monday lowest.
    days: u8,
    /// Minutes after midnight, below [`DAY`].
    start: u16,
    /// Minutes after midnight, 1 to [`DAY`].
    end: u16,
}

/// Minutes of a day.
const DAY: u16 = 24 * 60;
const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Why a text is no [`WeeklyWindow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeeklyError {
    /// Not two parts, days and hours.
    #[error("must be days and hours, such as Mon-Fri 02:00-05:00")]
    Shape,
    /// Days that are none.
    #[error("must name its days as daily, Mon, Mon-Fri or Sat,Sun")]
    Days,
    /// Hours that are none.
    #[error("must name its hours as HH:MM-HH:MM, from 00:00 to 24:00")]
    Hours,
    /// Ends where it begins, so that it could mean nothing or all day.
    #[error("must not end when it starts; a whole day is 00:00-24:00")]
    Empty,
}

impl WeeklyWindow {
    /// Whether it begins on that day of the week.
    #[must_use]
    pub fn begins_on(self, day: Weekday) -> bool {
        self.days & 1 << day.to_monday_zero_offset() != 0
    }

    /// Minutes from midnight, by the clock on the wall, to its start.
    #[must_use]
    pub fn start(self) -> i64 {
        self.start.into()
    }

    /// Minutes from the midnight before its start, by the clock on the wall, to its end.
    #[must_use]
    pub fn end(self) -> i64 {
        i64::from(self.end) + if self.end <= self.start { i64::from(DAY) } else { 0 }
    }
}

fn day(text: &str) -> Result<usize, WeeklyError> {
    NAMES.iter().position(|name| name.eq_ignore_ascii_case(text)).ok_or(WeeklyError::Days)
}

fn days(text: &str) -> Result<u8, WeeklyError> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok(0x7F);
    }
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        loop {
            days |= 1 << at;
            if at == last {
                break;
            }
            at = (at + 1) % NAMES.len();
        }
    }
    Ok(days)
}

fn minutes(text: &str) -> Result<u16, WeeklyError> {
    let two = |text: &str| match text.as_bytes() {
        [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => Ok(u16::from(a - b'0') * 10 + u16::from(b - b'0')),
        _ => Err(WeeklyError::Hours),
    };
    let (hour, minute) = text.split_once(':').ok_or(WeeklyError::Hours)?;
    let (hour, minute) = (two(hour)?, two(minute)?);
    let minutes = hour * 60 + minute;
    if minute < 60 && minutes <= DAY { Ok(minutes) } else { Err(WeeklyError::Hours) }
}

impl FromStr for WeeklyWindow {
    type Err = WeeklyError;

    fn from_str(text: &str) -> Result<Self, WeeklyError> {
        let mut parts = text.split_ascii_whitespace();
        let (Some(named), Some(hours), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(WeeklyError::Shape);
        };
        let (start, end) = hours.split_once('-').ok_or(WeeklyError::Hours)?;
        let (days, start, end) = (days(named)?, minutes(start)?, minutes(end)?);
        if start == DAY {
            return Err(WeeklyError::Hours);
        }
        // 22:00-00:00 and 22:00-24:00 are the same; the one that says so is kept.
        let end = if end == 0 { DAY } else { end };
        if start == end { Err(WeeklyError::Empty) } else { Ok(Self { days, start, end }) }
    }
}

impl fmt::Display for WeeklyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |day: usize| self.days & 1 << day != 0;
        if self.days == 0x7F {
            f.write_str("daily")?;
        } else {
            // Each run of days as one range; a run over Sunday is shown as two.
            let (mut day, mut first) = (0, true);
            while day < NAMES.len() {
                let run = (day..NAMES.len()).take_while(|day| on(*day)).count();
                if run > 0 {
                    let comma = if first { "" } else { "," };
                    first = false;
                    match run {
                        1 => write!(f, "{comma}{}", NAMES[day])?,
                        run => write!(f, "{comma}{}-{}", NAMES[day], NAMES[day + run - 1])?,
                    }
                }
                day += run.max(1);
            }
        }
        let Self { start, end, .. } = self;
        write!(f, " {:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60)
    }
}

impl TryFrom<String> for WeeklyWindow {
    type Error = WeeklyError;

    fn try_from(text: String) -> Result<Self, WeeklyError> {
        text.parse()
    }
}

impl From<WeeklyWindow> for String {
    fn from(window: WeeklyWindow) -> Self {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<WeeklyWindow, WeeklyError> {
        text.parse()
    }

    #[test]
    fn windows_are_read_as_people_write_them() {
        for (text, shown) in [
            ("Mon-Fri 02:00-05:00", "Mon-Fri 02:00-05:00"),
            ("sat,SUN 00:00-24:00", "Sat-Sun 00:00-24:00"),
            ("Fri-Mon 22:00-02:00", "Mon,Fri-Sun 22:00-02:00"),
            (" daily  23:00-00:00 ", "daily 23:00-24:00"),
            ("Mon-Sun 01:00-02:00", "daily 01:00-02:00"),
        ] {
            assert_eq!(parsed(text).map(|window| window.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_end_before_the_start_lies_on_the_next_day() {
        let night = parsed("Sat 22:00-04:30").unwrap();
        assert_eq!((night.start(), night.end()), (22 * 60, 28 * 60 + 30));
        assert!(night.begins_on(Weekday::Saturday) && !night.begins_on(Weekday::Sunday));
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for (text, error) in [
            ("", WeeklyError::Shape),
            ("Mon", WeeklyError::Shape),
            ("Mon 02:00 - 05:00", WeeklyError::Shape),
            ("Mond 02:00-05:00", WeeklyError::Days),
            ("Mon,,Tue 02:00-05:00", WeeklyError::Days),
            ("Mon-Tue-Wed 02:00-05:00", WeeklyError::Days),
            ("Mon 2:00-5:00", WeeklyError::Hours),
            ("Mon 02:60-05:00", WeeklyError::Hours),
            ("Mon 24:00-05:00", WeeklyError::Hours),
            ("Mon 02:00-24:01", WeeklyError::Hours),
            ("Mon 02:00", WeeklyError::Hours),
            ("Mon 02:00-02:00", WeeklyError::Empty),
        ] {
            assert_eq!(parsed(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_window_survives_its_text(days in 1_u8..128, start in 0..DAY, end in 1..=DAY) {
            prop_assume!(start != end);
            let window = WeeklyWindow { days, start, end };
            prop_assert_eq!(parsed(&window.to_string()), Ok(window));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,24}") {
            let _ = parsed(&text);
        }
    }
}
