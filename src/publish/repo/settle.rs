//! From drafts to what readers see: who is at the desk signs, what is complete is published.

use super::charter::Charter;
use super::desk::{Desk, is_signed, limit, published_path};
use super::error::RepoError;
use super::keys::Engineer;
use crate::tuf::metadata::{
    Delegator, Head, KeyPolicy, MetaFile, Metadata, RoleType, RoleVersion, Root, Signed, Snapshot, Targets, Timestamp,
};

/// What came of a change.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// The files that readers see now, in the order in which they were published.
    pub published: Vec<(RoleType, u64)>,
    /// The drafts that somebody has to sign first.
    pub waiting: Vec<Waiting>,
}

/// A draft that lacks signatures.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The role.
    pub role: RoleType,
    /// The draft's version.
    pub version: u64,
    /// How many signatures are missing.
    pub missing: u64,
    /// Those who may make one: names of keys.
    pub may_sign: Vec<String>,
}

/// What those at the desk want.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) engineers: &'a [Engineer],
    /// The drafts that they may sign: those that this run made, or showed to them.
    pub(super) roles: &'a [RoleType],
    /// Whether to make a new snapshot or timestamp although nothing changed, if it expires before long.
    pub(super) renew: bool,
}

pub(super) const SNAPSHOT_OF_TARGETS: &str = "targets.json";

impl Desk {
    /// Signs what may be signed, publishes what is complete, and stages the rest.
    pub(super) fn settle(&mut self, wish: Wish<'_>) -> Result<Settled, RepoError> {
        self.sign_root(wish)?;
        let judge = self.judging_root()?.clone();
        let charter = Charter::of(&judge).ok_or(RepoError::NoCharter)?;
        let targets_stand = self.settle_targets(&judge, &charter, wish)?;
        let snapshot_stands = targets_stand && self.settle_snapshot(&judge, &charter, wish)?;
        let goes_on = snapshot_stands && self.settle_timestamp(&judge, &charter, wish)?;
        if !targets_stand {
            self.staged.snapshot = None;
        }
        if !snapshot_stands {
            // It would name what is not there.
            self.staged.timestamp = None;
        }
        let mut settled = Settled::default();
        let is_ready = goes_on && self.ready_root().is_some();
        let has_root = self.staged.root.as_ref().is_some_and(|draft| self.is_root_complete(draft));
        if is_ready && (has_root || self.staged.timestamp.is_some()) {
            settled.published = self.publish()?;
        } else {
            self.stage_all()?;
        }
        settled.waiting = self.waiting()?;
        Ok(settled)
    }

    fn sign_root(&mut self, wish: Wish<'_>) -> Result<(), RepoError> {
        // It stays where it is meanwhile: its own keys may sign it, too.
        let Some(mut draft) = self.staged.root.clone() else { return Ok(()) };
        self.sign(&mut draft, wish)?;
        self.staged.root = Some(draft);
        Ok(())
    }

    /// Whether readers can go on: the published targets, or a complete draft.
    fn settle_targets(&mut self, judge: &Root, charter: &Charter, wish: Wish<'_>) -> Result<bool, RepoError> {
        let published_stand = self.current.as_ref().is_some_and(|current| is_signed(judge, &current.targets));
        if self.staged.targets.is_none() && !published_stand {
            self.staged.targets = Some(self.next_targets(charter)?);
        }
        let Some(mut draft) = self.staged.targets.take() else { return Ok(true) };
        self.sign(&mut draft, wish)?;
        let is_complete = is_signed(judge, &draft);
        self.staged.targets = Some(draft);
        Ok(is_complete || published_stand)
    }

    /// The next edition of the published targets, unsigned.
    pub(super) fn next_targets(&self, charter: &Charter) -> Result<Metadata<Targets>, RepoError> {
        let expires = charter.expiry(RoleType::Targets, self.now);
        let Some(current) = &self.current else { return Ok(Metadata::new(Targets::new(Head::first(expires)))) };
        let mut targets = current.targets.signed.clone();
        targets.head.version = next(RoleType::Targets, targets.head.version)?;
        targets.head.expires = expires;
        Ok(Metadata::new(targets))
    }

