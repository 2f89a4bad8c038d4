use jiff::Timestamp as Moment;
use serde_json::{Value, json};

use super::charter::Charter;
use super::desk::Desk;
use super::error::RepoError;
use super::settle::Waiting;
use crate::tuf::ReleaseDescription;
use crate::tuf::metadata::{Expires, Metadata, RoleType, Root, Signed};
use crate::types::Product;

/// Who must sign what, and what expires when.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whose releases.
    pub product: Product,
    /// The four roles.
    pub roles: Vec<RoleStatus>,
    /// The drafts that lack signatures.
    pub waiting: Vec<Waiting>,
    /// The releases that readers see.
    pub releases: Vec<ReleaseDescription>,
    /// Why readers get an error at the moment, if they do.
    pub broken: Option<String>,
}

/// A role of the top level.
#[derive(Clone, Debug)]
pub struct RoleStatus {
    /// Which.
    pub role: RoleType,
    /// What is published: version and expiry.
    pub published: Option<(u64, Expires)>,
    /// The version of the draft.
    pub draft: Option<u64>,
    /// How many keys must sign.
    pub threshold: u64,
    /// What the keys are called.
    pub keys: Vec<String>,
    /// Whether it has expired.
    pub is_expired: bool,
    /// Whether less than half of its time is left.
    pub is_due: bool,
}

impl Desk {
    /// The state of the repository.
    pub fn status(&self) -> Result<Status, RepoError> {
        let root = self.root.as_ref().map_or_else(|| self.judging_root(), |file| Ok(&file.signed))?;
        let charter = Charter::of(root).ok_or(RepoError::NoCharter)?;
        let current = self.current.as_ref();
        let now = self.now;
        let roles = vec![
            role(root, &charter, now, self.root.as_ref(), self.staged.root.as_ref()),
            role(root, &charter, now, current.map(|it| &it.targets), self.staged.targets.as_ref()),
            role(root, &charter, now, current.map(|it| &it.snapshot), self.staged.snapshot.as_ref()),
            role(root, &charter, now, current.map(|it| &it.timestamp), self.staged.timestamp.as_ref()),
        ];
        let targets = current.into_iter().flat_map(|it| it.targets.signed.targets().values());
        let mut releases: Vec<_> = targets.filter_map(|target| Some(ReleaseDescription::of(target).ok()??.0)).collect();
        releases.sort_by(|a, b| (&b.id.version, &b.id.target).cmp(&(&a.id.version, &a.id.target)));
        let broken = self.broken.as_ref().map(ToString::to_string);
        Ok(Status { product: charter.product.clone(), roles, waiting: self.waiting()?, releases, broken })
    }
}

fn role<T: Signed>(
    root: &Root,
    charter: &Charter,
    now: Moment,
    published: Option<&Metadata<T>>,
    draft: Option<&Metadata<T>>,
) -> RoleStatus {
    let head = published.map(|file| file.signed.head());
    RoleStatus {
        role: T::TYPE,
        published: head.map(|head| (head.version.get(), head.expires)),
        draft: draft.map(|draft| draft.signed.head().version.get()),
        threshold: root.role(T::TYPE).threshold.get(),
        keys: root.role(T::TYPE).keyids.iter().map(|keyid| charter.name(keyid)).collect(),
        is_expired: head.is_some_and(|head| head.is_expired(now)),
        is_due: head.is_some_and(|head| charter.is_due(T::TYPE, head.expires, now)),
    }
}

impl Status {
    /// For scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let roles: Vec<_> = self.roles.iter().map(RoleStatus::to_json).collect();
        let waiting: Vec<_> = self.waiting.iter().map(Waiting::to_json).collect();
        let releases: Vec<_> = self.releases.iter().map(release).collect();
        json!({
            "broken": self.broken,
            "product": self.product,
            "releases": releases,
            "roles": roles,
            "waiting": waiting,
        })
    }
}

impl RoleStatus {
    fn to_json(&self) -> Value {
        json!({
            "draft": self.draft,
            "due": self.is_due,
            "expired": self.is_expired,
            "expires": self.published.map(|(_, expires)| expires.to_string()),
            "keys": self.keys,
            "role": self.role.as_str(),
            "threshold": self.threshold,
            "version": self.published.map(|(version, _)| version),
        })
    }
}

impl Waiting {
    /// For scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "may_sign": self.may_sign,
            "missing": self.missing,
            "role": self.role.as_str(),
            "version": self.version,
        })
    }
}

fn release(release: &ReleaseDescription) -> Value {
    let rollout = release.rollout.as_ref();
    json!({
        "channel": release.channel,
        "halted": rollout.is_some_and(crate::types::RolloutPolicy::is_halted),
        "start": rollout.map(|rollout| rollout.start().to_string()),
        "target": release.id.target,
        "version": release.id.version,
    })
}
