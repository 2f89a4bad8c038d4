use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sys::Dir;
use crate::tuf::metadata::{AnyMetadata, RoleType, Signed};
use crate::tuf::rules::Limits;

use super::name::file_name;

/// How long the metadata is valid that a client trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The roles of the top level of which something is trusted, in the order root, timestamp, snapshot,
    /// targets.
    pub roles: Vec<RoleStanding>,
}

/// The trusted edition of one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStanding {
    /// The role.
    pub role: String,
    /// Its edition.
    pub version: u64,
    /// From when on it no longer counts.
    pub expires: Timestamp,
}

impl Standing {
    /// What lies in the folder of a store. `None`: nothing that can be read.
    ///
    /// For people and for metrics: what is trusted is verified at every update, and not here.
    #[must_use]
    pub fn read(dir: &Dir) -> Option<Self> {
        let limits = Limits::default();
        let roles = RoleType::ALL.into_iter().filter_map(|kind| {
            let bytes = dir.read(&file_name(kind.as_str()), limits.of(kind)).ok()?;
            let head = match AnyMetadata::from_bytes(&bytes, limits.of(kind)).ok()? {
                AnyMetadata::Root(it) => it.signed.head().clone(),
                AnyMetadata::Timestamp(it) => it.signed.head().clone(),
                AnyMetadata::Snapshot(it) => it.signed.head().clone(),
                AnyMetadata::Targets(it) => it.signed.head().clone(),
            };
            Some(RoleStanding {
                role: kind.as_str().to_owned(),
                version: head.version.get(),
                expires: head.expires.moment(),
            })
        });
        let roles: Vec<_> = roles.collect();
        (!roles.is_empty()).then_some(Self { roles })
    }

    /// The role that expires first, or has.
    #[must_use]
    pub fn first_to_expire(&self) -> Option<&RoleStanding> {
        self.roles.iter().min_by_key(|role| role.expires)
    }

    /// The role that expired first, if one has expired: no release is gone to then.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> Option<&RoleStanding> {
        self.first_to_expire().filter(|role| role.expires <= now)
    }
}

/// In words, as `status` says it.
impl std::fmt::Display for RoleStanding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}, valid until {:.0}", self.role, self.version, self.expires)
    }
}
