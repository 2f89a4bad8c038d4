//! What is published, and what lies beside it: read and verified, and held against others who would
//! change it at the same time.

use jiff::Timestamp as Moment;

use super::charter::Charter;
use super::error::RepoError;
use super::place::{Hold, METADATA, Place, STAGED};
use crate::tuf::metadata::{
    Delegator, KeyPolicy, Metadata, RoleType, RoleVersion, Root, Signed, Snapshot, Targets, Timestamp,
};
use crate::tuf::{MetadataError, Rules, TrustedSet};
use crate::types::ByteLimit;

/// A repository, as its engineers see it.
#[derive(Debug)]
pub struct Desk {
    pub(super) place: Box<dyn Place>,
    pub(super) hold: Option<Box<dyn Hold>>,
    /// The one time by which everything is judged.
    pub(super) now: Moment,
    pub(super) root: Option<Metadata<Root>>,
    pub(super) current: Option<Current>,
    pub(super) staged: Staged,
    /// Why the newest root does not accept what is published: a publication was cut short.
    pub(super) broken: Option<MetadataError>,
}

/// The published files beside the root.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) timestamp: Metadata<Timestamp>,
    pub(super) snapshot: Metadata<Snapshot>,
    pub(super) targets: Metadata<Targets>,
}

/// Drafts: what still lacks signatures, or is just being published.
#[derive(Clone, Debug, Default)]
pub(super) struct Staged {
    pub(super) root: Option<Metadata<Root>>,
    pub(super) targets: Option<Metadata<Targets>>,
    pub(super) snapshot: Option<Metadata<Snapshot>>,
    pub(super) timestamp: Option<Metadata<Timestamp>>,
}

pub(super) fn limit(kind: RoleType) -> ByteLimit {
    Rules::own().limits.of(kind)
}

pub(super) fn staged_path(kind: RoleType) -> String {
    format!("{STAGED}/{kind}.json")
}

pub(super) fn published_path(kind: RoleType, version: RoleVersion) -> String {
    match kind {
        RoleType::Timestamp => format!("{METADATA}/timestamp.json"),
        kind => format!("{METADATA}/{version}.{kind}.json"),
    }
}

/// Whether enough keys of the role, by this root, signed the file.
pub(super) fn is_signed<T: Signed>(root: &Root, metadata: &Metadata<T>) -> bool {
    let role = T::TYPE.as_str();
    root.verify_delegate(KeyPolicy::MlDsa, role, &metadata.signed_bytes(), &metadata.signatures).is_ok()
}

impl Desk {
    /// Takes the right to change the repository, and finishes a publication that was cut short.
    pub fn open(place: Box<dyn Place>, now: Moment) -> Result<Self, RepoError> {
        let mut desk = Self::held(place, now)?;
        desk.load()?;
        desk.finish()?;
        Ok(desk)
    }

    /// With the right to change the repository, of which nothing is read yet.
    pub(super) fn held(place: Box<dyn Place>, now: Moment) -> Result<Self, RepoError> {
        let hold = place.lock()?.ok_or_else(|| RepoError::Busy(place.shown()))?;
        Ok(Self { hold: Some(hold), ..Self::of(place, now) })
    }

    fn of(place: Box<dyn Place>, now: Moment) -> Self {
        Self { place, hold: None, now, root: None, current: None, staged: Staged::default(), broken: None }
    }

    /// Finishes a publication that was cut short, and says what readers see of it now.
    pub(super) fn finish(&mut self) -> Result<Vec<(RoleType, u64)>, RepoError> {
        let mut published = Vec::new();
        if self.was_cut_short()? {
            published = self.publish()?;
            self.load()?;
        }
        self.clear_leftovers()?;
        match self.broken.take() {
            Some(source) => Err(RepoError::Published { place: self.place.shown(), source }),
            None => Ok(published),
        }
    }

    /// Looks without a right to change anything.
    pub fn look(place: Box<dyn Place>, now: Moment) -> Result<Self, RepoError> {
        let mut desk = Self::of(place, now);
        desk.load()?;
        if desk.root.is_none() && desk.staged.root.is_none() {
            return Err(RepoError::NotARepository(desk.place.shown()));
        }
        Ok(desk)
    }

