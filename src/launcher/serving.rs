//! The worker that serves, outside of a trial: started, heard, and started again when it ends.

use std::os::fd::AsFd;
use std::time::Duration;

use super::dialect::Dialect;
use super::protocol::{Hello, ToLauncher, ToWorker};
use super::setup::LauncherError;
use super::supervisor::{Supervisor, own_binary};
use super::worker::{Worker, node_mark};
use crate::config::hand_files;
use crate::install::{Binary, Installed};
use crate::sys::{Moment, notify_service_manager};
use crate::types::Overlap;

/// A worker that was ready for so long has not failed at its start.
const STEADY: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// When to start the running version again, after it ended by itself.
#[derive(Debug, Default)]
pub(super) struct Restart {
    failures: u32,
    /// How often it did so under this launcher.
    pub(super) total: u32,
    pub(super) due: Option<Moment>,
}

impl Supervisor {
    pub(super) fn hear_active(&mut self, message: ToLauncher) {
        match message {
            ToLauncher::Ready => {
                if let Some(worker) = &mut self.active {
                    worker.ready = true;
                    worker.tell(&ToWorker::Activate);
                    tracing::info!(event = "worker_ready", version = %worker.runs.version, pid = worker.pid.as_raw());
                    notify_service_manager("READY=1");
                }
                self.new_configuration_proved();
                self.came_up();
            }
            ToLauncher::Status(status) => notify_service_manager(&format!("STATUS={status}")),
            ToLauncher::Try(request) => {
                self.attach();
                self.try_candidate(*request);
            }
            ToLauncher::Renew => self.renew(),
            ToLauncher::GiveUp(trial) => self.give_up(&trial),
            ToLauncher::Vitals(reported) => {
                if let Some(worker) = &mut self.active {
                    worker.said = reported;
                }
            }
            ToLauncher::State { found, epochs } => self.hear_needs(found, epochs),
            ToLauncher::Watchdog | ToLauncher::Overlap(_) | ToLauncher::Stopping => {}
        }
    }

    /// A worker is ready: if that is the first one since the service manager's start, then what is committed
    /// has shown that it comes up by itself.
    pub(super) fn came_up(&mut self) {
        let Some(worker) = self.active.as_ref().filter(|_| std::mem::take(&mut self.cold)) else { return };
        if self.install.why_detached().is_some() {
            return;
        }
        let invocation = std::env::var("INVOCATION_ID").ok();
        match self.install.prove_start(&self.setup.node, &self.own, &worker.runs, invocation.as_deref()) {
            Ok(true) => tracing::info!(event = "rescue_renewed", version = %worker.runs.version),
            Ok(false) => {}
            Err(error) => tracing::warn!(event = "rescue_unusable", %error, "the node runs on without it"),
        }
    }

    pub(super) fn active_ended(&mut self, how: &str) {
        let children = self.children();
        let Some(worker) = self.active.take() else { return };
        worker.kill(&children);
        if self.is_stopping() {
            return;
        }
        if !worker.ready {
            self.new_configuration_failed(how);
        }
        let steady = worker.ready && worker.started.after(STEADY) <= Moment::now();
        self.restart.total = self.restart.total.saturating_add(1);
        self.restart.failures = if steady { 1 } else { self.restart.failures + 1 };
        let pause = Duration::from_millis(500).saturating_mul(1 << self.restart.failures.min(10)).min(LONGEST_PAUSE);
        self.restart.due = Some(Moment::now().after(pause));
        tracing::error!(
            event = "worker_ended",
            version = %worker.runs.version,
            how,
            restart_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        );
    }

    /// Starts the version that this node runs. What goes wrong is tried again, more and more slowly.
    pub(super) fn start_running(&mut self) {
        if self.keeping.errand.is_some() {
            return;
        }
        if self.must_wait_for_leaving() {
            self.restart.due = Some(Moment::now());
            return;
        }
        self.restart.due = None;
        if self.sees_to_state_of_running() {
            return;
        }
        match self.start_same_version() {
            Ok(worker) => self.active = Some(worker),
            Err(error) => {
                self.restart.failures += 1;
                self.restart.due = Some(Moment::now().after(LONGEST_PAUSE.min(Duration::from_secs(5))));
                tracing::error!(event = "worker_not_started", %error);
            }
        }
    }

    /// Whether somebody who may not be there beside another worker has yet to go.
    pub(super) fn must_wait_for_leaving(&self) -> bool {
        self.state_is_taken() || self.leaving.iter().any(|(worker, _)| worker.overlap == Overlap::StopFirst)
    }

    /// A worker of the version that this node runs.
    pub(super) fn start_same_version(&self) -> Result<Worker, LauncherError> {
        let running = self.record.running.clone();
        let own =
            || own_binary().map(|own| (Installed { version: self.setup.version.clone(), digest: own.digest() }, own));
        let chosen = if self.install.why_detached().is_some() {
            own()
        } else {
            match self.install.open_version(&running) {
                Ok(binary) => Ok((running, binary)),
                Err(error) => {
                    tracing::error!(event = "version_unusable", version = %running.version, %error, "runs the committed binary instead");
                    own()
                }
            }
        };
        let (runs, binary) = chosen?;
        Ok(self.start_worker(&runs, &binary, false)?)
    }

    pub(super) fn start_worker(&self, runs: &Installed, binary: &Binary, on_trial: bool) -> std::io::Result<Worker> {
        let files = hand_files(&self.setup.files)
            .inspect_err(
                |error| tracing::warn!(event = "configuration_not_handed", %error, "the worker reads the files itself"),
            )
            .ok();
        let hello = Hello {
            protocol: Dialect::OURS.newest,
            oldest_protocol: Some(Dialect::OURS.oldest),
            node: self.setup.node.clone(),
            launcher: self.setup.version.clone(),
            running: runs.clone(),
            committed: self.setup.committed.clone(),
            on_trial,
            listeners: self.sockets.listeners(),
            reloads: self.reloads,
            files: files.is_some(),
            migrate: self.word_for(on_trial),
        };
        let mut fds: Vec<_> = self.sockets.fds().collect();
        fds.extend(files.as_ref().map(AsFd::as_fd));
        let mark = node_mark(&self.setup.data).map_err(std::io::Error::other)?;
        let worker = Worker::start(binary, &self.setup.args("worker"), &hello, &fds, &mark)?;
        tracing::info!(event = "worker_started", version = %runs.version, pid = worker.pid.as_raw(), on_trial);
        Ok(worker)
    }
}
