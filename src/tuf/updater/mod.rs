//! One update, in the order of the specification's client workflow (section 5): root, timestamp,
//! snapshot, targets, and delegated roles when a search comes to them.
//!
//! What this part guarantees, against whoever answers the requests:
//! - each file is asked for when its turn comes, once, and never longer than allowed;
//! - what is verified is stored at once, byte for byte as it was received, and nothing else is;
//! - what was stored before is a floor, never a source of trust: it is verified like what is received,
//!   and set aside when it does not pass.

mod body;
mod carried;
mod error;
mod name;
mod repository;
mod standing;
mod store;

use std::fs::File;
use std::io::{Seek, Write};

use jiff::Timestamp as Moment;

use super::metadata::{MetaFile, RoleType, Root, TargetFile, Targets};
use super::rules::Rules;
use super::search::{Search, Step};
use super::trusted::{Novelty, TrustedSet, WithFinalRoot, WithRoot, WithSnapshot, WithTargets, WithTimestamp};
use crate::types::ByteLimit;
use body::Body;

pub use carried::MetadataFiles;
pub use error::UpdateError;
pub use name::{file_name, percent_encoded};
pub use repository::{Answer, RemoteFile, Repository};
pub use standing::{RoleStanding, Standing};
pub use store::{SetAside, SetAsideReason, Store};

/// A client of one repository, with what it remembers on this host.
#[derive(Debug)]
pub struct Updater<R> {
    repository: R,
    store: Store,
    bootstrap: Vec<u8>,
    rules: Rules,
    plain_target_names: bool,
}

/// What the repository held at one moment, verified.
#[derive(Debug)]
pub struct Refreshed<'a, R> {
    updater: &'a mut Updater<R>,
    set: TrustedSet<WithTargets>,
}

type Outcome<T, R> = Result<T, UpdateError<<R as Repository>::Error>>;

impl<R: Repository> Updater<R> {
    /// A client that trusts `bootstrap`, which comes with the program and not from the store.
    #[must_use]
    pub fn new(repository: R, store: Store, bootstrap: Vec<u8>, rules: Rules) -> Self {
        Self { repository, store, bootstrap, rules, plain_target_names: false }
    }

    /// Asks for targets under their own names, also where the root has consistent snapshots: for places
    /// whose file names cannot carry digests. Metadata is asked for as ever.
    #[must_use]
    pub fn with_plain_target_names(mut self) -> Self {
        self.plain_target_names = true;
        self
    }

