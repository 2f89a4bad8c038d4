//! SIGHUP: the configuration is read again, and a new worker of the same version takes over with it.
//!
//! ```text
//!              reload                 READY
//!   (serves) ─────────▶ successor ───────────▶ (the new one serves, the old one drains)
//!       ▲                   │
//!       └── fall_back ──────┘  a mistake, an address that is taken, never ready: nothing has changed
//! ```

use std::net::SocketAddr;

use super::protocol::{Reloads, ToLauncher, ToWorker};
use super::setup::LauncherError;
use super::sockets::Sockets;
use super::supervisor::Supervisor;
use super::worker::Worker;
use crate::config::{ConfigError, ConfigFile, Loaded, Settings, Strictness, Trial};
use crate::install::Progress;
use crate::sys::{Moment, notify_reloading, notify_service_manager};
use crate::types::Overlap;

/// A worker of the same version that is to take over.
#[derive(Debug)]
pub(super) struct Successor {
    pub(super) worker: Worker,
    pub(super) deadline: Moment,
    /// Without it, there is no new configuration that the worker would prove.
    before: Option<Before>,
}

/// What comes back when the successor does not become ready.
#[derive(Debug)]
pub(super) struct Before {
    listen: Option<SocketAddr>,
    job_listen: Vec<SocketAddr>,
    mirror_listen: Option<SocketAddr>,
    trial: Trial,
    files: Vec<ConfigFile>,
    sockets: Sockets,
}

