use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::handoff::Baton;
use super::protocol::{Hello, Listener, PROTOCOL, ToLauncher, ToWorker};
use super::setup::{LauncherError, Setup};
use super::worker::{Worker, node_mark};
use crate::install::{Adopted, Binary, Install, InstallError, Installed, NodeRecord, Progress};
use crate::sys::{
    Arrived, ChildPid, Lock, Moment, Signals, become_subreaper, end_myself_after, kill_strays, notify_service_manager,
    reap, wait_readable,
};

/// A node's launcher at work.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) setup: Setup,
    pub(super) install: Install,
    pub(super) record: NodeRecord,
    pub(super) own: Binary,
    pub(super) lock: Lock,
    pub(super) listeners: Vec<(Listener, OwnedFd)>,
    signals: Signals,
    /// The worker that serves, outside of a trial.
    pub(super) active: Option<Worker>,
    /// The worker on trial, and when its present step ends.
    pub(super) candidate: Option<(Worker, Moment)>,
    /// Workers that were asked to leave, and when they are made to.
    pub(super) leaving: Vec<(Worker, Moment)>,
    pub(super) restart: Restart,
    /// What happened is not on disk yet, and when that is tried again.
    unsaved: Option<Moment>,
    stopping: bool,
}

/// When to start the running version again, after it ended by itself.
#[derive(Debug, Default)]
pub(super) struct Restart {
    failures: u32,
    pub(super) due: Option<Moment>,
}

/// A worker that was ready for so long has not failed at its start.
const STEADY: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Until a record that could not be written is written again.
const SAVE_AGAIN: Duration = Duration::from_secs(1);
/// Later than this, a launcher was not just busy.
const SUSPENDED: Duration = Duration::from_secs(1);

/// Runs a node until it is told to stop. Call it before any thread is started.
pub fn run(setup: Setup) -> Result<(), LauncherError> {
    let signals = Signals::block()?;
    become_subreaper()?;
    let mut supervisor = match Baton::take()? {
        None => Supervisor::start(setup, signals)?,
        Some(baton) => Supervisor::resume(setup, signals, baton)?,
    };
    supervisor.run()
}

impl Supervisor {
    fn start(setup: Setup, signals: Signals) -> Result<Self, LauncherError> {
        let Some(lock) = setup.data.try_lock("node.lock")? else {
            return Err(LauncherError::Running { node: setup.node, folder: setup.data.path().to_owned() });
        };
        let strays = kill_strays(&node_mark(&setup.data)?);
        if strays > 0 {
            tracing::warn!(event = "strays_killed", strays, "the launcher before was killed, and its workers stayed");
        }
        let own = own_binary()?;
        let install = Install::open_or_detached(&setup.committed, &setup.product, &setup.data)?;
        if let Some(reason) = install.why_detached() {
            tracing::warn!(event = "upgrades_unsupported", reason, "the node runs, and only tells of releases");
        }
        let (record, adopted) = install.adopt(&setup.node, &setup.version)?;
        report(&record, &adopted);
        let listeners = setup.listen()?;
        let mut supervisor = Self::new(setup, install, record, own, lock, listeners, signals);
        supervisor.recover_trial();
        supervisor.start_running();
        Ok(supervisor)
    }

    fn resume(mut setup: Setup, signals: Signals, baton: Baton) -> Result<Self, LauncherError> {
        setup.committed = baton.committed;
        let install = Install::open(&setup.committed, &setup.product)?;
        let missing = || InstallError::NoFolder(setup.committed.clone());
        let record = install.node(&setup.node)?.ok_or_else(missing)?;
        let own = own_binary()?;
        let handoff = setup.trial.handoff;
        let mut supervisor = Self::new(setup, install, record, own, baton.lock, baton.listeners, signals);
        match baton.worker {
            Some(worker) if supervisor.record.trial.is_some() => {
                tracing::info!(event = "launcher_took_over", version = %supervisor.setup.version, worker = worker.pid.as_raw());
                worker.tell(&ToWorker::Launcher(supervisor.setup.version.clone()));
                supervisor.candidate = Some((worker, Moment::now().after(handoff)));
            }
            worker => {
                end_myself_after(None);
                supervisor.active = worker;
                if supervisor.active.is_none() {
                    supervisor.start_running();
                }
            }
        }
        Ok(supervisor)
    }

