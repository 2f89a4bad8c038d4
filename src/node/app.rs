use std::collections::VecDeque;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use tokio::sync::{Notify, watch};

use super::leaving::{Leaving, left};
use super::report::{Fact, JobReport, Served};
use super::serve::serve;
use crate::crypto::{Keyring, KeyringError, Release};
use crate::snapshot::{Kind, StateFiles, StateFilesError};
use crate::state::{self, Opened, Schema, StateError};
use crate::sys::{Loose, PrivateDir, SysError};
use crate::types::{Health, NameError, Overlap, Product, Version, VersionError};

/// What makes a program a self-updating node: its name, its version, its keys and its job.
///
/// `examples/embedded.rs` is a whole one.
#[derive(Clone, Copy, Debug)]
pub struct App {
    /// The product's name: see [`Product`].
    pub product: &'static str,
    /// This build's version: see [`Version`].
    pub version: &'static str,
    /// The public release keys that this build trusts, as PEM: two or more.
    pub keys: &'static [&'static str],
    /// The root of trust for release metadata, if this build has one: the file `root.json` of a repository
    /// after The Update Framework, as it was published. Without it a node follows no such repository.
    pub root: Option<&'static [u8]>,
    /// What the node does for a living.
    pub job: Job,
    /// Whether the job of one version may run beside that of another. Where two versions differ, they
    /// do not overlap.
    pub overlap: Overlap,
    /// The job's database, if it has one that is migrated from version to version: see [`Self::with_state`].
    pub state: Option<Schema>,
    /// What belongs to the same state beside the database: see [`Self::with_state_files`].
    pub state_files: &'static [(&'static str, Kind)],
}

/// Starts the node's job. The node runs for as long as the future does; when it ends by itself, the
/// worker has failed.
pub type Job = fn(JobContext) -> Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

/// Why a job ended.
pub type JobError = Box<dyn std::error::Error + Send + Sync>;

/// What a job hears from its node, and tells it.
#[derive(Clone, Debug)]
pub struct JobContext {
    pub(super) ready: Arc<Notify>,
    pub(super) active: watch::Receiver<bool>,
    pub(super) leaving: watch::Receiver<Option<Leaving>>,
    pub(super) listeners: Arc<Mutex<VecDeque<TcpListener>>>,
    pub(super) data_dir: PathBuf,
    pub(super) state: Option<(Schema, Option<Opened>)>,
    pub(super) state_files: &'static [(&'static str, Kind)],
    pub(super) report: Arc<JobReport>,
}

/// Why an [`App`] is not one.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum AppError {
    /// Its name.
    #[error("this build's product name {0}")]
    Product(#[from] NameError),
    /// Its version.
    #[error("this build's version {0}; build with EXUVIA_VERSION set to MAJOR.MINOR.PATCH")]
    Version(#[from] VersionError),
    /// Its keys.
    #[error("this build's release keys cannot be used: {0}")]
    Keys(#[from] KeyringError),
    /// The files of its state.
    #[error(transparent)]
    StateFiles(#[from] StateFilesError),
}

impl App {
    /// A node whose job is stopped before the next version's is started: right for any job.
    #[must_use]
    pub const fn new(product: &'static str, version: &'static str, keys: &'static [&'static str], job: Job) -> Self {
        Self { product, version, keys, root: None, job, overlap: Overlap::StopFirst, state: None, state_files: &[] }
    }

    /// Declares the job's database. It is open to the job as [`JobContext::database`], made or migrated to this
    /// version's epoch before the job starts. A version that migrates it is tried alone, after a snapshot was
    /// taken, and when it fails the snapshot comes back with the version before.
    #[must_use]
    pub const fn with_state(mut self, schema: Schema) -> Self {
        self.state = Some(schema);
        self
    }

    /// Declares what belongs to the state beside the database of [`Self::with_state`]: further databases and plain
    /// files in the node's folder, by name (1 to 48 bytes of `[a-z0-9._-]`). They are saved and brought back with it;
    /// the job opens them at [`JobContext::state_file`], and brings them to the database's epoch itself. A plain file
    /// is copied as it lies there, so replace it whole. One that a migration adds is unknown to the version before,
    /// which leaves it where it is: the migration that adds it begins it anew.
    #[must_use]
    pub const fn with_state_files(mut self, files: &'static [(&'static str, Kind)]) -> Self {
        self.state_files = files;
        self
    }

    /// The files of the job's state, the database first.
    pub fn state_files(&self) -> Result<StateFiles, AppError> {
        Ok(StateFiles::with(self.state_files)?)
    }

    /// The product.
    pub fn product(&self) -> Result<Product, AppError> {
        Ok(self.product.parse()?)
    }

    /// The version.
    pub fn version(&self) -> Result<Version, AppError> {
        Ok(self.version.parse()?)
    }

    /// The keys.
    pub fn keyring(&self) -> Result<Keyring<Release>, AppError> {
        Ok(Keyring::from_pems(self.keys.iter().copied())?)
    }
}

