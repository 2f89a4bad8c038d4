use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which file of the job's state: its plain name in the node's data folder, and a role in snapshots.
/// 1 to 48 bytes of `[a-z0-9._-]`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role(String);

/// Why a text is not a [`Role`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// Length or characters.
    #[error("must be 1 to 48 bytes of a-z, 0-9, '.', '_' and '-', and begin with a letter or digit")]
    Syntax,
    /// A file of the node itself, which no snapshot holds and no restore touches.
    #[error("is a file of the node itself, which no snapshot holds")]
    Reserved,
}

/// What the node keeps in the same folder, and what SQLite keeps beside a database.
const RESERVED: [&str; 5] = ["ledger", "trust", "snapshots", "node.lock", "control.sock"];
const COMPANION_ENDS: [&str; 3] = ["-wal", "-shm", "-journal"];

impl Role {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !first || text.len() > 48 || !text.bytes().all(allowed) {
            return Err(RoleError::Syntax);
        }
        if RESERVED.iter().any(|name| text.starts_with(name)) || COMPANION_ENDS.iter().any(|end| text.ends_with(end)) {
            return Err(RoleError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Role {
    type Error = RoleError;

    fn try_from(text: String) -> Result<Self, RoleError> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a file of the state is copied while its job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A SQLite database: copied by SQLite in one step, with what its log holds.
    Database,
    /// A plain file, which its job replaces whole: copied as it lies there.
    File,
}

/// The files that make up a job's state, all of them plain names in the node's data folder. The first
/// database says the `application_id` and `user_version` of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFiles(pub Vec<(Role, Kind)>);

impl StateFiles {
    /// The state of the program `exuvia`: one database.
    #[must_use]
    pub fn of_exuvia() -> Self {
        Self(vec![(Role("state.db".to_owned()), Kind::Database)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_no_path_and_no_file_of_the_node() {
        assert!("state.db".parse::<Role>().is_ok());
        for bad in ["", ".", "..", ".hidden", "a/b", "A", "a b", &"a".repeat(49)] {
            assert_eq!(bad.parse::<Role>(), Err(RoleError::Syntax), "{bad:?}");
        }
        for bad in ["ledger.db", "trust", "snapshots", "node.lock", "state.db-wal", "state.db-shm"] {
            assert_eq!(bad.parse::<Role>(), Err(RoleError::Reserved), "{bad:?}");
        }
    }
}
