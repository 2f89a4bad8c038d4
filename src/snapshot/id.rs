use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Names one snapshot: when it was taken, to the second, and eight random digits, such as
/// `20270131T060000Z-1a2b3c4d`. Names sort by age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(String);

/// Why a text is not a [`SnapshotId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the name of a snapshot, such as 20270131T060000Z-1a2b3c4d; `snapshot ls` lists them")]
pub struct SnapshotIdError;

impl SnapshotId {
    pub(super) const SUFFIX: &str = ".exuvia-snapshot";

    pub(super) fn new(now: Timestamp) -> Option<Self> {
        let mut random = [0; 4];
        getrandom::fill(&mut random).ok()?;
        format!("{}-{}", now.strftime("%Y%m%dT%H%M%SZ"), hex::encode(random)).parse().ok()
    }

    /// The name of its file in the folder of snapshots.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}{}", self.0, Self::SUFFIX)
    }

    pub(super) fn of_file_name(name: &str) -> Option<Self> {
        name.strip_suffix(Self::SUFFIX)?.parse().ok()
    }
}

impl FromStr for SnapshotId {
    type Err = SnapshotIdError;

    fn from_str(text: &str) -> Result<Self, SnapshotIdError> {
        let pattern = b"ddddddddTddddddZ-xxxxxxxx";
        let fits = |(byte, wanted): (u8, &u8)| match wanted {
            b'd' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            other => byte == *other,
        };
        if text.len() == pattern.len() && text.bytes().zip(pattern).all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(SnapshotIdError)
    }
}

impl TryFrom<String> for SnapshotId {
    type Error = SnapshotIdError;

    fn try_from(text: String) -> Result<Self, SnapshotIdError> {
        text.parse()
    }
}

impl From<SnapshotId> for String {
    fn from(id: SnapshotId) -> Self {
        id.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_a_time_and_nothing_that_a_path_could_misread() {
        let id = SnapshotId::new("2027-01-31T06:00:00Z".parse().unwrap()).unwrap();
        assert!(id.to_string().starts_with("20270131T060000Z-"));
        assert_eq!(SnapshotId::of_file_name(&id.file_name()), Some(id));
        for bad in ["", "..", "20270131T060000Z-1A2b3c4d", "20270131T060000Z-1a2b3c4", "2027/131T060000Z-1a2b3c4d"] {
            assert_eq!(bad.parse::<SnapshotId>(), Err(SnapshotIdError), "{bad:?}");
        }
    }
}