    fn settle_snapshot(&mut self, judge: &Root, charter: &Charter, wish: Wish<'_>) -> Result<bool, RepoError> {
        let published = self.current.as_ref().map(|current| &current.snapshot);
        let mut meta = published.map(|file| file.signed.meta.clone()).unwrap_or_default();
        if let Some(targets) = self.staged.targets.as_ref().filter(|draft| is_signed(judge, draft)) {
            meta.insert(SNAPSHOT_OF_TARGETS.to_owned(), described(targets)?);
        }
        let stands = published.is_some_and(|file| {
            let is_due = wish.renew && charter.is_due(RoleType::Snapshot, file.signed.head.expires, self.now);
            file.signed.meta == meta && is_signed(judge, file) && !is_due
        });
        if stands {
            self.staged.snapshot = None;
            return Ok(true);
        }
        let version = match published {
            Some(file) => next(RoleType::Snapshot, file.signed.head.version)?,
            None => RoleVersion::FIRST,
        };
        let reusable = self.staged.snapshot.take().filter(|draft| draft.signed.meta == meta);
        let mut draft = self.fresh(reusable, version, charter, |head| {
            let mut snapshot = Snapshot::new(head);
            snapshot.meta.clone_from(&meta);
            snapshot
        });
        self.sign(&mut draft, wish)?;
        let is_complete = is_signed(judge, &draft);
        // What nobody has signed is made anew when somebody does.
        self.staged.snapshot = (!draft.signatures.is_empty()).then_some(draft);
        Ok(is_complete)
    }

    fn settle_timestamp(&mut self, judge: &Root, charter: &Charter, wish: Wish<'_>) -> Result<bool, RepoError> {
        let published = self.current.as_ref().map(|current| &current.timestamp);
        let named = match (&self.staged.snapshot, published) {
            (Some(draft), _) => described(draft)?,
            (None, Some(file)) => file.signed.snapshot.clone(),
            (None, None) => return Ok(false),
        };
        let stands = published.is_some_and(|file| {
            let is_due = wish.renew && charter.is_due(RoleType::Timestamp, file.signed.head.expires, self.now);
            file.signed.snapshot == named && is_signed(judge, file) && !is_due
        });
        if stands {
            self.staged.timestamp = None;
            return Ok(true);
        }
        let version = match published {
            Some(file) => next(RoleType::Timestamp, file.signed.head.version)?,
            None => RoleVersion::FIRST,
        };
        let reusable = self.staged.timestamp.take().filter(|draft| draft.signed.snapshot == named);
        let mut draft = self.fresh(reusable, version, charter, |head| {
            let mut timestamp = Timestamp::new(head);
            timestamp.snapshot.clone_from(&named);
            timestamp
        });
        self.sign(&mut draft, wish)?;
        let is_complete = is_signed(judge, &draft);
        self.staged.timestamp = (!draft.signatures.is_empty()).then_some(draft);
        Ok(is_complete)
    }

    /// The draft that others have signed, if it still has time, or a new one.
    fn fresh<T: Signed>(
        &self,
        reusable: Option<Metadata<T>>,
        version: RoleVersion,
        charter: &Charter,
        make: impl Fn(Head) -> T,
    ) -> Metadata<T> {
        let is_good = |draft: &Metadata<T>| {
            let head = draft.signed.head();
            head.version == version && !charter.is_due(T::TYPE, head.expires, self.now)
        };
        reusable.filter(is_good).unwrap_or_else(|| {
            let head = Head { version, ..Head::first(charter.expiry(T::TYPE, self.now)) };
            Metadata::new(make(head))
        })
    }

    /// Lets those at the desk sign whose signature the draft lacks.
    fn sign<T: Signed>(&self, draft: &mut Metadata<T>, wish: Wish<'_>) -> Result<(), RepoError> {
        if !wish.roles.contains(&T::TYPE) {
            return Ok(());
        }
        for engineer in wish.engineers {
            if self.lacks(draft, &engineer.keyid) {
                draft.add_signature(&engineer.signer)?;
            }
        }
        Ok(())
    }

    /// The roots whose keys may sign drafts: the published one, and the one that is to follow it.
    pub(super) fn roots(&self) -> impl Iterator<Item = &Root> {
        let published = self.root.as_ref().map(|file| &file.signed);
        published.into_iter().chain(self.staged.root.as_ref().map(|draft| &draft.signed))
    }

    /// Whether the key may sign the draft and has not.
    pub(super) fn lacks<T: Signed>(&self, draft: &Metadata<T>, keyid: &str) -> bool {
        self.may_sign(T::TYPE, keyid) && !self.has_signed(draft, keyid)
    }

    pub(super) fn may_sign(&self, kind: RoleType, keyid: &str) -> bool {
        self.roots().any(|root| root.role(kind).keyids.iter().any(|known| known == keyid))
    }