    /// Brings everything up to date. `start` is the one time at which all expiries are judged.
    pub async fn refresh(&mut self, start: Moment) -> Outcome<Refreshed<'_, R>, R> {
        let set = TrustedSet::bootstrap(&self.bootstrap, self.rules, start)?;
        let set = self.newest_root(set).await?;
        let set = self.timestamp(set).await?;
        let set = self.snapshot(set).await?;
        let set = self.targets(set).await?;
        Ok(Refreshed { updater: self, set })
    }

    /// What was found in the store and could not be used, since this was asked last.
    pub fn take_set_aside(&mut self) -> Vec<SetAside> {
        self.store.take_set_aside()
    }

    /// The connection to the repository.
    pub fn repository(&self) -> &R {
        &self.repository
    }

    /// The connection to the repository; the store is closed.
    #[must_use]
    pub fn into_repository(self) -> R {
        self.repository
    }

    // Section 5.3. The chain begins at the root that came with the program each time: a root that lies
    // in the store is verified like one that was received.
    async fn newest_root(&mut self, set: TrustedSet<WithRoot>) -> Outcome<TrustedSet<WithFinalRoot>, R> {
        self.store.keep_root(set.root().head.version, &self.bootstrap)?;
        let mut newest = self.bootstrap.clone();
        let set = self.follow_roots(set, &mut newest).await;
        // Whatever ended the chain, this far it is trusted.
        self.store.show_root(&newest)?;
        Ok(set?.finish_root()?)
    }

    async fn follow_roots(
        &mut self,
        mut set: TrustedSet<WithRoot>,
        newest: &mut Vec<u8>,
    ) -> Outcome<TrustedSet<WithRoot>, R> {
        let limit = self.rules.limits.root;
        let mut fetched = 0;
        while let Some(next) = set.root().head.version.next() {
            let file = format!("{next}.root.json");
            if let Some(stored) = self.store.root(next, limit)? {
                match set.update_root(&stored) {
                    Ok(newer) => {
                        set = newer;
                        *newest = stored;
                        continue;
                    }
                    Err(error) => self.store.set_aside(file.clone(), error),
                }
            }
            // Where it is cut off, the update goes on with what it has, and the next one continues.
            if fetched == self.rules.limits.root_rotations {
                break;
            }
            let Some(received) = self.ask(&file, limit).await? else { break };
            fetched += 1;
            set = set.update_root(&received)?;
            self.store.keep_root(next, &received)?;
            *newest = received;
        }
        Ok(set)
    }

    // Section 5.4.
    async fn timestamp(&mut self, mut set: TrustedSet<WithFinalRoot>) -> Outcome<TrustedSet<WithTimestamp>, R> {
        let limit = self.rules.limits.timestamp;
        let since = set.online_keys_since();
        if let Some(stored) = self.store.remembered(RoleType::Timestamp, since, limit)? {
            match set.remember(&stored) {
                Ok(remembering) => set = remembering,
                Err(error) => self.store.set_aside("timestamp.json".to_owned(), error),
            }
        }
        let received = self.need("timestamp.json", limit).await?;
        let (next, novelty) = set.update_timestamp(&received)?;
        if novelty == Novelty::New {
            self.store.accept(RoleType::Timestamp, set.root().head.version, &received)?;
        }
        // Section 5.3.11: a rotation that took away the timestamp takes away the snapshot as well.
        let Some(stored) = self.store.remembered(RoleType::Snapshot, since, self.rules.limits.snapshot)? else {
            return Ok(next);
        };
        match next.remember(&stored) {
            Ok(remembering) => Ok(remembering),
            Err(error) => {
                self.store.set_aside("snapshot.json".to_owned(), error);
                Ok(next)
            }
        }
    }

    // Section 5.5.
    async fn snapshot(&mut self, set: TrustedSet<WithTimestamp>) -> Outcome<TrustedSet<WithSnapshot>, R> {
        if let Some(next) = set.keep_snapshot() {
            return Ok(next);
        }
        let described = &set.timestamp().snapshot;
        let received = self.need_described(RoleType::Snapshot, "snapshot", described, set.root()).await?;
        let next = set.update_snapshot(&received)?;
        self.store.accept(RoleType::Snapshot, set.root().head.version, &received)?;
        Ok(next)
    }

    // Section 5.6.
    async fn targets(&mut self, set: TrustedSet<WithSnapshot>) -> Outcome<TrustedSet<WithTargets>, R> {
        let described = set.described_targets()?;
        if let Some(stored) = self.store.role("targets", self.rules.limits.targets)?
            && let Ok(next) = set.update_targets(&stored)
        {
            return Ok(next);
        }
        let received = self.need_described(RoleType::Targets, "targets", described, set.root()).await?;
        let next = set.update_targets(&received)?;
        self.store.keep_role("targets", &received)?;
        Ok(next)
    }

    async fn need_described(
        &mut self,
        kind: RoleType,
        role: &str,
        described: &MetaFile,
        root: &Root,
    ) -> Outcome<Vec<u8>, R> {
        let limit = self.rules.limits.of_described(kind, described);
        let plain = file_name(role);
        if root.consistent_snapshot == Some(true) {
            return self.need(&format!("{}.{plain}", described.version), limit).await;
        }
        self.need(&plain, limit).await
    }

    async fn need(&mut self, file: &str, limit: ByteLimit) -> Outcome<Vec<u8>, R> {
        let received = self.ask(file, limit).await?;
        received.ok_or_else(|| UpdateError::Absent { file: file.to_owned() })
    }

    /// `None`: the repository says that there is no such file.
    async fn ask(&mut self, file: &str, limit: ByteLimit) -> Outcome<Option<Vec<u8>>, R> {
        let mut body = Body::new(Vec::new(), limit.get());
        let answer = self.repository.fetch(RemoteFile::Metadata(file), &mut body).await;
        if body.overflowed() {
            return Err(UpdateError::TooLong { file: file.to_owned(), limit });
        }
        match answer {
            Ok(Answer::Whole) => Ok(Some(body.into_inner())),
            Ok(Answer::Absent) => Ok(None),
            Err(source) => Err(UpdateError::Download { file: file.to_owned(), source }),
        }
    }
}

