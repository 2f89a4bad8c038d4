use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::manifest::Manifest;

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
const RESERVED: [&str; 8] =
    ["ledger", "trust", "snapshots", "node.lock", "control.sock", "restore.json", "state.lock", "state.rejected"];
/// Folders there.
const FOLDERS: [&str; 2] = ["install", "job"];
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
        let of_the_node = RESERVED.iter().any(|name| text.starts_with(name)) || FOLDERS.contains(&text);
        if of_the_node || COMPANION_ENDS.iter().any(|end| text.ends_with(end)) {
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

/// The files that make up a job's state, all of them plain names in the node's data folder. The first one is the
/// database that says the `application_id` and `user_version` of the whole; it must be there. Others may be missing,
/// and then belong to the state as missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFiles(Vec<(Role, Kind)>);

/// Why further files cannot belong to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateFilesError {
    /// The name cannot be one.
    #[error("the file {0:?} of this product's state {1}")]
    Name(&'static str, #[source] RoleError),
    /// It is named twice, or is the database itself.
    #[error("the file {0:?} of this product's state is named twice")]
    Twice(&'static str),
}

impl StateFiles {
    /// One database, `state.db`.
    #[must_use]
    pub fn database() -> Self {
        Self(vec![(Role("state.db".to_owned()), Kind::Database)])
    }

    /// The database, and further files.
    pub fn with(further: &[(&'static str, Kind)]) -> Result<Self, StateFilesError> {
        let mut files = Self::database().0;
        for (name, kind) in further {
            let role: Role = name.parse().map_err(|error| StateFilesError::Name(name, error))?;
            if files.iter().any(|(known, _)| *known == role) {
                return Err(StateFilesError::Twice(name));
            }
            files.push((role, *kind));
        }
        Ok(Self(files))
    }

    /// All of them, the database first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(Role, Kind)> {
        self.0.iter()
    }

    /// Those that are not in a snapshot: they were missing when it was taken.
    #[must_use]
    pub fn missing_in(&self, manifest: &Manifest) -> Vec<Role> {
        let held = |role: &Role| manifest.files.iter().any(|file| file.role == *role);
        self.iter().map(|(role, _)| role).filter(|role| !held(role)).cloned().collect()
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
        for bad in
            ["ledger.db", "trust", "snapshots", "node.lock", "state.db-wal", "state.db-shm", "job", "restore.json"]
        {
            assert_eq!(bad.parse::<Role>(), Err(RoleError::Reserved), "{bad:?}");
        }
    }

    #[test]
    fn a_state_names_each_file_once() {
        let with = |names: &[&'static str]| {
            StateFiles::with(&names.iter().map(|name| (*name, Kind::File)).collect::<Vec<_>>())
        };
        assert_eq!(with(&["notes.txt", "jobs.db"]).unwrap().iter().count(), 3);
        assert_eq!(with(&["notes.txt", "notes.txt"]), Err(StateFilesError::Twice("notes.txt")));
        assert_eq!(with(&["state.db"]), Err(StateFilesError::Twice("state.db")));
        assert_eq!(with(&["../up"]), Err(StateFilesError::Name("../up", RoleError::Syntax)));
    }
}
