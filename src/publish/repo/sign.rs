//! One signature at a time, by somebody who has seen what it is for.

use jiff::Timestamp as Moment;

use super::desk::{Desk, staged_path};
use super::diff::{Change, changes, signed_part};
use super::error::RepoError;
use super::keys::Engineer;
use super::place::{Place, TARGETS};
use super::settle::{Settled, Wish};
use crate::tuf::metadata::{Metadata, RoleType, Root, Signed, TargetFile, Targets};

/// A draft against what is published.
#[derive(Clone, Debug)]
pub struct Review {
    /// The role.
    pub role: RoleType,
    /// The draft's version.
    pub version: u64,
    /// The published version, if there is one.
    pub published: Option<u64>,
    /// Every member that differs.
    pub changes: Vec<Change>,
}

impl Desk {
    /// Every draft of root and targets, with all its changes. Snapshots and timestamps follow from them.
    pub fn review(&self) -> Result<Vec<Review>, RepoError> {
        let mut reviews = Vec::new();
        if let Some(draft) = &self.staged.root {
            reviews.push(review(draft, self.root.as_ref())?);
        }
        if let Some(draft) = &self.staged.targets {
            reviews.push(review(draft, self.current.as_ref().map(|current| &current.targets))?);
        }
        if let Some(draft) = &self.staged.snapshot {
            reviews.push(review(draft, self.current.as_ref().map(|current| &current.snapshot))?);
        }
        if let Some(draft) = &self.staged.timestamp {
            reviews.push(review(draft, self.current.as_ref().map(|current| &current.timestamp))?);
        }
        Ok(reviews)
    }

    /// The drafts that this key may sign and has not signed. An error where there is none, and why.
    pub fn waits_for(&self, engineer: &Engineer) -> Result<Vec<RoleType>, RepoError> {
        self.know(std::slice::from_ref(engineer))?;
        let (mut lacking, mut signed) = (Vec::new(), None);
        let mut note = |role: RoleType, lacks: bool, has: bool| {
            if lacks {
                lacking.push(role);
            } else if has {
                signed = signed.or(Some(role));
            }
        };
        let keyid = &engineer.keyid;
        if let Some(draft) = &self.staged.root {
            note(RoleType::Root, self.lacks(draft, keyid), self.has_signed(draft, keyid));
        }
        if let Some(draft) = &self.staged.targets {
            note(RoleType::Targets, self.lacks(draft, keyid), self.has_signed(draft, keyid));
        }
        if let Some(draft) = &self.staged.snapshot {
            note(RoleType::Snapshot, self.lacks(draft, keyid), self.has_signed(draft, keyid));
        }
        if let Some(draft) = &self.staged.timestamp {
            note(RoleType::Timestamp, self.lacks(draft, keyid), self.has_signed(draft, keyid));
        }
        match (lacking.is_empty(), signed) {
            (false, _) => Ok(lacking),
            (true, Some(role)) => Err(RepoError::SignedAlready { path: engineer.path.clone(), role }),
            (true, None) => Err(RepoError::NothingToSign(engineer.path.clone())),
        }
    }

    /// Adds the signatures of one engineer to these drafts, and publishes what is complete with it.
    pub fn sign_drafts(&mut self, engineer: &Engineer, roles: &[RoleType]) -> Result<Settled, RepoError> {
        let roles: Vec<_> = roles.iter().copied().chain([RoleType::Snapshot, RoleType::Timestamp]).collect();
        self.settle(Wish { engineers: std::slice::from_ref(engineer), roles: &roles, renew: false })
    }

    /// Gives up a draft, and the files that it alone names. Also one that cannot be read, or that was made
    /// for an older state.
    pub fn discard(place: Box<dyn Place>, role: RoleType, now: Moment) -> Result<Settled, RepoError> {
        let mut desk = Self::held(place, now)?;
        let path = staged_path(role);
        match desk.load() {
            Ok(()) => {}
            Err(RepoError::Stale { role: stale, .. }) if stale == role => return desk.forget(&path),
            Err(RepoError::Format { path: bad, .. }) if bad == path => return desk.forget(&path),
            Err(error) => return Err(error),
        }
        desk.finish()?;
        desk.give_up(role)?;
        let waiting = if desk.roots().next().is_some() { desk.waiting()? } else { Vec::new() };
        Ok(Settled { published: Vec::new(), waiting })
    }

    fn forget(&self, path: &str) -> Result<Settled, RepoError> {
        self.place.remove(path)?;
        Ok(Settled::default())
    }

    fn give_up(&mut self, role: RoleType) -> Result<(), RepoError> {
        match role {
            RoleType::Root if self.staged.root.take().is_some() => self.stage::<Root>(None),
            RoleType::Targets => {
                let draft = self.staged.targets.take().ok_or(RepoError::NoDraft(role))?;
                let published = self.current.as_ref().map(|current| &current.targets.signed);
                for (path, target) in draft.signed.targets() {
                    if published.is_none_or(|published| published.target(path) != Some(target)) {
                        self.forget_content(path, target)?;
                    }
                }
                self.stage::<Targets>(None)
            }
            role => Err(RepoError::NoDraft(role)),
        }
    }

    fn forget_content(&self, path: &str, target: &TargetFile) -> Result<(), RepoError> {
        let published = self.current.as_ref().and_then(|current| current.targets.signed.target(path));
        // A change of what is said about a file is none of the file.
        if published.is_some_and(|known| known.digests == target.digests) {
            return Ok(());
        }
        Ok(self.place.remove(&format!("{TARGETS}/{}", target.prefixed_path()))?)
    }
}

fn review<T: Signed>(draft: &Metadata<T>, published: Option<&Metadata<T>>) -> Result<Review, RepoError> {
    let before = published.map(signed_part).transpose()?;
    Ok(Review {
        role: T::TYPE,
        version: draft.signed.head().version.get(),
        published: published.map(|file| file.signed.head().version.get()),
        changes: changes(before.as_ref(), &signed_part(draft)?),
    })
}
