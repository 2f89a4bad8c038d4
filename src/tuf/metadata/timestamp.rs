use crate::tuf::fields::{Fields, FormatError};
use crate::tuf::json::{Json, Object};

use super::head::{Head, RoleVersion};
use super::meta_file::MetaFile;
use super::sealed::{Sealed, SignedPart};
use super::{RoleType, Signed};

/// Which snapshot is the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Version and expiry.
    pub head: Head,
    /// The snapshot.
    pub snapshot: MetaFile,
    /// Entries for other files, which mean nothing, and are signed too.
    pub other_meta: Object,
}

const SNAPSHOT: &str = "snapshot.json";

impl Timestamp {
    /// A timestamp that names the first snapshot.
    #[must_use]
    pub fn new(head: Head) -> Self {
        Self { head, snapshot: MetaFile::of(RoleVersion::FIRST), other_meta: Object::new() }
    }
}

impl Sealed for Timestamp {}

impl SignedPart for Timestamp {
    fn read(mut head: Head, mut fields: Fields) -> Result<Self, FormatError> {
        let (snapshot, other_meta) = fields.read("meta", |value| {
            let mut meta = Fields::of(value)?;
            Ok((meta.read(SNAPSHOT, MetaFile::read)?, meta.rest()))
        })?;
        head.unrecognized = fields.rest();
        Ok(Self { head, snapshot, other_meta })
    }

    fn write(&self) -> Object {
        let mut meta = self.other_meta.clone();
        meta.insert(SNAPSHOT.to_owned(), self.snapshot.write());
        let mut object = self.head.write();
        object.insert("meta".to_owned(), Json::Object(meta));
        object
    }
}

impl Signed for Timestamp {
    const TYPE: RoleType = RoleType::Timestamp;

    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
}