    pub(super) fn load(&mut self) -> Result<(), RepoError> {
        self.load_published()?;
        self.staged = Staged {
            root: self.draft(self.root.as_ref().map(|file| file.signed.head.version))?,
            targets: self.draft(self.current.as_ref().map(|current| current.targets.signed.head.version))?,
            snapshot: self.draft(self.current.as_ref().map(|current| current.snapshot.signed.head.version))?,
            timestamp: self.draft(self.current.as_ref().map(|current| current.timestamp.signed.head.version))?,
        };
        Ok(())
    }

    // The chain is verified as a client verifies it, at a time at which nothing has expired: what has can
    // still be replaced.
    fn load_published(&mut self) -> Result<(), RepoError> {
        (self.root, self.current, self.broken) = (None, None, None);
        let failed = |source| RepoError::Published { place: self.place.shown(), source };
        let Some(mut newest) = self.published(RoleType::Root, RoleVersion::FIRST)? else { return Ok(()) };
        let mut set = TrustedSet::bootstrap(&newest, Rules::own(), Moment::MIN).map_err(failed)?;
        while let Some(next) = set.root().head.version.next() {
            let Some(bytes) = self.published(RoleType::Root, next)? else { break };
            set = set.update_root(&bytes).map_err(failed)?;
            newest = bytes;
        }
        let set = set.finish_root().map_err(failed)?;
        let root = parse(&newest, &published_path(RoleType::Root, set.root().head.version))?;
        let Some(timestamp) = self.published(RoleType::Timestamp, RoleVersion::FIRST)? else {
            self.root = Some(root);
            return Ok(());
        };
        let current = (|| {
            let (set, _) = set.update_timestamp(&timestamp).map_err(Trouble::Untrusted)?;
            let version = set.timestamp().snapshot.version;
            let snapshot = self.named(RoleType::Snapshot, version)?;
            let set = set.update_snapshot(&snapshot).map_err(Trouble::Untrusted)?;
            let version = set.described_targets().map_err(Trouble::Untrusted)?.version;
            let targets = self.named(RoleType::Targets, version)?;
            set.update_targets(&targets).map_err(Trouble::Untrusted)?;
            let read = |kind| published_path(kind, version);
            Ok(Current {
                timestamp: parse(&timestamp, &read(RoleType::Timestamp))?,
                snapshot: parse(&snapshot, &read(RoleType::Snapshot))?,
                targets: parse(&targets, &read(RoleType::Targets))?,
            })
        })();
        self.root = Some(root);
        match current {
            Ok(current) => self.current = Some(current),
            Err(Trouble::Untrusted(error)) => self.broken = Some(error),
            Err(Trouble::Other(error)) => return Err(error),
        }
        Ok(())
    }

    fn published(&self, kind: RoleType, version: RoleVersion) -> Result<Option<Vec<u8>>, RepoError> {
        Ok(self.place.read(&published_path(kind, version), limit(kind))?)
    }

    fn named(&self, kind: RoleType, version: RoleVersion) -> Result<Vec<u8>, RepoError> {
        let bytes = self.published(kind, version)?;
        bytes.ok_or_else(|| RepoError::Missing { path: published_path(kind, version) })
    }

    /// The draft of a role. One that is published already is none: a run was cut short behind that.
    fn draft<T: Signed>(&self, published: Option<RoleVersion>) -> Result<Option<Metadata<T>>, RepoError> {
        let path = staged_path(T::TYPE);
        let Some(bytes) = self.place.read(&path, limit(T::TYPE))? else { return Ok(None) };
        let draft: Metadata<T> = parse(&bytes, &path)?;
        let Some(published) = published else { return Ok(Some(draft)) };
        let version = draft.signed.head().version;
        if published.next() == Some(version) {
            return Ok(Some(draft));
        }
        let same = self.place.read(&published_path(T::TYPE, version), limit(T::TYPE))?.is_some_and(|it| it == bytes);
        if same || matches!(T::TYPE, RoleType::Snapshot | RoleType::Timestamp) {
            return Ok(None);
        }
        Err(RepoError::Stale { role: T::TYPE, draft: version.get(), published: published.get() })
    }

