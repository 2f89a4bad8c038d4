//! Times and typed texts in columns.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::Row;

/// For a column: milliseconds, which sort and compare as numbers.
pub(super) fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// From a column. What is out of range was not written by us: the nearest time there is.
pub(super) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// A text column that holds a value's text form; `None` where it is empty or of a form that a newer
/// version made.
pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    Ok(row.get::<_, Option<String>>(column)?.and_then(|text| text.parse().ok()))
}
