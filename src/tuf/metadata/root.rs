use std::collections::BTreeMap;

use crate::tuf::fields::{self, Fields, FormatError, Problem};
use crate::tuf::json::{Json, Object};

use super::delegator::{DelegationError, Delegator, EditError};
use super::head::Head;
use super::key::Key;
use super::role::Role;
use super::scheme::KeyPolicy;
use super::sealed::{Sealed, SignedPart};
use super::signature::Signatures;
use super::verification::RootVerificationResult;
use super::{RoleType, Signed};

/// Who signs for each of the four roles of the top level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Version and expiry.
    pub head: Head,
    /// Whether file names carry versions and digests, so that a client sees one state of the
    /// repository. `None`: the file does not say, which means no.
    pub consistent_snapshot: Option<bool>,
    keys: BTreeMap<String, Key>,
    roles: BTreeMap<String, Role>,
}

impl Root {
    /// A root with these keys and, by [`RoleType`], these roles.
    #[must_use]
    pub fn new(head: Head, keys: impl IntoIterator<Item = Key>, role: impl Fn(RoleType) -> Role) -> Self {
        let keys = keys.into_iter().map(|key| (key.keyid().to_owned(), key)).collect();
        let roles = RoleType::ALL.into_iter().map(|kind| (kind.as_str().to_owned(), role(kind))).collect();
        Self { head, consistent_snapshot: Some(true), keys, roles }
    }

    /// The keys, by keyid.
    #[must_use]
    pub fn keys(&self) -> &BTreeMap<String, Key> {
        &self.keys
    }

    /// Who signs for a role of the top level.
    #[must_use]
    pub fn role(&self, kind: RoleType) -> &Role {
        self.roles.get(kind.as_str()).expect("a root holds the four roles")
    }

    /// As [`Self::role`], to be changed.
    pub fn role_mut(&mut self, kind: RoleType) -> &mut Role {
        self.roles.get_mut(kind.as_str()).expect("a root holds the four roles")
    }

    /// Lets a key sign for a role. Again changes nothing.
    pub fn add_key(&mut self, key: Key, kind: RoleType) {
        self.role_mut(kind).add(key.keyid());
        self.keys.insert(key.keyid().to_owned(), key);
    }

    /// Takes a key from a role, and off the list once no role uses it.
    pub fn revoke_key(&mut self, keyid: &str, kind: RoleType) -> Result<(), EditError> {
        if !self.role_mut(kind).remove(keyid) {
            return Err(EditError::NotUsed { role: kind.as_str().to_owned(), keyid: keyid.to_owned() });
        }
        if !self.roles.values().any(|role| role.keyids.iter().any(|known| known == keyid)) {
            self.keys.remove(keyid);
        }
        Ok(())
    }

    /// What the keys of `previous`, and this root's own, make of the signatures over `payload`. Without
    /// a predecessor its own count twice.
    pub fn root_verification<'a>(
        &'a self,
        previous: Option<&'a Self>,
        policy: KeyPolicy,
        payload: &[u8],
        signatures: &Signatures,
    ) -> Result<RootVerificationResult<'a>, NotSequential> {
        if let Some(previous) = previous
            && previous.head.version.next() != Some(self.head.version)
        {
            return Err(NotSequential { previous: previous.head.version.get(), next: self.head.version.get() });
        }
        let by = |root: &'a Self| {
            let result = root.verification(policy, RoleType::Root.as_str(), payload, signatures);
            result.unwrap_or_else(|_: DelegationError| unreachable!("a root holds the role root"))
        };
        Ok(RootVerificationResult { first: by(previous.unwrap_or(self)), second: by(self) })
    }
}

/// A root that is not its predecessor's next edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("root {next} does not follow root {previous}")]
pub struct NotSequential {
    /// The version before.
    pub previous: u64,
    /// The version that should follow it.
    pub next: u64,
}

impl Sealed for Root {}

impl Delegator for Root {
    fn delegated_role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }

    fn key(&self, keyid: &str) -> Option<&Key> {
        self.keys.get(keyid)
    }
}

impl SignedPart for Root {
    fn read(mut head: Head, mut fields: Fields) -> Result<Self, FormatError> {
        let consistent_snapshot = fields.read_optional("consistent_snapshot", fields::boolean)?;
        let keys = fields.read("keys", |value| fields::members(value, Key::read))?;
        let roles = fields.read("roles", |value| {
            let roles = fields::members(value, |_, value| Role::read(value))?;
            let complete = roles.len() == RoleType::ALL.len();
            if complete && RoleType::ALL.iter().all(|kind| roles.contains_key(kind.as_str())) {
                return Ok(roles);
            }
            Err(FormatError::new(Problem::TopLevelRoles))
        })?;
        head.unrecognized = fields.rest();
        Ok(Self { head, consistent_snapshot, keys, roles })
    }

    fn write(&self) -> Object {
        let mut object = self.head.write();
        if let Some(consistent) = self.consistent_snapshot {
            object.insert("consistent_snapshot".to_owned(), Json::Bool(consistent));
        }
        object.insert("keys".to_owned(), fields::written(&self.keys, Key::write));
        object.insert("roles".to_owned(), fields::written(&self.roles, |role| Json::Object(role.write())));
        object
    }
}

impl Signed for Root {
    const TYPE: RoleType = RoleType::Root;

    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
}