    pub(super) fn has_signed<T: Signed>(&self, draft: &Metadata<T>, keyid: &str) -> bool {
        let Some(signature) = draft.signatures.get(keyid) else { return false };
        let payload = draft.signed_bytes();
        let mut keys = self.roots().filter_map(|root| root.key(keyid));
        keys.any(|key| key.verifies(KeyPolicy::MlDsa, &payload, signature))
    }

    fn stage_all(&self) -> Result<(), RepoError> {
        self.stage(self.staged.root.as_ref())?;
        self.stage(self.staged.targets.as_ref())?;
        self.stage(self.staged.snapshot.as_ref())?;
        self.stage(self.staged.timestamp.as_ref())
    }

    /// Publishes everything that is complete: what the timestamp names first, under names that nobody
    /// asks for yet, and the timestamp after that. Before the first of these steps all of it is staged, so
    /// that a run that is cut short is finished by the next one, with the same bytes.
    pub(super) fn publish(&mut self) -> Result<Vec<(RoleType, u64)>, RepoError> {
        self.stage_all()?;
        if let Some(hold) = &self.hold
            && !hold.is_still_ours()?
        {
            return Err(RepoError::Overtaken(self.place.shown()));
        }
        let root = self.staged.root.clone().filter(|draft| self.is_root_complete(draft));
        let judge = self.ready_root().ok_or_else(|| RepoError::NotARepository(self.place.shown()))?.clone();
        let targets = self.staged.targets.clone().filter(|draft| is_signed(&judge, draft));
        let snapshot = self.staged.snapshot.clone().filter(|draft| is_signed(&judge, draft));
        let timestamp = self.staged.timestamp.clone().filter(|draft| is_signed(&judge, draft));
        let mut published = Vec::new();
        if timestamp.is_some() {
            self.put(targets.as_ref(), &mut published)?;
            self.put(snapshot.as_ref(), &mut published)?;
        }
        // Where the keys of both roots signed, the new root can wait until nothing fails under it. Else there
        // is a moment in which readers get an error, between these two.
        let (before, after) = if self.old_root_accepts(targets.as_ref(), snapshot.as_ref(), timestamp.as_ref()) {
            (None, root)
        } else {
            (root, None)
        };
        self.put(before.as_ref(), &mut published)?;
        if let Some(timestamp) = &timestamp {
            let path = published_path(RoleType::Timestamp, timestamp.signed.head.version);
            self.place.write(&path, &timestamp.to_bytes()?)?;
            published.push((RoleType::Timestamp, timestamp.signed.head.version.get()));
        }
        self.put(after.as_ref(), &mut published)?;
        self.clear(&published)?;
        Ok(published)
    }

    fn old_root_accepts(
        &self,
        targets: Option<&Metadata<Targets>>,
        snapshot: Option<&Metadata<Snapshot>>,
        timestamp: Option<&Metadata<Timestamp>>,
    ) -> bool {
        let Some(old) = self.root.as_ref().filter(|_| self.current.is_some()).map(|file| &file.signed) else {
            return false;
        };
        targets.is_none_or(|draft| is_signed(old, draft))
            && snapshot.is_none_or(|draft| is_signed(old, draft))
            && timestamp.is_none_or(|draft| is_signed(old, draft))
    }

    /// Writes a file under a name that carries its version, which is written once.
    fn put<T: Signed>(
        &self,
        file: Option<&Metadata<T>>,
        published: &mut Vec<(RoleType, u64)>,
    ) -> Result<(), RepoError> {
        let Some(file) = file else { return Ok(()) };
        let version = file.signed.head().version;
        let (path, bytes) = (published_path(T::TYPE, version), file.to_bytes()?);
        match self.place.read(&path, limit(T::TYPE))? {
            Some(known) if known == bytes => {}
            Some(_) => return Err(RepoError::Taken(path)),
            None => self.place.write(&path, &bytes)?,
        }
        published.push((T::TYPE, version.get()));
        Ok(())
    }

    /// Takes what is published from the drafts: the timestamp's first, so that nothing seems cut short.
    fn clear(&mut self, published: &[(RoleType, u64)]) -> Result<(), RepoError> {
        let has = |kind| published.iter().any(|(known, _)| *known == kind);
        if has(RoleType::Timestamp) {
            let (timestamp, snapshot) = (self.staged.timestamp.take(), self.staged.snapshot.take());
            let targets = if has(RoleType::Targets) { self.staged.targets.take() } else { None };
            self.stage::<Timestamp>(None)?;
            self.stage::<Snapshot>(None)?;
            if targets.is_some() {
                self.stage::<Targets>(None)?;
            }
            self.current = match (timestamp, self.current.take()) {
                (Some(timestamp), Some(old)) => Some(super::desk::Current {
                    timestamp,
                    snapshot: snapshot.unwrap_or(old.snapshot),
                    targets: targets.unwrap_or(old.targets),
                }),
                (Some(timestamp), None) => snapshot.zip(targets).map(|(snapshot, targets)| super::desk::Current {
                    timestamp,
                    snapshot,
                    targets,
                }),
                (None, old) => old,
            };
        }
        if has(RoleType::Root) {
            self.root = self.staged.root.take();
            self.stage::<Root>(None)?;
        }
        Ok(())
    }

