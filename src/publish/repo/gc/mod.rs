//! Removes what nobody asks for any more: superseded editions, and the files of releases that no edition names.
//!
//! Guarantees, beside a publisher, readers in the middle of an update, and whoever can write there but has no keys:
//! - nothing is removed before everything that is published was verified, as before a change;
//! - what published metadata or a draft names stays, and so does, for the grace, what superseded metadata names;
//! - a name under which an archive once lay stays, so that its version is never used for anything else: the archive is
//!   emptied in place;
//! - only files whose names are of the repository's own forms are touched;
//! - a run that is cut short at any step leaves less to do for the next one, and nothing else.

mod names;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp as Moment;

use names::Kind;
pub use reach::Odd;
use reach::{Roots, Sorted, Times};

use super::desk::{Current, Desk, limit, published_path};
use super::error::RepoError;
use super::place::{PUBLIC, Place, SCRATCH, STAGED, TARGETS};
use super::settle::SNAPSHOT_OF_TARGETS;
use crate::tuf::metadata::{Metadata, RoleType, RoleVersion, Snapshot, Targets};

/// How much is removed.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// For how long something stays after the last metadata that named it was superseded.
    pub grace: Duration,
    /// Only say what would be removed.
    pub dry_run: bool,
}

/// Why a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// An edition that was superseded longer ago than the grace.
    Superseded,
    /// An archive that no metadata names: it is emptied, and its name stays.
    Archive,
    /// A signature of such an archive.
    Signature,
    /// What a check of the place left that was killed.
    Scratch,
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// The files, with their lengths in bytes, in the order in which they go.
    pub files: Vec<(String, u64, Gone)>,
    /// How many files stay because somebody may ask for them.
    pub kept: usize,
    /// How many archives were emptied in earlier runs: their names alone are left.
    pub remembered: usize,
    /// Files that a killed run had not finished, and that no reader could see.
    pub unfinished: usize,
    /// What is left for people to look at.
    pub odd: Vec<(String, Odd)>,
    /// The files that this run published first: it found a publication that had been cut short.
    pub published: Vec<(RoleType, u64)>,
}

/// The right is looked at again after so long, or after so many removals. What is removed in between is less than the
/// time for which others wait before they take over.
const SURE_FOR: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 64;

impl Swept {
    /// How many bytes the files had.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, length, _)| length).sum()
    }
}

