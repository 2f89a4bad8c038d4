use std::collections::BTreeMap;

use crate::tuf::fields::{self, Fields, FormatError};
use crate::tuf::json::Object;

use super::delegations::{DelegatedTo, Delegations};
use super::delegator::{Delegator, EditError};
use super::head::Head;
use super::key::Key;
use super::role::Role;
use super::sealed::{Sealed, SignedPart};
use super::target_file::TargetFile;
use super::{RoleType, Signed};

/// Which files there are, and to whom the naming of further ones is delegated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Version and expiry.
    pub head: Head,
    files: BTreeMap<String, TargetFile>,
    /// To whom it delegates.
    pub delegations: Option<Delegations>,
}

impl Targets {
    /// No files and no delegations.
    #[must_use]
    pub fn new(head: Head) -> Self {
        Self { head, files: BTreeMap::new(), delegations: None }
    }

    /// The files, by path.
    #[must_use]
    pub fn targets(&self) -> &BTreeMap<String, TargetFile> {
        &self.files
    }

    /// The file of that path, if it is listed here.
    #[must_use]
    pub fn target(&self, path: &str) -> Option<&TargetFile> {
        self.files.get(path)
    }

    /// Lists a file, in place of another of the same path.
    pub fn insert(&mut self, target: TargetFile) {
        self.files.insert(target.path().to_owned(), target);
    }

    /// Takes a file off the list.
    pub fn remove(&mut self, path: &str) -> Option<TargetFile> {
        self.files.remove(path)
    }

    /// Lets a key sign for a delegated role, or for all bins, whatever the name. Again changes nothing.
    pub fn add_key(&mut self, key: Key, name: &str) -> Result<(), EditError> {
        let no_role = || EditError::NoRole(name.to_owned());
        let delegations = self.delegations.as_mut().ok_or_else(no_role)?;
        delegations.role_mut(name).ok_or_else(no_role)?.add(key.keyid());
        delegations.keys.insert(key.keyid().to_owned(), key);
        Ok(())
    }

    /// Takes a key from a delegated role, or from all bins, and off the list once no role uses it.
    pub fn revoke_key(&mut self, keyid: &str, name: &str) -> Result<(), EditError> {
        let no_role = || EditError::NoRole(name.to_owned());
        let delegations = self.delegations.as_mut().ok_or_else(no_role)?;
        if !delegations.role_mut(name).ok_or_else(no_role)?.remove(keyid) {
            return Err(EditError::NotUsed { role: name.to_owned(), keyid: keyid.to_owned() });
        }
        if !delegations.uses(keyid) {
            delegations.keys.remove(keyid);
        }
        Ok(())
    }

    /// The roles to which it delegates one by one, to be changed.
    pub fn roles_mut(&mut self) -> Option<&mut Vec<super::DelegatedRole>> {
        match &mut self.delegations.as_mut()?.to {
            DelegatedTo::Roles(roles) => Some(roles),
            DelegatedTo::Bins(_) => None,
        }
    }
}

impl Sealed for Targets {}

impl Delegator for Targets {
    fn delegated_role(&self, name: &str) -> Option<&Role> {
        self.delegations.as_ref()?.role(name)
    }

    fn key(&self, keyid: &str) -> Option<&Key> {
        self.delegations.as_ref()?.keys.get(keyid)
    }
}

impl SignedPart for Targets {
    fn read(mut head: Head, mut fields: Fields) -> Result<Self, FormatError> {
        let files = fields.read("targets", |value| fields::members(value, TargetFile::read))?;
        let delegations = fields.read_optional("delegations", Delegations::read)?;
        head.unrecognized = fields.rest();
        Ok(Self { head, files, delegations })
    }

    fn write(&self) -> Object {
        let mut object = self.head.write();
        object.insert("targets".to_owned(), fields::written(&self.files, TargetFile::write));
        if let Some(delegations) = &self.delegations {
            object.insert("delegations".to_owned(), delegations.write());
        }
        object
    }
}

impl Signed for Targets {
    const TYPE: RoleType = RoleType::Targets;

    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
}