    /// Whether a run was cut short while it published: the timestamp's draft, which is staged last, is
    /// complete under the root that would be the newest one, and everything that it names is there.
    fn was_cut_short(&self) -> Result<bool, RepoError> {
        let (Some(root), Some(timestamp)) = (self.ready_root(), &self.staged.timestamp) else { return Ok(false) };
        if !is_signed(root, timestamp) {
            return Ok(false);
        }
        let named = &timestamp.signed.snapshot;
        let Some(bytes) = self.staged_or_published(self.staged.snapshot.as_ref(), named.version)? else {
            return Ok(false);
        };
        let Ok(snapshot) = parse::<Snapshot>(&bytes, "") else { return Ok(false) };
        let Some(targets) = snapshot.signed.role(RoleType::Targets.as_str()) else { return Ok(false) };
        let Some(described) = self.staged_or_published(self.staged.targets.as_ref(), targets.version)? else {
            return Ok(false);
        };
        Ok(named.verify(&bytes).is_ok() && is_signed(root, &snapshot) && targets.verify(&described).is_ok())
    }

    /// Removes drafts that were published, where a run was cut short before it did.
    fn clear_leftovers(&self) -> Result<(), RepoError> {
        let names = self.place.names(STAGED)?;
        let is_draft = |kind| match kind {
            RoleType::Root => self.staged.root.is_some(),
            RoleType::Targets => self.staged.targets.is_some(),
            RoleType::Snapshot => self.staged.snapshot.is_some(),
            RoleType::Timestamp => self.staged.timestamp.is_some(),
        };
        for kind in RoleType::ALL {
            if !is_draft(kind) && names.contains(&format!("{kind}.json")) {
                self.place.remove(&staged_path(kind))?;
            }
        }
        Ok(())
    }

    fn staged_or_published<T: Signed>(
        &self,
        draft: Option<&Metadata<T>>,
        version: RoleVersion,
    ) -> Result<Option<Vec<u8>>, RepoError> {
        match draft.filter(|draft| draft.signed.head().version == version) {
            Some(draft) => Ok(Some(draft.to_bytes()?)),
            None => self.published(T::TYPE, version),
        }
    }

    /// The root by which clients will judge: the draft once it is complete, else the published one.
    pub(super) fn ready_root(&self) -> Option<&Root> {
        match &self.staged.root {
            Some(draft) if self.is_root_complete(draft) => Some(&draft.signed),
            _ => self.root.as_ref().map(|file| &file.signed),
        }
    }

    /// As [`Self::ready_root`]; before there is one, the draft of the first.
    pub(super) fn judging_root(&self) -> Result<&Root, RepoError> {
        let draft = self.staged.root.as_ref().map(|draft| &draft.signed);
        self.ready_root().or(draft).ok_or_else(|| RepoError::NotARepository(self.place.shown()))
    }

    pub(super) fn is_root_complete(&self, draft: &Metadata<Root>) -> bool {
        let previous = self.root.as_ref().map(|file| &file.signed);
        draft
            .signed
            .root_verification(previous, KeyPolicy::MlDsa, &draft.signed_bytes(), &draft.signatures)
            .is_ok_and(|result| result.is_verified())
    }

    /// What the root says about the product.
    pub fn charter(&self) -> Result<Charter, RepoError> {
        Charter::of(self.judging_root()?).ok_or(RepoError::NoCharter)
    }

    /// Where the repository lies.
    #[must_use]
    pub fn shown(&self) -> String {
        self.place.shown()
    }

    pub(super) fn stage<T: Signed>(&self, draft: Option<&Metadata<T>>) -> Result<(), RepoError> {
        let path = staged_path(T::TYPE);
        match draft {
            Some(draft) => Ok(self.place.write(&path, &draft.to_bytes()?)?),
            None => Ok(self.place.remove(&path)?),
        }
    }
}

enum Trouble {
    Untrusted(MetadataError),
    Other(RepoError),
}

impl From<RepoError> for Trouble {
    fn from(error: RepoError) -> Self {
        Self::Other(error)
    }
}

fn parse<T: Signed>(bytes: &[u8], path: &str) -> Result<Metadata<T>, RepoError> {
    Metadata::from_bytes(bytes, limit(T::TYPE)).map_err(|source| RepoError::Format { path: path.to_owned(), source })
}