    /// The drafts that lack signatures, and what waits for the keys that are online.
    pub(super) fn waiting(&self) -> Result<Vec<Waiting>, RepoError> {
        let mut waiting = Vec::new();
        if let Some(draft) = &self.staged.root {
            let previous = self.root.as_ref().map(|file| &file.signed);
            let (payload, signatures) = (draft.signed_bytes(), &draft.signatures);
            if let Ok(result) = draft.signed.root_verification(previous, KeyPolicy::MlDsa, &payload, signatures)
                && !result.is_verified()
            {
                let roots: Vec<_> = self.roots().collect();
                waiting.push(self.waits(&roots, draft, result.first.missing().max(result.second.missing())));
            }
        }
        let judge = self.judging_root()?;
        if let Some(draft) = &self.staged.targets {
            self.wait_for(judge, draft, &mut waiting);
        }
        let targets_are_new = self.staged.targets.as_ref().is_some_and(|draft| is_signed(judge, draft));
        let current = self.current.as_ref();
        let snapshot_is_new = targets_are_new || current.is_some_and(|it| !is_signed(judge, &it.snapshot));
        let timestamp_is_new = snapshot_is_new || current.is_some_and(|it| !is_signed(judge, &it.timestamp));
        match &self.staged.snapshot {
            Some(draft) => self.wait_for(judge, draft, &mut waiting),
            None if snapshot_is_new => self.wait_for(judge, &self.unmade::<Snapshot>(Snapshot::new), &mut waiting),
            None => {}
        }
        match &self.staged.timestamp {
            Some(draft) => self.wait_for(judge, draft, &mut waiting),
            None if timestamp_is_new => self.wait_for(judge, &self.unmade::<Timestamp>(Timestamp::new), &mut waiting),
            None => {}
        }
        Ok(waiting)
    }

    /// What is made once somebody is there who signs it.
    fn unmade<T: Signed>(&self, make: impl Fn(Head) -> T) -> Metadata<T> {
        let current = self.current.as_ref();
        let published = current.map(|it| match T::TYPE {
            RoleType::Snapshot => it.snapshot.signed.head.version,
            _ => it.timestamp.signed.head.version,
        });
        let version = published.and_then(RoleVersion::next).unwrap_or(RoleVersion::FIRST);
        Metadata::new(make(Head { version, ..Head::first(crate::tuf::metadata::Expires::at(self.now)) }))
    }

    fn wait_for<T: Signed>(&self, judge: &Root, draft: &Metadata<T>, into: &mut Vec<Waiting>) {
        let (role, payload) = (T::TYPE.as_str(), draft.signed_bytes());
        if let Ok(result) = judge.verification(KeyPolicy::MlDsa, role, &payload, &draft.signatures)
            && !result.is_verified()
        {
            into.push(self.waits(&[judge], draft, result.missing()));
        }
    }

    fn waits<T: Signed>(&self, roots: &[&Root], draft: &Metadata<T>, missing: u64) -> Waiting {
        let mut may_sign = Vec::new();
        for root in roots {
            let charter = Charter::of(root);
            for keyid in &root.role(T::TYPE).keyids {
                let name = charter.as_ref().map_or_else(|| keyid.clone(), |charter| charter.name(keyid));
                if self.lacks(draft, keyid) && !may_sign.contains(&name) {
                    may_sign.push(name);
                }
            }
        }
        Waiting { role: T::TYPE, version: draft.signed.head().version.get(), missing, may_sign }
    }
}

pub(super) fn next(kind: RoleType, version: RoleVersion) -> Result<RoleVersion, RepoError> {
    version.next().ok_or(RepoError::LastVersion(kind))
}

/// What is said about a file of which these bytes are published.
fn described<T: Signed>(file: &Metadata<T>) -> Result<MetaFile, RepoError> {
    let bytes = file.to_bytes()?;
    let described = MetaFile::of_content(file.signed.head().version, &mut &bytes[..]);
    Ok(described.map_err(|error| crate::sys::SysError::read_of("metadata", error))?)
}
