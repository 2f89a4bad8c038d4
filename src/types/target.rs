use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The exact target triple that a binary was compiled for, such as `x86_64-unknown-linux-gnu`.
///
/// At most 64 bytes of `[a-z0-9_.-]`. Targets are compared whole: `gnu` never stands for `musl`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target(String);

/// Why a text is not a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Empty, or longer than 64 bytes.
    #[error("must be 1 to {} bytes long", Target::MAX_LEN)]
    Length,
    /// A character outside `[a-z0-9_.-]`, or a leading dot or hyphen.
    #[error("may hold only a-z, 0-9, '_', '.' and '-', and must start with a letter or digit")]
    Character,
}

impl Target {
    /// Longest accepted text, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The triple that this library was compiled for.
    #[must_use]
    pub fn of_this_build() -> Self {
        Self(env!("EXUVIA_TARGET").to_owned())
    }

    /// The triple as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(TargetError::Length);
        }
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let starts_plain = text.bytes().next().is_some_and(plain);
        if !starts_plain || !text.bytes().all(|b| plain(b) || matches!(b, b'_' | b'.' | b'-')) {
            return Err(TargetError::Character);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_build_has_a_valid_target() {
        let target = Target::of_this_build();
        assert_eq!(target.as_str().parse::<Target>(), Ok(target));
    }

    #[test]
    fn slashes_dots_and_capitals_are_refused() {
        for text in ["", "..", "a/b", "X86_64-unknown-linux-gnu", "-a", "a b", "é"] {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
    }
}
