//! Who signs for which role: the first root, changes of keys, and new editions with more time.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use jiff::Timestamp as Moment;

use super::charter::Charter;
use super::desk::Desk;
use super::error::RepoError;
use super::keys::{Engineer, NamedKey};
use super::place::{METADATA, Place, PlaceError, STAGED};
use super::settle::{Settled, Wish, next};
use crate::tuf::metadata::{Head, Metadata, Role, RoleType, Root};
use crate::types::Product;

/// A repository that is to be made.
#[derive(Debug)]
pub struct Init {
    /// Whose releases it holds.
    pub product: Product,
    /// Who may sign for each role.
    pub keys: BTreeMap<RoleType, Vec<NamedKey>>,
    /// How many must; one where it is left out, and more than half of several root keys.
    pub thresholds: BTreeMap<RoleType, u64>,
    /// For how many seconds an edition of each role's file is valid; the customary times where left out.
    pub valid: BTreeMap<RoleType, u64>,
}

/// A change of who signs for a role.
#[derive(Debug, Default)]
pub struct Rotation {
    /// New keys.
    pub add: Vec<NamedKey>,
    /// Keys to take away: the beginnings of their ids, or their names.
    pub remove: Vec<String>,
    /// How many must sign from now on; as before where left out.
    pub threshold: Option<u64>,
}

impl Desk {
    /// Makes a repository: drafts of the first root and of empty targets, which are published as soon as
    /// enough keys have signed.
    pub fn init(
        open: impl FnOnce() -> Result<Box<dyn Place>, PlaceError>,
        init: &Init,
        engineers: &[Engineer],
        now: Moment,
    ) -> Result<(Self, Settled), RepoError> {
        let root = init.root(now)?;
        let is_known = |keyid: &String| RoleType::ALL.into_iter().any(|kind| root.role(kind).keyids.contains(keyid));
        // Before a folder is made.
        for engineer in engineers {
            if !is_known(&engineer.keyid) {
                return Err(engineer.unknown());
            }
        }
        let mut desk = Self::held(open()?, now)?;
        if !desk.place.names(METADATA)?.is_empty() || !desk.place.names(STAGED)?.is_empty() {
            return Err(RepoError::AlreadyThere(desk.place.shown()));
        }
        desk.staged.root = Some(Metadata::new(root));
        let settled = desk.settle(Wish { engineers, roles: &RoleType::ALL, renew: false })?;
        Ok((desk, settled))
    }

    /// Refuses those whose key no role knows, before anything is done.
    pub(super) fn know(&self, engineers: &[Engineer]) -> Result<(), RepoError> {
        for engineer in engineers {
            if !RoleType::ALL.into_iter().any(|kind| self.may_sign(kind, &engineer.keyid)) {
                return Err(engineer.unknown());
            }
        }
        Ok(())
    }

    /// Changes who signs for a role, from the next root on; without a change, a next edition of the root
    /// with more time. Drafts that others made meanwhile are signed with `sign` alone.
    pub fn rotate(
        &mut self,
        kind: RoleType,
        rotation: &Rotation,
        engineers: &[Engineer],
    ) -> Result<Settled, RepoError> {
        let is_new = self.staged.root.is_none();
        let mut charter = self.charter()?;
        let mut root = self.draft_root(&charter)?;
        let role = |root: &Root| root.role(kind).keyids.clone();
        for removed in &rotation.remove {
            let is_meant = |keyid: &&String| {
                keyid.starts_with(removed.as_str()) || charter.names.get(*keyid).is_some_and(|name| name == removed)
            };
            let keyids = role(&root);
            let mut meant = keyids.iter().filter(is_meant);
            let (Some(keyid), None) = (meant.next(), meant.next()) else {
                return Err(RepoError::NoSuchKey { role: kind, key: removed.clone() });
            };
            root.revoke_key(keyid, kind).map_err(|_| RepoError::NoSuchKey { role: kind, key: removed.clone() })?;
        }
        for named in &rotation.add {
            charter.names.insert(named.key.keyid().to_owned(), named.name.clone());
            root.add_key(named.key.clone(), kind);
        }
        let threshold = rotation.threshold.unwrap_or(root.role(kind).threshold.get());
        root.role_mut(kind).threshold = checked(kind, threshold, role(&root).len())?;
        charter.attach(&mut root);
        self.staged.root = Some(Metadata::new(root));
        self.know(engineers)?;
        // What this run made may be signed unseen; what was there before may not.
        let targets_are_new = self.staged.targets.is_none();
        let mut roles = vec![RoleType::Snapshot, RoleType::Timestamp];
        roles.extend(is_new.then_some(RoleType::Root));
        roles.extend(targets_are_new.then_some(RoleType::Targets));
        self.settle(Wish { engineers, roles: &roles, renew: false })
    }

