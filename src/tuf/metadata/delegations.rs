use std::collections::BTreeMap;

use crate::tuf::fields::{self, Fields, FormatError, Problem};
use crate::tuf::json::{Json, Object};

use super::RoleType;
use super::delegated_role::DelegatedRole;
use super::key::Key;
use super::role::Role;
use super::succinct::SuccinctRoles;

/// To whom targets metadata delegates, and the keys that they sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegations {
    pub(super) keys: BTreeMap<String, Key>,
    pub(super) to: DelegatedTo,
    /// Members that nobody here knows.
    pub unrecognized: Object,
}

/// Roles one by one, or bins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DelegatedTo {
    /// Roles in the order in which they are asked: the first has precedence.
    Roles(Vec<DelegatedRole>),
    /// Bins.
    Bins(SuccinctRoles),
}

const ROLES: &str = "roles";
const SUCCINCT_ROLES: &str = "succinct_roles";

impl Delegations {
    /// Delegations to these roles, in their order of precedence. Their names must be unique, not empty
    /// and none of the top level's.
    pub fn to_roles(keys: impl IntoIterator<Item = Key>, roles: Vec<DelegatedRole>) -> Result<Self, FormatError> {
        judge_names(&roles)?;
        Ok(Self::new(keys, DelegatedTo::Roles(roles)))
    }

    /// Delegations to bins.
    #[must_use]
    pub fn to_bins(keys: impl IntoIterator<Item = Key>, bins: SuccinctRoles) -> Self {
        Self::new(keys, DelegatedTo::Bins(bins))
    }

    fn new(keys: impl IntoIterator<Item = Key>, to: DelegatedTo) -> Self {
        let keys = keys.into_iter().map(|key| (key.keyid().to_owned(), key)).collect();
        Self { keys, to, unrecognized: Object::new() }
    }

    /// The keys, by keyid.
    #[must_use]
    pub fn keys(&self) -> &BTreeMap<String, Key> {
        &self.keys
    }

    /// To whom.
    #[must_use]
    pub fn to(&self) -> &DelegatedTo {
        &self.to
    }

    /// The roles that may speak for a target, in order, each with whether a search ends with it.
    #[must_use]
    pub fn roles_for_target(&self, path: &str) -> Vec<(String, bool)> {
        match &self.to {
            DelegatedTo::Roles(roles) => {
                let speaking = roles.iter().filter(|role| role.is_delegated_path(path));
                speaking.map(|role| (role.name().to_owned(), role.terminating)).collect()
            }
            DelegatedTo::Bins(bins) => vec![(bins.role_for_target(path), true)],
        }
    }

    /// Who signs for the role of that name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        match &self.to {
            DelegatedTo::Roles(roles) => roles.iter().find(|role| role.name() == name).map(|role| &role.role),
            DelegatedTo::Bins(bins) => bins.is_delegated_role(name).then_some(&bins.role),
        }
    }

    /// As [`Self::role`], to be changed. Bins have one role, whatever the name.
    pub(super) fn role_mut(&mut self, name: &str) -> Option<&mut Role> {
        match &mut self.to {
            DelegatedTo::Roles(roles) => roles.iter_mut().find(|role| role.name() == name).map(|role| &mut role.role),
            DelegatedTo::Bins(bins) => Some(&mut bins.role),
        }
    }

    pub(super) fn uses(&self, keyid: &str) -> bool {
        let uses = |role: &Role| role.keyids.iter().any(|known| known == keyid);
        match &self.to {
            DelegatedTo::Roles(roles) => roles.iter().any(|role| uses(&role.role)),
            DelegatedTo::Bins(bins) => uses(&bins.role),
        }
    }

    pub(super) fn read(value: Json) -> Result<Self, FormatError> {
        let mut fields = Fields::of(value)?;
        let keys = fields.read("keys", |value| fields::members(value, Key::read))?;
        let roles = fields.read_optional(ROLES, |value| {
            let roles = fields::array(value)?.into_iter().map(DelegatedRole::read).collect::<Result<Vec<_>, _>>()?;
            judge_names(&roles).map(|()| roles)
        })?;
        let bins = fields.read_optional(SUCCINCT_ROLES, SuccinctRoles::read)?;
        let to = match (roles, bins) {
            (Some(roles), None) => DelegatedTo::Roles(roles),
            (None, Some(bins)) => DelegatedTo::Bins(bins),
            _ => return Err(FormatError::new(Problem::ExactlyOne(ROLES, SUCCINCT_ROLES))),
        };
        Ok(Self { keys, to, unrecognized: fields.rest() })
    }

    pub(super) fn write(&self) -> Json {
        let mut object = self.unrecognized.clone();
        object.insert("keys".to_owned(), fields::written(&self.keys, Key::write));
        match &self.to {
            DelegatedTo::Roles(roles) => {
                let roles = roles.iter().map(DelegatedRole::write).collect();
                object.insert(ROLES.to_owned(), Json::Array(roles));
            }
            DelegatedTo::Bins(bins) => {
                object.insert(SUCCINCT_ROLES.to_owned(), bins.write());
            }
        }
        Json::Object(object)
    }
}

fn judge_names(roles: &[DelegatedRole]) -> Result<(), FormatError> {
    let wrong = |name: &str| name.is_empty() || RoleType::ALL.iter().any(|kind| kind.as_str() == name);
    if let Some(role) = roles.iter().find(|role| wrong(role.name())) {
        return Err(FormatError::new(Problem::RoleName(role.name().to_owned())));
    }
    fields::unique(roles.iter().map(DelegatedRole::name))
        .map_err(|name| FormatError::new(Problem::RepeatedRole(name.to_owned())))
}