impl Desk {
    /// Removes what nobody asks for any more, or says what that is. `progress` is told the bytes of each removal.
    ///
    /// A publication that was cut short is finished first, unless this is a dry run, to which it is as a draft.
    pub fn sweep(
        place: Box<dyn Place>,
        now: Moment,
        sweep: Sweep,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Swept, RepoError> {
        let mut desk = Self::held(place, now)?;
        desk.load()?;
        if desk.root.is_none() && desk.staged.root.is_none() {
            return Err(RepoError::NotARepository(desk.place.shown()));
        }
        let published = match (sweep.dry_run, desk.broken.take()) {
            (false, broken) => {
                desk.broken = broken;
                desk.finish()?
            }
            (true, None) => Vec::new(),
            (true, Some(source)) => return Err(RepoError::Published { place: desk.place.shown(), source }),
        };
        let (mut sorted, unfinished) = desk.sort(sweep)?;
        let mut swept = Swept {
            kept: sorted.kept,
            remembered: sorted.remembered,
            unfinished,
            odd: sorted.odd,
            published,
            files: Vec::new(),
        };
        swept.odd.sort();
        // Files go before the editions that named them: what is left is explained by an edition that is left.
        sorted
            .unnamed
            .sort_by(|(a, one), (b, other)| (a != &Kind::Archive, &one.path).cmp(&(b != &Kind::Archive, &other.path)));
        for (kind, file) in sorted.unnamed {
            let gone = if kind == Kind::Archive { Gone::Archive } else { Gone::Signature };
            swept.files.push((file.path, file.length, gone));
        }
        swept.files.extend(sorted.over.into_iter().map(|(_, _, file)| (file.path, file.length, Gone::Superseded)));
        swept.files.extend(sorted.scratch.into_iter().map(|file| (file.path, file.length, Gone::Scratch)));
        if !sweep.dry_run {
            desk.remove(&swept.files, progress)?;
        }
        Ok(swept)
    }

    fn sort(&self, sweep: Sweep) -> Result<(Sorted, usize), RepoError> {
        let Some(current) = &self.current else { return Ok((Sorted::default(), 0)) };
        let hold = self.hold.as_ref().ok_or_else(|| RepoError::Busy(self.place.shown()))?;
        let times = Times { now: hold.time()?, grace: sweep.grace };
        let roots = self.reach(current)?;
        let (mut files, mut unfinished) = (Vec::new(), 0);
        for folder in [PUBLIC, STAGED, SCRATCH] {
            unfinished += if sweep.dry_run { 0 } else { self.place.sweep(folder)? };
            files.extend(self.place.files(folder)?);
        }
        let mut sorted = Sorted::of(&files, &roots, times);
        for version in sorted.in_hand.clone() {
            // Most of the time there is nothing to ask them about.
            if sorted.unnamed.is_empty() {
                break;
            }
            match self.named_by(version)? {
                Some(named) => sorted.spare(&named),
                None => sorted.spare_all(published_path(RoleType::Targets, version)),
            }
        }
        Ok((sorted, unfinished))
    }

    /// What the published metadata and the drafts hold on to.
    fn reach(&self, current: &Current) -> Result<Roots, RepoError> {
        let draft = self.staged.targets.as_ref().map(|draft| &draft.signed);
        let published = &current.targets.signed;
        let snapshots = || self.staged.snapshot.iter().map(|draft| &draft.signed).chain([&current.snapshot.signed]);
        let delegates = [Some(published), draft].into_iter().flatten().any(|targets| targets.delegations.is_some());
        // What others sign for names files, too, and is not read here.
        if delegates || snapshots().any(|snapshot| snapshot.meta.keys().any(|name| name != SNAPSHOT_OF_TARGETS)) {
            return Err(RepoError::Delegates(self.place.shown()));
        }
        let mut editions = BTreeSet::new();
        editions.extend(draft.map(|targets| (RoleType::Targets, targets.head.version)));
        let of_targets = |snapshot: &Snapshot| snapshot.role(RoleType::Targets.as_str()).map(|meta| meta.version);
        editions.extend(snapshots().filter_map(of_targets).map(|version| (RoleType::Targets, version)));
        editions.extend(self.staged.snapshot.iter().map(|draft| (RoleType::Snapshot, draft.signed.head.version)));
        let timestamp = self.staged.timestamp.as_ref();
        editions.extend(timestamp.map(|draft| (RoleType::Snapshot, draft.signed.snapshot.version)));
        let mut named = paths(published);
        named.extend(draft.map(paths).unwrap_or_default());
        Ok(Roots {
            product: self.charter()?.product,
            targets: published.head.version,
            snapshot: current.snapshot.signed.head.version,
            editions,
            named,
        })
    }

    /// What another edition of targets names; `None` where it does not say all of it. It was verified when it was
    /// published, and here it only keeps files.
    fn named_by(&self, version: RoleVersion) -> Result<Option<BTreeSet<String>>, RepoError> {
        let path = published_path(RoleType::Targets, version);
        let Some(bytes) = self.place.read(&path, limit(RoleType::Targets))? else { return Ok(None) };
        let read = Metadata::<Targets>::from_bytes(&bytes, limit(RoleType::Targets)).ok();
        Ok(read.filter(|file| file.signed.delegations.is_none()).map(|file| paths(&file.signed)))
    }

    fn remove(&self, files: &[(String, u64, Gone)], progress: &mut dyn FnMut(u64)) -> Result<(), RepoError> {
        let mut sure = None;
        for (number, (path, length, gone)) in files.iter().enumerate() {
            if number % AT_ONCE == 0 || sure.is_none_or(|since: Instant| since.elapsed() > SURE_FOR) {
                let is_ours = self.hold.as_ref().map_or(Ok(false), |hold| hold.is_still_ours())?;
                if !is_ours {
                    return Err(RepoError::SweepOvertaken { place: self.place.shown(), removed: number });
                }
                sure = Some(Instant::now());
            }
            match gone {
                Gone::Archive => self.place.write(path, &[])?,
                Gone::Signature | Gone::Superseded | Gone::Scratch => self.place.remove(path)?,
            }
            progress(*length);
        }
        Ok(())
    }
}

/// Where the targets of an edition lie.
fn paths(targets: &Targets) -> BTreeSet<String> {
    let of = |target: &crate::tuf::metadata::TargetFile| {
        target.prefixed_paths().map(|path| format!("{TARGETS}/{path}")).collect::<Vec<_>>()
    };
    targets.targets().values().flat_map(of).collect()
}
