use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::tuf::fields::{self, Fields, FormatError, Problem};
use crate::tuf::json::{Json, Object};

/// What every signed part begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of this edition of the file.
    pub version: RoleVersion,
    /// The version of the TUF specification that it follows.
    pub spec_version: SpecVersion,
    /// From when on it no longer counts.
    pub expires: Expires,
    /// Members that nobody here knows. They are signed as well.
    pub unrecognized: Object,
}

/// The number of an edition of a metadata file, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleVersion(NonZeroU64);

/// A version `1.Y.Z` of the specification, or `1.Y` as old files have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecVersion(String);

/// A moment in UTC, in whole seconds, from which on metadata no longer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expires(DateTime);

impl Head {
    /// The first edition of a file that follows the present specification.
    #[must_use]
    pub fn first(expires: Expires) -> Self {
        Self { version: RoleVersion::FIRST, spec_version: SpecVersion::current(), expires, unrecognized: Object::new() }
    }

    /// Whether it no longer counts at `now`. In the second of its expiry it does not.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_past(now)
    }

    pub(super) fn read(fields: &mut Fields) -> Result<Self, FormatError> {
        let version = fields.read("version", RoleVersion::read)?;
        let spec_version = fields.read("spec_version", |value| fields::string(value)?.parse())?;
        let expires = fields.read("expires", |value| fields::string(value)?.parse())?;
        Ok(Self { version, spec_version, expires, unrecognized: Object::new() })
    }

    pub(super) fn write(&self) -> Object {
        let mut object = self.unrecognized.clone();
        object.insert("version".to_owned(), self.version.write());
        object.insert("spec_version".to_owned(), Json::String(self.spec_version.0.clone()));
        object.insert("expires".to_owned(), Json::String(self.expires.to_string()));
        object
    }
}

impl RoleVersion {
    /// The number of a first edition.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// `None` for zero.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The number of the next edition, unless this is the greatest there is.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    pub(super) fn read(value: Json) -> Result<Self, FormatError> {
        fields::positive(value).map(Self)
    }

    pub(super) fn write(self) -> Json {
        Json::from(self.get())
    }
}

impl fmt::Display for RoleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl SpecVersion {
    /// The version that this program follows.
    #[must_use]
    pub fn current() -> Self {
        Self("1.0.34".to_owned())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SpecVersion {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let parts: Vec<_> = text.split('.').collect();
        let numbers = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        if numbers && matches!(parts.len(), 2 | 3) && parts[0] == "1" {
            return Ok(Self(text.to_owned()));
        }
        Err(FormatError::new(Problem::SpecVersion))
    }
}

impl Expires {
    /// That moment; parts of a second are left out.
    #[must_use]
    pub fn at(moment: Timestamp) -> Self {
        let civil = TimeZone::UTC.to_datetime(moment);
        Self(civil.with().subsec_nanosecond(0).build().expect("zero is a fraction of every second"))
    }

    /// The moment; the nearest that can be told where it lies beyond the last hours of the year 9999.
    #[must_use]
    pub fn moment(self) -> Timestamp {
        TimeZone::UTC.to_timestamp(self.0).unwrap_or(Timestamp::MAX)
    }

    /// Whether `now` is this moment or a later one.
    #[must_use]
    pub fn is_past(self, now: Timestamp) -> bool {
        TimeZone::UTC.to_datetime(now) >= self.0
    }
}

const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";

impl FromStr for Expires {
    type Err = FormatError;

    /// Reads the one form: `2030-12-31T23:59:59Z`.
    fn from_str(text: &str) -> Result<Self, FormatError> {
        let moment = DateTime::strptime(TIME, text).ok().map(Self);
        // Written again it must be the same text: other spellings, leap seconds and the year 0 are not.
        match moment {
            Some(moment) if moment.to_string() == text && moment.0.year() > 0 => Ok(moment),
            _ => Err(FormatError::new(Problem::Time)),
        }
    }
}

impl fmt::Display for Expires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime(TIME).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t36_an_expiry_has_one_form() {
        for text in ["2030-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2028-02-29T00:00:00Z"] {
            assert_eq!(text.parse::<Expires>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "2030-12-31",
            "2030-12-31T23:59:59",
            "2030-12-31T23:59:59+00:00",
            "2030-12-31T23:59:59.0Z",
            "2030-12-31t23:59:59z",
            "2030-12-31 23:59:59Z",
            "2030-1-1T0:0:0Z",
            "2030-12-31T23:59:60Z",
            "2029-02-29T00:00:00Z",
            "2030-12-31T24:00:00Z",
            "0000-01-01T00:00:00Z",
            "-001-01-01T00:00:00Z",
            "12030-12-31T23:59:59Z",
            " 2030-12-31T23:59:59Z",
            "2030-12-31T23:59:59Z\n",
        ] {
            assert!(text.parse::<Expires>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn t24_what_expires_now_has_expired() {
        let expires: Expires = "2030-01-01T00:00:00Z".parse().unwrap();
        let at = |text: &str| expires.is_past(text.parse().unwrap());
        assert!(!at("2029-12-31T23:59:59.999999999Z"));
        assert!(at("2030-01-01T00:00:00Z"));
        assert!(at("2030-01-01T00:00:00.000000001Z"));
    }

    #[test]
    fn parts_of_a_second_are_left_out() {
        let moment = "2030-01-01T00:00:00.999Z".parse().unwrap();
        assert_eq!(Expires::at(moment).to_string(), "2030-01-01T00:00:00Z");
    }

    #[test]
    fn t34_only_version_1_of_the_specification_is_read() {
        for text in ["1.0", "1.0.31", "1.99.0", "1.0.034"] {
            assert!(text.parse::<SpecVersion>().is_ok(), "{text}");
        }
        for text in
            ["", "1", "1.", "1.0.", "1.0.0.0", "2.0.0", "01.0.0", "0.9.0", "1.0.x", "1.0.0-rc1", "+1.0", "1.\u{661}"]
        {
            assert!(text.parse::<SpecVersion>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn t35_a_version_is_an_integer_from_1_to_the_greatest_that_fits() {
        for text in ["1", "18446744073709551615"] {
            assert!(RoleVersion::read(Json::parse(text.as_bytes()).unwrap()).is_ok(), "{text}");
        }
        for text in ["0", "-1", "18446744073709551616", "true", "\"1\"", "null", "[1]"] {
            assert!(RoleVersion::read(Json::parse(text.as_bytes()).unwrap()).is_err(), "{text}");
        }
        assert!(Json::parse(b"1.0").is_err());
    }
}
