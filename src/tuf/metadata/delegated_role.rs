use sha2::{Digest, Sha256};

use crate::tuf::fields::{self, Fields, FormatError, Problem};
use crate::tuf::json::{Json, Object};

use super::path_pattern::matches_pattern;
use super::role::Role;

/// A role to which targets metadata delegates some paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegatedRole {
    name: String,
    /// Who signs for it.
    pub role: Role,
    /// Whether a search for a path of this role ends with it.
    pub terminating: bool,
    /// For which paths it speaks.
    pub paths: DelegatedPaths,
}

/// For which target paths a role speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DelegatedPaths {
    /// Those that match one of these patterns, part by part between slashes.
    Patterns(Vec<String>),
    /// Those whose SHA-256 digest begins with one of these lower-case hexadecimal digits.
    HashPrefixes(Vec<String>),
}

const PATTERNS: &str = "paths";
const HASH_PREFIXES: &str = "path_hash_prefixes";

impl DelegatedRole {
    /// A role that does not end searches. Its name may be any text but an empty one and those of the
    /// top level, which is checked where it is added.
    #[must_use]
    pub fn new(name: impl Into<String>, role: Role, paths: DelegatedPaths) -> Self {
        Self { name: name.into(), role, terminating: false, paths }
    }

    /// Its name. Any text: encoded before it becomes part of an address or a file name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it speaks for that path.
    #[must_use]
    pub fn is_delegated_path(&self, path: &str) -> bool {
        match &self.paths {
            DelegatedPaths::Patterns(patterns) => patterns.iter().any(|pattern| matches_pattern(path, pattern)),
            DelegatedPaths::HashPrefixes(prefixes) => {
                let digest = hex::encode(Sha256::digest(path.as_bytes()));
                prefixes.iter().any(|prefix| digest.starts_with(prefix.as_str()))
            }
        }
    }

    pub(super) fn read(value: Json) -> Result<Self, FormatError> {
        let mut fields = Fields::of(value)?;
        let name = fields.read("name", fields::string)?;
        let mut role = Role::read_from(&mut fields)?;
        let terminating = fields.read("terminating", fields::boolean)?;
        let patterns = fields.read_optional(PATTERNS, fields::strings)?;
        let prefixes = fields.read_optional(HASH_PREFIXES, fields::strings)?;
        let paths = match (patterns, prefixes) {
            (Some(patterns), None) => DelegatedPaths::Patterns(patterns),
            (None, Some(prefixes)) => DelegatedPaths::HashPrefixes(prefixes),
            _ => return Err(FormatError::new(Problem::ExactlyOne(PATTERNS, HASH_PREFIXES))),
        };
        role.unrecognized = fields.rest();
        Ok(Self { name, role, terminating, paths })
    }

    pub(super) fn write(&self) -> Json {
        let mut object: Object = self.role.write();
        object.insert("name".to_owned(), Json::String(self.name.clone()));
        object.insert("terminating".to_owned(), Json::Bool(self.terminating));
        let (name, texts) = match &self.paths {
            DelegatedPaths::Patterns(patterns) => (PATTERNS, patterns),
            DelegatedPaths::HashPrefixes(prefixes) => (HASH_PREFIXES, prefixes),
        };
        object.insert(name.to_owned(), fields::written_strings(texts));
        Json::Object(object)
    }
}
