use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A canonical semantic version without build metadata, at most 64 bytes long.
///
/// Build metadata is refused because semver gives it no order: two different releases would be
/// equal, and the signature context would name only one of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(semver::Version);

/// Why a text is not a [`Version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Longer than 64 bytes.
    #[error("is longer than {} bytes", Version::MAX_LEN)]
    TooLong,
    /// Not MAJOR.MINOR.PATCH with an optional pre-release (semver 2.0.0).
    #[error("is not a semantic version such as 1.4.0 or 2.0.0-rc.1")]
    NotSemver,
    /// Carries `+build` metadata.
    #[error("carries build metadata (the part after '+'), which has no order")]
    BuildMetadata,
}

impl Version {
    /// Longest accepted text, in bytes; bounds the signature context (FIPS 204: 255 bytes).
    pub const MAX_LEN: usize = 64;

    /// The tolerant reading of a release tag: an optional leading `v`, then a version.
    pub fn from_tag(tag: &str) -> Result<Self, VersionError> {
        tag.strip_prefix('v').unwrap_or(tag).parse()
    }

    /// Whether this is a pre-release such as `2.0.0-rc.1`.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        if text.len() > Self::MAX_LEN {
            return Err(VersionError::TooLong);
        }
        let version = semver::Version::parse(text).map_err(|_| VersionError::NotSemver)?;
        if !version.build.is_empty() {
            return Err(VersionError::BuildMetadata);
        }
        Ok(Self(version))
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn build_metadata_is_refused() {
        assert_eq!("1.0.0+a".parse::<Version>(), Err(VersionError::BuildMetadata));
    }

    #[test]
    fn a_tag_may_start_with_one_v() {
        assert_eq!(Version::from_tag("v1.2.3"), "1.2.3".parse());
        assert_eq!(Version::from_tag("vv1.2.3"), Err(VersionError::NotSemver));
    }

    #[test]
    fn a_version_of_65_bytes_is_refused() {
        let long = format!("1.0.0-{}", "a".repeat(59));
        assert_eq!(long.len(), 65);
        assert_eq!(long.parse::<Version>(), Err(VersionError::TooLong));
        assert!(long[..64].parse::<Version>().is_ok());
    }

    proptest! {
        #[test]
        fn what_parses_prints_itself(text in "[v0-9a-z.+-]{0,70}") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.to_string(), text);
            }
        }
    }
}