impl JobContext {
    /// A connection to the database that [`App::with_state`] declares, at this version's epoch: SQLite in WAL
    /// mode, `synchronous=FULL`, foreign keys on. With [`Overlap::UntilReady`] another worker of the same epoch
    /// may have it open, too. Each call opens another one; it blocks on the disk.
    ///
    /// # Errors
    /// The product declares no state; the disk fails, or did so when this worker started; the file is damaged. A job
    /// that cannot do without returns the error, and is started again.
    pub fn database(&self) -> Result<rusqlite::Connection, StateError> {
        let (schema, opened) = self.state.as_ref().ok_or(StateError::NotDeclared)?;
        if opened.is_none() {
            return Err(StateError::Unusable);
        }
        let data = PrivateDir::open_or_create(&self.data_dir, Loose::RefuseWritable)?;
        state::connect(&data, schema)
    }

    /// Where a file lies that [`App::with_state_files`] declares; it may be missing.
    ///
    /// # Errors
    /// It is not declared; the state could not be opened when this worker started.
    pub fn state_file(&self, name: &str) -> Result<PathBuf, StateError> {
        let (_, opened) = self.state.as_ref().ok_or(StateError::NotDeclared)?;
        match self.state_files.iter().find(|(declared, _)| *declared == name) {
            None => Err(StateError::FileNotDeclared(name.to_owned())),
            Some(_) if opened.is_none() => Err(StateError::Unusable),
            Some(_) => Ok(self.data_dir.join(name)),
        }
    }

    /// Where the database lies that was found damaged at this worker's start, and moved aside: the one that is
    /// open is a new one. A job that would rather not run without its past returns an error.
    #[must_use]
    pub fn database_set_aside(&self) -> Option<&Path> {
        self.state.as_ref()?.1.as_ref()?.set_aside.as_deref()
    }

    /// A folder of the node's own, for whatever else the job keeps: in no snapshot, and every version must be
    /// able to use it. With [`Overlap::StopFirst`] no other version has anything open in it.
    pub fn folder(&self) -> Result<PathBuf, SysError> {
        let data = PrivateDir::open_or_create(&self.data_dir, Loose::RefuseWritable)?;
        Ok(data.private_subdir("job", Loose::RefuseWritable)?.path().to_owned())
    }

    /// The next of the listeners that the setting `job.listen` names, in its order; `None` when all are
    /// taken. They are open before the worker starts and stay open after it ends, so connections wait
    /// while workers change. Accept none before [`Self::activated`]: the old worker may be serving.
    #[must_use]
    pub fn take_listener(&self) -> Option<TcpListener> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Tells the node that the job can do its work. A candidate that never says so is not ready.
    pub fn ready(&self) {
        self.ready.notify_one();
    }

    /// Says how the job is, and why. It holds until something else is said. What a candidate says of
    /// itself decides its trial: `Unhealthy` ends it at once, unless the version before was no better;
    /// `Inconclusive`, for a lack of something that is not the candidate's fault, makes its probation
    /// longer (up to `trial.longest_probation`), and then ends it without a veto. A job that never says
    /// anything is judged by its readiness, its signs of life and the configured checks alone.
    pub fn health(&self, health: Health, because: &str) {
        self.report.say(health, because);
    }

    /// Shows facts about the job in `status` and on the status page, to who reads those on the node's own host: names
    /// and values, at most 16, shortened to 100 characters each. They replace what was shown before.
    pub fn show(&self, facts: Vec<Fact>) {
        self.report.show(facts);
    }

    /// What this worker's own pages have served, by path, since it started.
    #[must_use]
    pub fn pages_served(&self) -> Vec<(&'static str, Served)> {
        self.report.pages()
    }

    /// Counts a request that the job has served. Shown in status and metrics; decides nothing.
    pub fn request_served(&self) {
        self.report.count(false);
    }

    /// Counts a request that the job could not serve, by its own fault.
    pub fn request_failed(&self) {
        self.report.count(true);
    }

    /// Waits until the job may begin to change things that others share.
    pub async fn activated(&mut self) {
        // The sender lives as long as the node.
        self.active.wait_for(|active| *active).await.ok();
    }

    /// Waits until the job is asked to finish, and says how much time there is. A job that serves over
    /// something else than [`Self::serve`] stops accepting now, keeps idle connections until
    /// `idle_until`, and returns before `until`.
    pub async fn stopping(&mut self) -> Leaving {
        left(&mut self.leaving).await
    }

    /// Serves HTTP/1.1 on a listener, from the moment the job may until it is asked to finish and has
    /// answered what was asked. No request is lost while workers change: see [`Self::take_listener`].
    pub async fn serve(mut self, listener: TcpListener, router: Router) -> std::io::Result<()> {
        self.activated().await;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        serve(listener, router, self.leaving).await
    }
}

/// The job of a node that has none but to keep itself up to date.
#[must_use]
pub fn idle(mut context: JobContext) -> Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>> {
    Box::pin(async move {
        context.ready();
        context.stopping().await;
        Ok(())
    })
}
