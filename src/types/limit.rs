use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most bytes that something may have, at least 1. Text form: `4096`, `64KiB`, `512MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteLimit(u64);

/// Why a text is not a [`ByteLimit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not a whole number with an optional unit.
    #[error("is not a size such as 64KiB, 512MiB or 1GiB")]
    Syntax,
    /// Zero, or above 2^63.
    #[error("must be between 1 byte and 8 EiB")]
    Range,
}

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl ByteLimit {
    /// A limit of `bytes`.
    ///
    /// # Panics
    /// When `bytes` is zero; in a constant that is a compile error.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        assert!(bytes > 0, "a limit of zero bytes admits nothing");
        Self(bytes)
    }

    /// A limit of `n` MiB.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self::bytes(n << 20)
    }

    /// A limit of `n` KiB.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self::bytes(n << 10)
    }

    /// The limit in bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether `length` bytes are within the limit.
    #[must_use]
    pub const fn admits(self, length: u64) -> bool {
        length <= self.0
    }
}

impl FromStr for ByteLimit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (digits, unit) =
            UNITS.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit))).unwrap_or((text, 1));
        let digits = digits.trim_end();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(LimitError::Syntax);
        }
        let count: u64 = digits.parse().map_err(|_| LimitError::Range)?;
        match count.checked_mul(unit) {
            Some(bytes) if bytes > 0 && bytes <= 1 << 63 => Ok(Self(bytes)),
            _ => Err(LimitError::Range),
        }
    }
}

impl TryFrom<String> for ByteLimit {
    type Error = LimitError;

    fn try_from(text: String) -> Result<Self, LimitError> {
        text.parse()
    }
}

impl From<ByteLimit> for String {
    fn from(limit: ByteLimit) -> Self {
        limit.to_string()
    }
}

impl fmt::Display for ByteLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit)) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_that_mean_nothing_are_refused() {
        assert_eq!("0".parse::<ByteLimit>(), Err(LimitError::Range));
        assert_eq!("99999999999GiB".parse::<ByteLimit>(), Err(LimitError::Range));
        for text in ["", "MiB", "-1", "1.5GiB", "1MB", "0x10"] {
            assert_eq!(text.parse::<ByteLimit>(), Err(LimitError::Syntax), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_limit_survives_its_text(bytes in 1u64..=1 << 63) {
            let limit = ByteLimit::bytes(bytes);
            prop_assert_eq!(limit.to_string().parse::<ByteLimit>(), Ok(limit));
        }
    }
}