    fn new(
        setup: Setup,
        install: Install,
        record: NodeRecord,
        own: Binary,
        lock: Lock,
        listeners: Vec<(Listener, OwnedFd)>,
        signals: Signals,
    ) -> Self {
        Self {
            setup,
            install,
            record,
            own,
            lock,
            listeners,
            signals,
            active: None,
            candidate: None,
            leaving: Vec::new(),
            restart: Restart::default(),
            unsaved: None,
            stopping: false,
        }
    }

    fn run(&mut self) -> Result<(), LauncherError> {
        loop {
            // Sampled before listening: who was silent until then, and has nothing queued, is silent.
            let listened = Moment::now();
            self.note_exits();
            self.hear_workers();
            self.meet_deadlines(listened);
            if self.stopping && self.active.is_none() && self.candidate.is_none() && self.leaving.is_empty() {
                tracing::info!(event = "node_stopped");
                return Ok(());
            }
            self.wait()?;
            while let Some(signal) = self.signals.next()? {
                match signal {
                    Arrived::Stop => self.stop(),
                    Arrived::Reload => {
                        tracing::info!(event = "reload_ignored", "restart the node to reload its configuration");
                    }
                    Arrived::Child => {}
                }
            }
        }
    }

    fn wait(&mut self) -> Result<(), LauncherError> {
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd()];
        for worker in self.workers() {
            if worker.connected {
                fds.push(worker.channel.as_fd());
            }
            fds.extend(worker.output.as_ref().map(AsFd::as_fd));
        }
        let now = Moment::now();
        let patience = self.deadlines().map(|deadline| now.until(deadline)).min().unwrap_or(Duration::from_mins(10));
        // One millisecond more, so that a deadline has passed when it is looked at.
        let patience = patience + Duration::from_millis(1);
        wait_readable(&fds, patience)?;
        let late = now.after(patience).until(Moment::now());
        if late >= SUSPENDED {
            self.forgive(late);
        }
        Ok(())
    }

    /// This process was stopped, or the host was, for so long. Nobody else had to be on time meanwhile.
    fn forgive(&mut self, late: Duration) {
        tracing::warn!(event = "launcher_was_suspended", seconds = late.as_secs());
        for worker in self.workers_mut() {
            worker.heard = worker.heard.after(late);
        }
        if let Some((_, deadline)) = &mut self.candidate {
            *deadline = deadline.after(late);
        }
    }

    fn workers(&self) -> impl Iterator<Item = &Worker> {
        let candidate = self.candidate.iter().map(|(worker, _)| worker);
        self.active.iter().chain(candidate).chain(self.leaving.iter().map(|(worker, _)| worker))
    }

    fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        let candidate = self.candidate.iter_mut().map(|(worker, _)| worker);
        self.active.iter_mut().chain(candidate).chain(self.leaving.iter_mut().map(|(worker, _)| worker))
    }

    /// The pids of all workers that are not reaped yet.
    pub(super) fn children(&self) -> Vec<ChildPid> {
        self.workers().map(|worker| worker.pid).collect()
    }

    fn deadlines(&self) -> impl Iterator<Item = Moment> {
        let (start, watchdog) = (self.setup.trial.start, self.setup.trial.watchdog);
        let now = Moment::now();
        let active = self.active.iter().map(move |worker| worker.patience(start, watchdog));
        let candidate = self.candidate.iter().flat_map(move |(worker, deadline)| {
            // Past its time a step waits for something that wakes the launcher by itself.
            let step = Some(*deadline).filter(|deadline| *deadline > now);
            [step, worker.ready.then(|| worker.heard.after(watchdog))].into_iter().flatten()
        });
        let leaving = self.leaving.iter().map(|(_, deadline)| *deadline);
        active.chain(candidate).chain(leaving).chain(self.restart.due).chain(self.unsaved)
    }

    fn note_exits(&mut self) {
        for (pid, exit) in reap() {
            if let Some(worker) = self.workers_mut().find(|worker| worker.pid == pid) {
                worker.exit = Some(exit);
            }
        }
    }

    fn hear_workers(&mut self) {
        for worker in self.workers_mut() {
            worker.copy_output();
        }
        for message in self.active.as_mut().map(Worker::hear).unwrap_or_default() {
            self.hear_active(message);
        }
        for message in self.candidate.as_mut().map(|(worker, _)| worker.hear()).unwrap_or_default() {
            self.hear_candidate(&message);
        }
        for (worker, _) in &mut self.leaving {
            worker.hear();
        }
        self.leaving.retain(|(worker, _)| worker.exit.is_none());
        if let Some(exit) = self.active.as_ref().and_then(|worker| worker.exit) {
            self.active_ended(&exit.to_string());
        }
        if let Some(exit) = self.candidate.as_ref().and_then(|(worker, _)| worker.exit) {
            self.candidate_ended(exit);
        }
    }

    fn hear_active(&mut self, message: ToLauncher) {
        match message {
            ToLauncher::Ready => {
                if let Some(worker) = &mut self.active {
                    worker.ready = true;
                    worker.tell(&ToWorker::Activate);
                    tracing::info!(event = "worker_ready", version = %worker.runs.version, pid = worker.pid.as_raw());
                    notify_service_manager("READY=1");
                }
            }
            ToLauncher::Status(status) => notify_service_manager(&format!("STATUS={status}")),
            ToLauncher::Try(request) => self.try_candidate(request),
            ToLauncher::GiveUp(trial) => self.give_up(&trial),
            ToLauncher::Watchdog | ToLauncher::Stopping => {}
        }
    }

    fn active_ended(&mut self, how: &str) {
        let children = self.children();
        let Some(worker) = self.active.take() else { return };
        worker.kill(&children);
        if self.stopping {
            return;
        }
        let steady = worker.ready && worker.started.after(STEADY) <= Moment::now();
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
        self.restart.due = None;
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
        let started = chosen
            .map_err(LauncherError::from)
            .and_then(|(runs, binary)| self.start_worker(&runs, &binary, false).map_err(LauncherError::from));
        match started {
            Ok(worker) => self.active = Some(worker),
            Err(error) => {
                self.restart.failures += 1;
                self.restart.due = Some(Moment::now().after(LONGEST_PAUSE.min(Duration::from_secs(5))));
                tracing::error!(event = "worker_not_started", %error);
            }
        }
    }

    pub(super) fn start_worker(&self, runs: &Installed, binary: &Binary, on_trial: bool) -> std::io::Result<Worker> {
        let hello = Hello {
            protocol: PROTOCOL,
            node: self.setup.node.clone(),
            launcher: self.setup.version.clone(),
            running: runs.clone(),
            committed: self.setup.committed.clone(),
            on_trial,
            listeners: self.listeners.iter().map(|(listener, _)| *listener).collect(),
        };
        let listeners: Vec<_> = self.listeners.iter().map(|(_, fd)| fd.as_fd()).collect();
        let mark = node_mark(&self.setup.data).map_err(std::io::Error::other)?;
        let worker = Worker::start(binary, &self.setup.args("worker"), &hello, &listeners, &mark)?;
        tracing::info!(event = "worker_started", version = %runs.version, pid = worker.pid.as_raw(), on_trial);
        Ok(worker)
    }

    fn meet_deadlines(&mut self, now: Moment) {
        if self.restart.due.is_some_and(|due| due <= now) && self.active.is_none() && !self.stopping {
            self.start_running();
        }
        let children = self.children();
        for (worker, deadline) in &self.leaving {
            if *deadline <= now {
                tracing::warn!(event = "worker_killed", pid = worker.pid.as_raw(), "it did not leave in time");
                worker.kill(&children);
            }
        }
        // A killed worker stays until it is reaped, but is not killed at every turn.
        for (_, deadline) in &mut self.leaving {
            if *deadline <= now {
                *deadline = now.after(Duration::from_secs(1));
            }
        }
        if self.unsaved.is_some_and(|due| due <= now) {
            self.save_again();
        }
        let (start, watchdog) = (self.setup.trial.start, self.setup.trial.watchdog);
        if let Some(worker) = &self.active {
            let how = if worker.ready { "watchdog silence" } else { "never ready" };
            if worker.patience(start, watchdog) <= now {
                self.active_ended(how);
            }
        }
        self.meet_trial_deadlines(now);
    }

    /// Asks a worker to finish and leave, and sees to it that it does.
    pub(super) fn dismiss(&mut self, worker: Worker) {
        worker.ask_to_leave();
        self.leaving.push((worker, Moment::now().after(self.setup.trial.drain)));
    }

    /// An operator, or the service manager, wants the node to stop. Never held against a release.
    fn stop(&mut self) {
        if self.stopping {
            let children = self.children();
            for worker in self.workers() {
                worker.kill(&children);
            }
            return;
        }
        self.stopping = true;
        end_myself_after(None);
        self.restart.due = None;
        tracing::info!(event = "node_stopping");
        notify_service_manager("STOPPING=1");
        self.set_trial_aside();
        let candidate = self.candidate.take().map(|(worker, _)| worker);
        for worker in self.active.take().into_iter().chain(candidate) {
            self.dismiss(worker);
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Puts the record on disk. `false`, and said, when that failed: then it is written later, in case
    /// nobody takes back what it says.
    pub(super) fn save(&mut self) -> bool {
        match self.install.write_node(&self.setup.node, &self.record) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(event = "record_not_written", %error, "tries again");
                self.save_later();
                false
            }
        }
    }

    pub(super) fn save_later(&mut self) {
        self.unsaved = Some(Moment::now().after(SAVE_AGAIN));
    }

    /// A disk that was full may have room again: what happened meanwhile goes onto it.
    fn save_again(&mut self) {
        self.unsaved = None;
        let noted = self.install.finish_commit();
        let under_way = self.progress().is_some_and(|progress| progress != Progress::Pending);
        // Siblings wait for as long as a lease stands.
        let released = if under_way { Ok(()) } else { self.install.drop_leases_of(&self.setup.node) };
        // The worker looks into the record for the verdict that it puts into the history.
        if self.save() && self.record.trial.is_none() {
            self.tell_verdict();
        }
        if let Err(error) = noted {
            tracing::error!(event = "commit_not_noted", %error, "tries again");
            self.save_later();
        }
        if let Err(error) = released {
            tracing::warn!(event = "lease_not_released", %error, "tries again; it also ends by itself");
            self.save_later();
        }
    }

    /// How far the trial is, if there is one under way.
    pub(super) fn progress(&self) -> Option<Progress> {
        self.record.trial.as_ref().map(|trial| trial.progress)
    }
}

/// This very program, whatever its path names by now.
fn own_binary() -> Result<Binary, InstallError> {
    Binary::running()
}

fn report(record: &NodeRecord, adopted: &Adopted) {
    match adopted {
        Adopted::AsRecorded => tracing::info!(event = "node_starts", version = %record.running.version),
        Adopted::Committed => tracing::info!(event = "node_adopts_committed", version = %record.running.version),
        Adopted::AfterDamage(aside) => tracing::warn!(
            event = "record_damaged",
            version = %record.running.version,
            set_aside = %aside.display(),
            "runs the committed binary",
        ),
    }
}
