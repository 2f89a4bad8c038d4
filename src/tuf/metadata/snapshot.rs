use std::collections::BTreeMap;

use crate::tuf::fields::{self, Fields, FormatError};
use crate::tuf::json::Object;

use super::head::{Head, RoleVersion};
use super::meta_file::MetaFile;
use super::sealed::{Sealed, SignedPart};
use super::{RoleType, Signed};

/// Which editions of all targets files belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Version and expiry.
    pub head: Head,
    /// Each targets file by name: `targets.json`, and those of delegated roles.
    pub meta: BTreeMap<String, MetaFile>,
}

impl Snapshot {
    /// A snapshot of the first `targets.json`.
    #[must_use]
    pub fn new(head: Head) -> Self {
        Self { head, meta: [("targets.json".to_owned(), MetaFile::of(RoleVersion::FIRST))].into() }
    }

    /// What it says about the file of a role.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&MetaFile> {
        self.meta.get(&format!("{name}.json"))
    }
}

impl Sealed for Snapshot {}

impl SignedPart for Snapshot {
    fn read(mut head: Head, mut fields: Fields) -> Result<Self, FormatError> {
        let meta = fields.read("meta", |value| fields::members(value, |_, value| MetaFile::read(value)))?;
        head.unrecognized = fields.rest();
        Ok(Self { head, meta })
    }

    fn write(&self) -> Object {
        let mut object = self.head.write();
        object.insert("meta".to_owned(), fields::written(&self.meta, MetaFile::write));
        object
    }
}

impl Signed for Snapshot {
    const TYPE: RoleType = RoleType::Snapshot;

    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
}
