use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::tuf::metadata::{Expires, RoleType, Root};
use crate::tuf::{Json, Object};
use crate::types::Product;

/// What a root says beyond the specification, in its member `exuvia`: whose product it is, for how long
/// new editions of each role's file are valid, and what the engineers call their keys. Root keys sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charter {
    /// The product.
    pub product: Product,
    /// For how many seconds a new edition counts.
    pub valid: BTreeMap<RoleType, u64>,
    /// Names of keys, by keyid. For people alone.
    pub names: BTreeMap<String, String>,
}

const MEMBER: &str = "exuvia";
const DAY: u64 = 24 * 60 * 60;

impl Charter {
    /// For the product, with the customary times: root a year, targets half a year, snapshot two weeks,
    /// timestamp three days.
    #[must_use]
    pub fn new(product: Product) -> Self {
        let valid = RoleType::ALL.map(|kind| (kind, default_days(kind) * DAY)).into();
        Self { product, valid, names: BTreeMap::new() }
    }

    /// What the root says; `None` where it does not say it, as a root of another tool.
    #[must_use]
    pub fn of(root: &Root) -> Option<Self> {
        let Some(Json::Object(member)) = root.head.unrecognized.get(MEMBER) else { return None };
        let Some(Json::String(product)) = member.get("product") else { return None };
        let mut charter = Self::new(product.parse().ok()?);
        if let Some(Json::Object(valid)) = member.get("valid") {
            for kind in RoleType::ALL {
                if let Some(Json::Integer(seconds)) = valid.get(kind.as_str()) {
                    charter.valid.insert(kind, seconds.to_u64()?);
                }
            }
        }
        if let Some(Json::Object(names)) = member.get("names") {
            for (keyid, name) in names {
                if let Json::String(name) = name {
                    charter.names.insert(keyid.clone(), name.clone());
                }
            }
        }
        Some(charter)
    }

    /// Puts it into a root, in place of what was there. Names of keys that the root does not list go.
    pub fn attach(&self, root: &mut Root) {
        let valid = self.valid.iter().map(|(kind, seconds)| (kind.as_str().to_owned(), Json::from(*seconds)));
        let known = self.names.iter().filter(|(keyid, _)| root.keys().contains_key(*keyid));
        let names = known.map(|(keyid, name)| (keyid.clone(), Json::from(name.as_str())));
        let member = Object::from([
            ("names".to_owned(), Json::Object(names.collect())),
            ("product".to_owned(), Json::from(self.product.as_str())),
            ("valid".to_owned(), Json::Object(valid.collect())),
        ]);
        root.head.unrecognized.insert(MEMBER.to_owned(), Json::Object(member));
    }

    /// When an edition that is made now expires.
    #[must_use]
    pub fn expiry(&self, kind: RoleType, now: Timestamp) -> Expires {
        let seconds = i64::try_from(self.seconds(kind)).unwrap_or(i64::MAX);
        let end = now.as_second().saturating_add(seconds);
        Expires::at(Timestamp::from_second(end).unwrap_or(Timestamp::MAX))
    }

    /// Whether less than half of its time is left.
    #[must_use]
    pub fn is_due(&self, kind: RoleType, expires: Expires, now: Timestamp) -> bool {
        let left = expires.moment().as_second().saturating_sub(now.as_second());
        i64::try_from(self.seconds(kind) / 2).is_ok_and(|half| left < half)
    }

    /// What a key is called, with the beginning of its id.
    #[must_use]
    pub fn name(&self, keyid: &str) -> String {
        let short: String = keyid.chars().take(8).collect();
        match self.names.get(keyid) {
            Some(name) => format!("{} ({short})", name.escape_default()),
            None => short,
        }
    }

    fn seconds(&self, kind: RoleType) -> u64 {
        self.valid.get(&kind).copied().unwrap_or(default_days(kind) * DAY)
    }
}

fn default_days(kind: RoleType) -> u64 {
    match kind {
        RoleType::Root => 365,
        RoleType::Targets => 182,
        RoleType::Snapshot => 14,
        RoleType::Timestamp => 3,
    }
}
