use std::num::NonZeroU64;

use crate::tuf::fields::{self, Fields, FormatError, Problem};
use crate::tuf::json::{Json, Object};

/// Which keys may sign for a role, and how many of them must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The keys that may sign, each once.
    pub keyids: Vec<String>,
    /// How many different keys must. It may be more than there are: then nothing satisfies the role.
    pub threshold: NonZeroU64,
    /// Members that nobody here knows.
    pub unrecognized: Object,
}

impl Role {
    /// A role for which one of these keys suffices.
    #[must_use]
    pub fn one_of<K: Into<String>>(keyids: impl IntoIterator<Item = K>) -> Self {
        let keyids = keyids.into_iter().map(Into::into).collect();
        Self { keyids, threshold: NonZeroU64::MIN, unrecognized: Object::new() }
    }

    pub(super) fn add(&mut self, keyid: &str) {
        if !self.keyids.iter().any(|known| known == keyid) {
            self.keyids.push(keyid.to_owned());
        }
    }

    /// Whether the keyid was there.
    pub(super) fn remove(&mut self, keyid: &str) -> bool {
        let before = self.keyids.len();
        self.keyids.retain(|known| known != keyid);
        self.keyids.len() < before
    }

    pub(super) fn read(value: Json) -> Result<Self, FormatError> {
        let mut fields = Fields::of(value)?;
        let mut role = Self::read_from(&mut fields)?;
        role.unrecognized = fields.rest();
        Ok(role)
    }

    pub(super) fn read_from(fields: &mut Fields) -> Result<Self, FormatError> {
        let keyids = fields.read("keyids", |value| {
            let keyids = fields::strings(value)?;
            match fields::unique(keyids.iter().map(String::as_str)) {
                Ok(()) => Ok(keyids),
                Err(keyid) => Err(FormatError::new(Problem::RepeatedKeyid(keyid.to_owned()))),
            }
        })?;
        let threshold = fields.read("threshold", fields::positive)?;
        Ok(Self { keyids, threshold, unrecognized: Object::new() })
    }

    pub(super) fn write(&self) -> Object {
        let mut object = self.unrecognized.clone();
        object.insert("keyids".to_owned(), fields::written_strings(&self.keyids));
        object.insert("threshold".to_owned(), Json::from(self.threshold.get()));
        object
    }
}
