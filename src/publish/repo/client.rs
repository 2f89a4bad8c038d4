//! The repository as a client sees it that has known its first root from the start.

use std::io::{self, Write};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use jiff::Timestamp as Moment;

use super::desk::{limit, published_path};
use super::error::RepoError;
use super::place::{METADATA, Place, PlaceError, TARGETS};
use crate::archive::{ArchiveError, Limits, UntrustedArchive};
use crate::crypto::{Keyring, Release, Signature, SignatureLength};
use crate::sys::{Dir, SysError};
use crate::tuf::metadata::{RoleType, RoleVersion, TargetFile};
use crate::tuf::{
    Answer, Refreshed, ReleaseDescription, ReleaseError, RemoteFile, Repository, Rules, Store, UpdateError, Updater,
};
use crate::types::{ByteLimit, KeyId, ReleaseId};

/// What a client makes of a repository.
#[derive(Debug, Default)]
pub struct ClientReport {
    /// The newest root.
    pub root: u64,
    /// The targets that are there, byte for byte.
    pub files: usize,
    /// The releases among them, and whose signature of the archive was found good, if keys were given.
    pub releases: Vec<(ReleaseDescription, Option<KeyId>)>,
    /// What is wrong, by the path of the target.
    pub problems: Vec<(String, ClientProblem)>,
}

/// What is wrong with a target.
#[derive(Debug, thiserror::Error)]
pub enum ClientProblem {
    /// It cannot be fetched, or is another file.
    #[error(transparent)]
    Fetch(#[from] UpdateError<PlaceError>),
    /// Nodes skip it.
    #[error("nodes skip it: {0}")]
    Description(#[from] ReleaseError),
    /// No signature beside the archive.
    #[error("its signature is no target")]
    NoSignature,
    /// A signature that is none.
    #[error(transparent)]
    SignatureLength(#[from] SignatureLength),
    /// A node refuses it.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// This host has no room.
    #[error(transparent)]
    Storage(#[from] SysError),
}

/// Why a client gets no further than the metadata.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is no repository, or cannot be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// Clients refuse it.
    #[error("clients refuse this repository: {0}")]
    Update(#[from] UpdateError<PlaceError>),
    /// This host has no room.
    #[error(transparent)]
    Storage(#[from] SysError),
}

impl crate::console::ToolError for ClientError {
    fn exit(&self) -> crate::console::Exit {
        match self {
            Self::Repo(error) => error.exit(),
            Self::Update(_) => crate::console::Exit::Verification,
            Self::Storage(_) => crate::console::Exit::Storage,
        }
    }
}

/// Goes the way of a client from the first root (or from `root`) to every target. With `keys`, archives
/// are verified as nodes verify them. Changes nothing.
pub fn verify(
    place: &dyn Place,
    root: Option<Vec<u8>>,
    keys: Option<&Keyring<Release>>,
    now: Moment,
    progress: &mut dyn FnMut(u64),
) -> Result<ClientReport, ClientError> {
    let first = match root {
        Some(root) => root,
        None => place
            .read(&published_path(RoleType::Root, RoleVersion::FIRST), limit(RoleType::Root))
            .map_err(RepoError::from)?
            .ok_or_else(|| RepoError::NotARepository(place.shown()))?,
    };
    let scratch = tempfile::tempdir().map_err(|error| SysError::read_of(std::env::temp_dir(), error))?;
    let dir = Dir::open(scratch.path())?;
    let store = Store::open(&dir)?.ok_or_else(|| RepoError::Busy(scratch.path().display().to_string()))?;
    let mut updater = Updater::new(Served(place), store, first, Rules::own());
    let mut refreshed = finished(updater.refresh(now))?;
    let mut report = ClientReport { root: refreshed.set().root().head.version.get(), ..ClientReport::default() };
    let targets: Vec<_> = refreshed.targets().targets().values().cloned().collect();
    for target in &targets {
        progress(target.length);
        match judge(&mut refreshed, target, keys, &dir) {
            Ok(release) => {
                report.files += 1;
                report.releases.extend(release);
            }
            Err(problem) => report.problems.push((target.path().to_owned(), problem)),
        }
    }
    Ok(report)
}

type Judged = Result<Option<(ReleaseDescription, Option<KeyId>)>, ClientProblem>;

fn judge(
    refreshed: &mut Refreshed<'_, Served<'_>>,
    target: &TargetFile,
    keys: Option<&Keyring<Release>>,
    dir: &Dir,
) -> Judged {
    let mut file = dir.unnamed_file()?;
    finished(refreshed.fetch(target, &mut file))?;
    let Some((release, format)) = ReleaseDescription::of(target)? else { return Ok(None) };
    let sig_path = format!("{}.sig", target.path());
    let Some(sig_target) = refreshed.targets().target(&sig_path).cloned() else {
        return Err(ClientProblem::NoSignature);
    };
    let Some(keys) = keys else { return Ok(Some((release, None))) };
    let mut sig_file = dir.unnamed_file()?;
    finished(refreshed.fetch(&sig_target, &mut sig_file))?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(&sig_file, 1 << 16), &mut bytes)
        .map_err(|error| SysError::read_of(sig_path, error))?;
    let signature = Signature::from_bytes(&bytes)?;
    let id: &ReleaseId = &release.id;
    let verified = UntrustedArchive::from_private_file(file, format)?.verify(id, &signature, keys)?;
    verified.extract(dir, &Limits::default(), &mut |_| ())?;
    let key = verified.key_id();
    Ok(Some((release, Some(key))))
}

/// The published part of a place, as a server would answer for it.
#[derive(Debug)]
struct Served<'a>(&'a dyn Place);

// Whoever asks is alone with the place: it is asked from one thread.
impl Served<'_> {
    fn answer(&self, file: RemoteFile<'_>, into: &mut dyn Write) -> Result<Answer, PlaceError> {
        let path = match file {
            RemoteFile::Metadata(name) => format!("{METADATA}/{name}"),
            RemoteFile::Target(path) => format!("{TARGETS}/{path}"),
        };
        let is_there = self.0.copy(&path, ByteLimit::bytes(1 << 40), into)?;
        Ok(if is_there { Answer::Whole } else { Answer::Absent })
    }
}

impl Repository for Served<'_> {
    type Error = PlaceError;

    async fn fetch(&mut self, file: RemoteFile<'_>, into: &mut (dyn Write + Send)) -> Result<Answer, PlaceError> {
        self.answer(file, into)
    }
}

/// A future that waits for nothing: a place answers before it returns.
fn finished<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return outcome;
        }
        std::thread::yield_now();
    }
}