    /// The next edition of targets, unchanged and with more time.
    pub fn renew_targets(&mut self, engineers: &[Engineer]) -> Result<Settled, RepoError> {
        self.know(engineers)?;
        let mut roles = vec![RoleType::Snapshot, RoleType::Timestamp];
        if self.staged.targets.is_none() {
            self.staged.targets = Some(self.next_targets(&self.charter()?)?);
            roles.push(RoleType::Targets);
        }
        self.settle(Wish { engineers, roles: &roles, renew: false })
    }

    /// New editions of snapshot and timestamp: of what is complete by now, and where less than half of
    /// their time is left.
    pub fn refresh(&mut self, engineers: &[Engineer]) -> Result<Settled, RepoError> {
        self.know(engineers)?;
        self.settle(Wish { engineers, roles: &[RoleType::Snapshot, RoleType::Timestamp], renew: true })
    }

    fn draft_root(&self, charter: &Charter) -> Result<Root, RepoError> {
        if let Some(draft) = &self.staged.root {
            return Ok(draft.signed.clone());
        }
        let mut root = self.judging_root()?.clone();
        root.head.version = next(RoleType::Root, root.head.version)?;
        root.head.expires = charter.expiry(RoleType::Root, self.now);
        Ok(root)
    }
}

impl Init {
    fn root(&self, now: Moment) -> Result<Root, RepoError> {
        let mut charter = Charter::new(self.product.clone());
        charter.valid.extend(self.valid.iter().map(|(kind, seconds)| (*kind, *seconds)));
        let keys = |kind: RoleType| self.keys.get(&kind).map(Vec::as_slice).unwrap_or_default();
        let mut thresholds = BTreeMap::new();
        for kind in RoleType::ALL {
            let count = distinct(keys(kind));
            let customary = if kind == RoleType::Root { count as u64 / 2 + 1 } else { 1 };
            let threshold = self.thresholds.get(&kind).copied().unwrap_or(customary);
            thresholds.insert(kind, checked(kind, threshold, count)?);
        }
        let head = Head::first(charter.expiry(RoleType::Root, now));
        let role = |kind: RoleType| Role { threshold: thresholds[&kind], ..Role::one_of(Vec::<String>::new()) };
        let mut root = Root::new(head, [], role);
        for kind in RoleType::ALL {
            for named in keys(kind) {
                charter.names.insert(named.key.keyid().to_owned(), named.name.clone());
                root.add_key(named.key.clone(), kind);
            }
        }
        charter.attach(&mut root);
        Ok(root)
    }
}

fn distinct(keys: &[NamedKey]) -> usize {
    keys.iter().map(|named| named.key.keyid()).collect::<std::collections::BTreeSet<_>>().len()
}

fn checked(role: RoleType, threshold: u64, keys: usize) -> Result<NonZeroU64, RepoError> {
    match NonZeroU64::new(threshold) {
        Some(number) if threshold <= keys as u64 => Ok(number),
        _ => Err(RepoError::Threshold { role, threshold, keys }),
    }
}