impl<R: Repository> Refreshed<'_, R> {
    /// What is trusted.
    #[must_use]
    pub fn set(&self) -> &TrustedSet<WithTargets> {
        &self.set
    }

    /// The top level's targets.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        self.set.targets()
    }

    /// What the repository says about a target: `None` when nobody who may speak for it lists it.
    /// Delegated roles are fetched as the search comes to them.
    pub async fn find(&mut self, path: &str) -> Outcome<Option<TargetFile>, R> {
        let mut search = Search::of(path);
        loop {
            match search.step(&mut self.set)? {
                Step::Found(target) => return Ok(Some(*target)),
                Step::Absent => return Ok(None),
                Step::Load { delegator, role } => self.load(&delegator, &role).await?,
            }
        }
    }

    async fn load(&mut self, delegator: &str, role: &str) -> Outcome<(), R> {
        let described = self.set.described(role)?.clone();
        if let Some(stored) = self.updater.store.role(role, self.updater.rules.limits.targets)?
            && self.set.load(delegator, role, &stored).is_ok()
        {
            return Ok(());
        }
        let root = self.set.root().clone();
        let received = self.updater.need_described(RoleType::Targets, role, &described, &root).await?;
        self.set.load(delegator, role, &received)?;
        Ok(self.updater.store.keep_role(role, &received)?)
    }

    /// Fetches a target into an open file, which is overwritten. Afterwards the file holds exactly that
    /// target and is at its start, or it is empty.
    pub async fn fetch(&mut self, target: &TargetFile, into: &mut File) -> Outcome<(), R> {
        let outcome = self.fetch_whole(target, into).await;
        if outcome.is_err() {
            into.set_len(0).map_err(UpdateError::Write)?;
        }
        into.rewind().map_err(UpdateError::Write)?;
        outcome
    }

    async fn fetch_whole(&mut self, target: &TargetFile, into: &mut File) -> Outcome<(), R> {
        let is_prefixed = self.set.root().consistent_snapshot == Some(true) && !self.updater.plain_target_names;
        let address = if is_prefixed { target.prefixed_path() } else { target.path().to_owned() };
        let mismatch = |source| UpdateError::Target { path: target.path().to_owned(), source };
        let verifier = target.verifier().map_err(mismatch)?;
        into.set_len(0).and_then(|()| into.rewind()).map_err(UpdateError::Write)?;
        let mut body = Body::new(Tee { verifier, file: into, failure: None }, target.length);
        let answer = self.updater.repository.fetch(RemoteFile::Target(&address), &mut body).await;
        let overflowed = body.overflowed();
        let Tee { verifier, failure, .. } = body.into_inner();
        if let Some(failure) = failure {
            return Err(UpdateError::Write(failure));
        }
        if overflowed {
            let mismatch = super::Mismatch::Length { stated: target.length, found: target.length.saturating_add(1) };
            return Err(UpdateError::Target { path: target.path().to_owned(), source: mismatch });
        }
        match answer {
            Ok(Answer::Whole) => verifier.finish().map_err(mismatch),
            Ok(Answer::Absent) => Err(UpdateError::Absent { file: address }),
            Err(source) => Err(UpdateError::Download { file: address, source }),
        }
    }
}

/// Writes to the file what goes into the digests, and keeps the reason when it cannot.
struct Tee<'a> {
    verifier: super::Verifier,
    file: &'a mut File,
    failure: Option<std::io::Error>,
}

impl Write for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Err(error) = self.file.write_all(bytes) {
            let kind = error.kind();
            self.failure = Some(error);
            return Err(kind.into());
        }
        self.verifier.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
