//! What of a repository somebody may still ask for, and what nobody does any more. Names and times alone: no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::names::Kind;
use crate::publish::repo::place::Stored;
use crate::tuf::metadata::{RoleType, RoleVersion};
use crate::types::Product;

/// What verified metadata and drafts hold on to.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    pub(super) product: Product,
    /// The published editions.
    pub(super) targets: RoleVersion,
    pub(super) snapshot: RoleVersion,
    /// Other editions that drafts name.
    pub(super) editions: BTreeSet<(RoleType, RoleVersion)>,
    /// The targets of the published edition and of the draft, by their paths in the place.
    pub(super) named: BTreeSet<String>,
}

/// The times by which it is decided, by the clock of the place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) now: Timestamp,
    pub(super) grace: Duration,
}

/// Why a file is left although nothing that is published names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Odd {
    /// Its name is none that a repository gives.
    Name,
    /// An edition newer than the published one: an older timestamp was put back, or a publication was given up.
    Newer,
    /// A superseded edition that cannot be read: what it names is not known until its time is over.
    Unreadable,
}

/// The files of a repository, by what becomes of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    /// Superseded editions whose time is over, each role's oldest first.
    pub(super) over: Vec<(RoleType, RoleVersion, Stored)>,
    /// Other editions of targets that readers may still have in hand, newest first: what they name stays.
    pub(super) in_hand: Vec<RoleVersion>,
    /// Archives and signatures that are old enough, and that neither the published edition nor a draft names.
    pub(super) unnamed: Vec<(Kind, Stored)>,
    /// Archives of which the name alone is left.
    pub(super) remembered: usize,
    /// What an old check of the place left.
    pub(super) scratch: Vec<Stored>,
    /// What is left for people to look at.
    pub(super) odd: Vec<(String, Odd)>,
    /// How many files stay because somebody may ask for them.
    pub(super) kept: usize,
}

/// While the timestamp is younger than that, the editions right before the published ones stay: a publication that was
/// cut short and finished later leaves files that are older than the moment from which readers saw them.
const JUST_PUBLISHED: Duration = Duration::from_hours(6);

impl Times {
    fn before(self, time: Duration) -> Timestamp {
        self.now.checked_sub(time).unwrap_or(Timestamp::MIN)
    }

    /// Whether the grace has passed since.
    fn is_over(self, since: Timestamp) -> bool {
        since <= self.before(self.grace)
    }

    fn is_recent(self, since: Timestamp) -> bool {
        since > self.before(self.grace.min(JUST_PUBLISHED))
    }
}

impl Sorted {
    pub(super) fn of(files: &[Stored], roots: &Roots, times: Times) -> Self {
        let kinds: Vec<_> = files.iter().map(|file| (Kind::of(&file.path, &roots.product), file)).collect();
        let mut written: BTreeMap<(RoleType, RoleVersion), Timestamp> = BTreeMap::new();
        let mut timestamp = Timestamp::MAX;
        for (kind, file) in &kinds {
            match kind {
                Kind::Edition(role, version) => drop(written.insert((*role, *version), file.modified)),
                Kind::Timestamp => timestamp = file.modified,
                _ => {}
            }
        }
        // No store says when a file was superseded. The next edition was there before anybody could follow it, and was
        // named at most a publication later.
        let superseded = |role: RoleType, version: RoleVersion| {
            let ((_, next), at) = written.range((role, version)..).nth(1).filter(|((other, _), _)| *other == role)?;
            let is_last = *next == roots.published(role);
            if is_last && times.is_recent(timestamp) { None } else { Some(*at) }
        };
        let mut sorted = Self::default();
        for (kind, file) in kinds {
            match kind {
                Kind::Edition(role, version) => {
                    let over = superseded(role, version).is_some_and(|at| times.is_over(at.max(file.modified)));
                    sorted.edition(role, version, file, over, roots);
                }
                Kind::Timestamp | Kind::Draft => sorted.kept += 1,
                Kind::Archive | Kind::Signature if roots.named.contains(&file.path) => sorted.kept += 1,
                Kind::Archive if file.length == 0 => sorted.remembered += 1,
                Kind::Archive | Kind::Signature if times.is_over(file.modified) => {
                    sorted.unnamed.push((kind, file.clone()));
                }
                Kind::Scratch if times.is_over(file.modified) => sorted.scratch.push(file.clone()),
                Kind::Archive | Kind::Signature | Kind::Scratch => sorted.kept += 1,
                Kind::Foreign if roots.named.contains(&file.path) => sorted.kept += 1,
                Kind::Foreign => sorted.odd.push((file.path.clone(), Odd::Name)),
            }
        }
        // Oldest first: while one of a role is left, so is the one that says when it was superseded.
        sorted.over.sort_by_key(|(role, version, _)| (*role != RoleType::Targets, *version));
        sorted.in_hand.sort_by(|a, b| b.cmp(a));
        sorted
    }

    fn edition(&mut self, role: RoleType, version: RoleVersion, file: &Stored, over: bool, roots: &Roots) {
        let published = roots.published(role);
        if role == RoleType::Root || version == published {
            self.kept += 1;
        } else if roots.editions.contains(&(role, version)) || version < published && !over {
            self.kept += 1;
            self.in_hand.extend((role == RoleType::Targets).then_some(version));
        } else if version > published {
            self.odd.push((file.path.clone(), Odd::Newer));
            self.in_hand.extend((role == RoleType::Targets).then_some(version));
        } else {
            self.over.push((role, version, file.clone()));
        }
    }

    /// Keeps what an edition names that readers may have in hand.
    pub(super) fn spare(&mut self, named: &BTreeSet<String>) {
        let before = self.unnamed.len();
        self.unnamed.retain(|(_, file)| !named.contains(&file.path));
        self.kept += before - self.unnamed.len();
    }

    /// Keeps every target: an edition that readers may have in hand cannot be read.
    pub(super) fn spare_all(&mut self, path: String) {
        self.kept += self.unnamed.len();
        self.unnamed.clear();
        self.odd.push((path, Odd::Unreadable));
    }
}

impl Roots {
    /// The published edition; of root there is none that is superseded.
    fn published(&self, role: RoleType) -> RoleVersion {
        match role {
            RoleType::Snapshot => self.snapshot,
            RoleType::Targets => self.targets,
            RoleType::Root | RoleType::Timestamp => RoleVersion::FIRST,
        }
    }
}