/// Why the old configuration stays.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{key} cannot change while the node runs; put it back, or restart the node")]
    Fixed { key: &'static str },
    #[error("{0}")]
    Sockets(#[from] LauncherError),
    #[error("a worker could not be started: {0}")]
    Start(LauncherError),
}

impl Supervisor {
    /// Reads the configuration again, and lets a new worker serve with it.
    pub(super) fn reload(&mut self) {
        if self.is_stopping() {
            return;
        }
        notify_reloading();
        if self.is_changing_workers() {
            tracing::info!(event = "reload_waits", "a change of worker is under way; it follows when that has ended");
            self.reload_due = true;
            notify_service_manager("READY=1\nSTATUS=reloads after the trial");
            return;
        }
        self.reload_due = false;
        if let Err(error) = self.try_reload() {
            self.reloads.refused += 1;
            tracing::error!(event = "reload_refused", %error, "the old configuration stays");
            self.reload_ended(&format!("READY=1\nSTATUS=reload refused: {error}"));
        }
    }

    /// Does what was put off, once nothing stands in its way.
    pub(super) fn reload_if_due(&mut self) {
        if self.reload_due && !self.is_changing_workers() {
            self.reload();
        }
    }

    pub(super) fn is_changing_workers(&self) -> bool {
        let on_trial = self.progress().is_some_and(|progress| progress != Progress::Pending);
        let restores = self.keeping.errand.is_some() || self.record.restore.is_some();
        on_trial || restores || self.successor.is_some() || self.unproven.is_some()
    }

    fn try_reload(&mut self) -> Result<(), ReloadError> {
        let Loaded { settings, files, .. } = self.setup.configuration.read(Strictness::Strict)?;
        self.refuse_fixed(&settings)?;
        let before = self.adopt_settings(&settings, files)?;
        let serves = self.active.as_ref().filter(|worker| worker.ready);
        if serves.is_some_and(|worker| worker.overlap == Overlap::UntilReady) {
            self.start_successor(Some(before)).map_err(ReloadError::Start)?;
            (self.setup.apply)(&settings);
            return Ok(());
        }
        // Nobody serves, or the one that does must leave before the next may start.
        (self.setup.apply)(&settings);
        if let Some(worker) = self.active.take() {
            self.dismiss(worker, false);
        }
        self.unproven = Some(before);
        self.restart.due = Some(Moment::now());
        Ok(())
    }

    /// The worker that was started with a new configuration, alone, is ready.
    pub(super) fn new_configuration_proved(&mut self) {
        if self.unproven.take().is_some() {
            self.reload_applied();
        }
    }

    /// It ended, or was ended, before it was ready: the next one gets the configuration before.
    pub(super) fn new_configuration_failed(&mut self, why: &str) {
        if let Some(before) = self.unproven.take() {
            self.reload_failed(before, why);
        }
    }

    /// A node does not move: its folder holds its lock, and its name its record.
    fn refuse_fixed(&self, settings: &Settings) -> Result<(), ReloadError> {
        if settings.node != self.setup.node {
            return Err(ReloadError::Fixed { key: "node" });
        }
        if settings.data_dir != self.setup.data.path() {
            return Err(ReloadError::Fixed { key: "data_dir" });
        }
        Ok(())
    }

    /// Takes over what is the launcher's own, and returns what that was before.
    fn adopt_settings(&mut self, settings: &Settings, files: Vec<ConfigFile>) -> Result<Before, LauncherError> {
        let mut setup = self.setup.clone();
        setup.files = files;
        setup.listen = settings.listen;
        setup.job_listen.clone_from(&settings.job.listen);
        setup.mirror_listen = settings.mirror.listen;
        setup.trial = settings.trial.clone();
        let sockets = self.sockets.changed(&setup)?;
        let setup = std::mem::replace(&mut self.setup, setup);
        Ok(Before {
            listen: setup.listen,
            job_listen: setup.job_listen,
            mirror_listen: setup.mirror_listen,
            trial: setup.trial,
            files: setup.files,
            sockets: std::mem::replace(&mut self.sockets, sockets),
        })
    }

    pub(super) fn await_successor(&mut self, worker: Worker, before: Option<Before>) {
        let deadline = Moment::now().after(self.setup.trial.start);
        self.successor = Some(Successor { worker, deadline, before });
    }

    pub(super) fn restore(&mut self, before: Before) {
        let Before { listen, job_listen, mirror_listen, trial, files, sockets } = before;
        (self.setup.listen, self.setup.job_listen) = (listen, job_listen);
        self.setup.mirror_listen = mirror_listen;
        (self.setup.trial, self.sockets) = (trial, sockets);
        if let Ok(loaded) = self.setup.configuration.read_from(files.clone(), Strictness::Lenient) {
            (self.setup.apply)(&loaded.settings);
        }
        self.setup.files = files;
    }

    fn reload_applied(&mut self) {
        self.reloads.applied += 1;
        tracing::info!(event = "reload_applied");
        self.reload_ended("READY=1");
    }

    fn reload_failed(&mut self, before: Before, why: &str) {
        self.restore(before);
        self.reloads.failed += 1;
        tracing::error!(event = "reload_failed", reason = why, "the old configuration stays");
        self.reload_ended(&format!("READY=1\nSTATUS=reload failed: {why}"));
    }

    /// What the successor says, and whether it still can.
    pub(super) fn hear_successor(&mut self) {
        let Some(successor) = &mut self.successor else { return };
        let heard = successor.worker.hear();
        if heard.contains(&ToLauncher::Ready) {
            self.successor_ready();
        } else if let Some(exit) = successor.worker.exit {
            self.fall_back(&format!("it ended with {exit} while starting"));
        }
    }

    fn successor_ready(&mut self) {
        let Some(Successor { mut worker, before, .. }) = self.successor.take() else { return };
        worker.ready = true;
        worker.tell(&ToWorker::Activate);
        self.restart.due = None;
        tracing::info!(event = "worker_ready", version = %worker.runs.version, pid = worker.pid.as_raw());
        if let Some(old) = self.active.replace(worker) {
            self.dismiss(old, true);
        }
        if before.is_some() {
            self.reload_applied();
        }
        self.came_up();
    }

    pub(super) fn meet_successor_deadline(&mut self, now: Moment) {
        if self.successor.as_ref().is_some_and(|successor| successor.deadline <= now) {
            let limit = self.setup.trial.start;
            self.fall_back(&format!("it did not say that it is ready within {limit:?}"));
        }
    }

    /// The successor is out; the old worker serves on, with what was configured before.
    fn fall_back(&mut self, why: &str) {
        let children = self.children();
        let Some(Successor { mut worker, before, .. }) = self.successor.take() else { return };
        worker.kill(&children);
        worker.copy_output();
        if worker.exit.is_none() {
            self.await_exit(worker);
        }
        match before {
            Some(before) => self.reload_failed(before, why),
            None => tracing::error!(event = "worker_not_renewed", reason = why, "the old one serves on"),
        }
    }

    fn reload_ended(&self, state: &str) {
        // One line: an error may quote several of a file.
        let state = state.replacen('\n', "\u{0}", 1).replace('\n', " ").replace('\u{0}', "\n");
        notify_service_manager(&state);
        let reloads: Reloads = self.reloads;
        if let Some(worker) = &self.active {
            worker.tell(&ToWorker::Reloads(reloads));
        }
    }
}
