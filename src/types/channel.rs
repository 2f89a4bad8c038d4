use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which releases a node goes to by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// None that is a pre-release, by its listing or by its version.
    #[default]
    Stable,
    /// Pre-releases, too.
    Beta,
}

/// A text that is no [`Channel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is neither \"stable\" nor \"beta\"")]
pub struct ChannelError;

impl Channel {
    /// Whether a release that is a pre-release, or is none, belongs to it.
    #[must_use]
    pub fn admits(self, prerelease: bool) -> bool {
        self == Self::Beta || !prerelease
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stable => "stable",
            Self::Beta => "beta",
        })
    }
}

impl FromStr for Channel {
    type Err = ChannelError;

    fn from_str(text: &str) -> Result<Self, ChannelError> {
        match text {
            "stable" => Ok(Self::Stable),
            "beta" => Ok(Self::Beta),
            _ => Err(ChannelError),
        }
    }
}
