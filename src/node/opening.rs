//! What has to be open before a worker, or a verb where no node runs, can upgrade anything.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::app::{App, AppError};
use super::link::Link;
use crate::cache::Cache;
use crate::config::Settings;
use crate::fetch::{Local, Neighbours, ReleaseSource};
use crate::install::{Install, InstallError};
use crate::launcher::{Dialect, Hello, ToLauncher};
use crate::ledger::{Ledger, LedgerError};
use crate::state::{self, Opened, Schema, StateError};
use crate::sys::{Loose, PrivateDir, SysError};
use crate::types::{Target, Version};
use crate::upgrade::{Engine, LastOffer, Trust};

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It was not started by a launcher.
    #[error("a worker is started by its launcher, never by hand ({0}); use `run`")]
    Launcher(std::io::Error),
    /// Its launcher is too old or too new for it.
    #[error(
        "this worker speaks launcher protocol {ours}, and its launcher, version {version}, speaks {launcher}: they do \
         not understand each other, so it does not start. Go by a version in between"
    )]
    Protocol {
        /// What this worker understands.
        ours: Dialect,
        /// What its launcher understands.
        launcher: Dialect,
        /// The version of the launcher.
        version: Version,
    },
    /// The build itself is not whole.
    #[error(transparent)]
    App(#[from] AppError),
    /// The install folder cannot be used.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file or folder could not be used.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The job's state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A part of the worker failed.
    #[error("the worker cannot go on: {0}. Its launcher starts it again")]
    Io(#[from] std::io::Error),
    /// The job ended by itself.
    #[error("the node's job ended: {0}. Its launcher starts it again")]
    Job(String),
}

/// What to do about a ledger that cannot be opened just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// Without it there is no work.
    Required,
    /// An empty one [stands in](Ledger::standing_in): the node serves, and upgrades to nothing.
    OrStandIn,
}

/// The engine of an upgrade, opened from the settings. Also used by the command line where no node
/// runs: then `running` is `None`, and the caller holds the node's lock.
pub fn engine(
    app: &App,
    settings: Settings,
    options: Vec<OsString>,
    committed: &Path,
    running: Option<crate::install::Installed>,
) -> Result<Engine, WorkerError> {
    engine_with(app, settings, options, committed, running, Memory::Required)
}

pub(super) fn engine_with(
    app: &App,
    settings: Settings,
    options: Vec<OsString>,
    committed: &Path,
    running: Option<crate::install::Installed>,
    memory: Memory,
) -> Result<Engine, WorkerError> {
    let product = app.product()?;
    let data = PrivateDir::open_or_create(&settings.data_dir, Loose::RefuseWritable)?;
    let ledger = match (Ledger::open(&data, Timestamp::now()), memory) {
        (Err(error), Memory::OrStandIn) => {
            let ledger = Ledger::standing_in(error)?;
            if let Some(error) = ledger.stands_in_for() {
                tracing::error!(event = "ledger_unusable", %error, "the node serves without it, and upgrades to nothing");
            }
            ledger
        }
        (outcome, _) => outcome?,
    };
    let install = Install::open_or_detached(committed, &product, &data)?;
    let cache =
        Cache::open(&settings.cache_dir).inspect_err(|error| tracing::warn!(event = "cache_unusable", %error)).ok();
    let shared = cache.as_ref().map(|cache| cache.listings().clone());
    let target = Target::of_this_build();
    let local = Local { product: &product, target: &target, root: app.root, shared };
    let metadata = ReleaseSource::client(&settings, &local);
    let source = ReleaseSource::configured(&settings, &local).map(|source| source.map(Arc::new));
    if let Ok(Some(source)) = &source
        && let Some(since) = ledger.relies_since(&source.to_string())?
    {
        source.remember_whole(since);
    }
    let neighbours = neighbours(&settings);
    let running = match running {
        Some(running) => running,
        None => install.adopt(&settings.node, &app.version()?)?.0.running,
    };
    Ok(Engine {
        product,
        target,
        trust: trust(app, &ledger)?,
        node: settings.node.clone(),
        running,
        install,
        cache,
        source,
        metadata,
        neighbours,
        schema: app.state,
        serves: false,
        last_offer: LastOffer::default(),
        ledger,
        settings,
        options,
        files: None,
    })
}

fn neighbours(settings: &Settings) -> Option<Neighbours> {
    // The settings took each of them for a host.
    Neighbours::new(settings.mirror.peers.iter().filter_map(|peer| peer.parse().ok()).collect())
}

/// The job's state, made or migrated where the launcher's word allows that. What it needs first, the launcher
/// hears. `None` beside the schema: the disk does not let it be opened now, and whether the job can do without is
/// for the job to say. A candidate that cannot open it is none.
pub(super) fn open_state(
    app: &App,
    data_dir: &Path,
    hello: &Hello,
    link: &Link,
) -> Result<Option<(Schema, Option<Opened>)>, WorkerError> {
    let Some(schema) = app.state else { return Ok(None) };
    let data = PrivateDir::open_or_create(data_dir, Loose::RefuseWritable)?;
    match state::open(&data, &schema, hello.migrate, hello.on_trial, Timestamp::now()) {
        Ok(opened) => Ok(Some((schema, Some(opened)))),
        Err(error) if error.is_storage() && !hello.on_trial && hello.migrate.is_none() => {
            tracing::error!(event = "state_unusable", %error, "the job hears of it, and may go on without");
            Ok(Some((schema, None)))
        }
        Err(error) => {
            if let StateError::NotAllowed { found, .. } | StateError::TooNew { found, .. } = error {
                link.tell(&ToLauncher::State { found, epochs: schema.epochs() });
            }
            Err(error.into())
        }
    }
}

/// The keys of this build, without those that a newer version withdrew on this node.
fn trust(app: &App, ledger: &Ledger) -> Result<Trust, WorkerError> {
    let trust = Trust::of(&app.keyring()?, ledger)?;
    if trust.locked_out {
        tracing::error!(
            event = "distrust_not_applied",
            keys = trust.pinned.len(),
            "every key that this build pins was withdrawn by a newer version; they are believed, or it could never upgrade"
        );
    }
    Ok(trust)
}
