use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::bedside::Bedside;
use super::errand::Errand;
use super::handoff::Baton;
use super::keeping::Keeping;
use super::protocol::{Reloads, ToWorker};
use super::reload::{Before, Successor};
use super::serving::Restart;
use super::setup::{LauncherError, Setup};
use super::sockets::Sockets;
use super::trial::Next;
use super::worker::{Worker, node_mark};
use crate::install::{Adopted, Binary, Install, InstallError, NodeRecord, Progress, Tended};
use crate::sys::{
    Arrived, ChildPid, Lock, Moment, Signals, become_subreaper, end_myself_after, given_sockets, kill_strays,
    notify_service_manager, own_children, reap, wait_readable,
};

/// A node's launcher at work.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) setup: Setup,
    pub(super) install: Install,
    pub(super) record: NodeRecord,
    pub(super) own: Binary,
    pub(super) lock: Lock,
    pub(super) sockets: Sockets,
    signals: Signals,
    /// Children that this program had before it inherited any orphan: who reads its log, say. Not the
    /// launcher's business.
    pub(super) companions: Vec<ChildPid>,
    /// The worker that serves, outside of a trial.
    pub(super) active: Option<Worker>,
    /// The worker on trial, and when its present step ends.
    pub(super) candidate: Option<(Worker, Moment)>,
    /// A candidate that is started once nobody is in its way.
    pub(super) next: Option<Next>,
    /// The worker of the same version that takes over at a reload.
    pub(super) successor: Option<Successor>,
    /// What comes back when the worker that was started with a new configuration never gets ready.
    pub(super) unproven: Option<Before>,
    pub(super) reloads: Reloads,
    /// A reload was asked for, and waits for the end of a trial.
    pub(super) reload_due: bool,
    /// Workers that were asked to leave, and when they are made to.
    pub(super) leaving: Vec<(Worker, Moment)>,
    pub(super) restart: Restart,
    /// The health of the version that serves and of the candidate, around a trial.
    pub(super) bedside: Bedside,
    /// The job's state around a trial.
    pub(super) keeping: Keeping,
    /// What happened is not on disk yet, and when that is tried again.
    pub(super) unsaved: Option<Moment>,
    stopping: bool,
    /// Started by the service manager, and no worker has been ready since.
    pub(super) cold: bool,
}

/// A worker uses all of its time to leave, and then needs a moment to end.
const LEAVE_MARGIN: Duration = Duration::from_secs(1);
/// Later than this, a launcher was not just busy.
const SUSPENDED: Duration = Duration::from_secs(1);

/// Runs a node until it is told to stop; goes on where another launcher passed the baton. Call it
/// before any thread is started.
pub fn run(setup: Setup, baton: Option<Baton>) -> Result<(), LauncherError> {
    let signals = Signals::block()?;
    let companions = baton.as_ref().map_or_else(own_children, |baton| baton.companions.clone());
    become_subreaper()?;
    let mut supervisor = match baton {
        None => Supervisor::start(setup, signals)?,
        Some(baton) => Supervisor::resume(setup, signals, baton)?,
    };
    supervisor.companions = companions;
    supervisor.run()
}

impl Supervisor {
    fn start(setup: Setup, signals: Signals) -> Result<Self, LauncherError> {
        let (given, other) = given_sockets();
        if other > 0 {
            tracing::warn!(
                event = "sockets_refused",
                other,
                "only listening TCP sockets are taken from the service manager"
            );
        }
        let Some(lock) = setup.data.try_lock("node.lock")? else {
            return Err(LauncherError::Running { node: setup.node, folder: setup.data.path().to_owned() });
        };
        let strays = kill_strays(&node_mark(&setup.data)?);
        if strays > 0 {
            tracing::warn!(event = "strays_killed", strays, "the launcher before was killed, and its workers stayed");
        }
        (setup.mend)(&setup.data, &lock).map_err(std::io::Error::other)?;
        let own = own_binary()?;
        let install = Install::open_or_detached(&setup.committed, &setup.product, &setup.data)?;
        if let Some(reason) = install.why_detached() {
            tracing::warn!(event = "upgrades_unsupported", reason, "the node runs, and only tells of releases");
        }
        heed_rescue(&install, &own);
        let (record, adopted) = install.adopt(&setup.node, &setup.version)?;
        report(&record, &adopted);
        let sockets = Sockets::open(&setup, given)?;
        let mut supervisor = Self::new(setup, install, record, own, lock, sockets, signals);
        supervisor.cold = true;
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
        // What a sibling has committed is swapped by nobody any more: its launcher was proved there.
        let trial = record.trial.as_ref();
        let follows = trial.is_some_and(|trial| install.committed().ok().flatten().as_ref() == Some(&trial.candidate));
        let handoff = match setup.trial.handoff {
            handoff if follows => handoff.min(setup.trial.sibling_probation / 20),
            handoff => handoff,
        };
        let mut supervisor = Self::new(setup, install, record, own, baton.lock, baton.sockets, signals);
        (supervisor.reloads, supervisor.reload_due) = (baton.reloads, baton.reload_due);
        match baton.worker {
            Some(worker) if supervisor.record.trial.is_some() => {
                tracing::info!(event = "launcher_took_over", version = %supervisor.setup.version, worker = worker.pid.as_raw());
                worker.tell(&ToWorker::Launcher(supervisor.setup.version.clone()));
                supervisor.candidate = Some((worker, Moment::now().after(handoff)));
            }
            worker => {
                end_myself_after(None);
                // A verdict for which the disk had no room went with the launcher before: for this one
                // the trial was cut short.
                supervisor.recover_trial();
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
        sockets: Sockets,
        signals: Signals,
    ) -> Self {
        Self {
            setup,
            install,
            record,
            own,
            lock,
            sockets,
            signals,
            companions: Vec::new(),
            active: None,
            candidate: None,
            next: None,
            successor: None,
            unproven: None,
            reloads: Reloads::default(),
            reload_due: false,
            leaving: Vec::new(),
            restart: Restart::default(),
            bedside: Bedside::default(),
            keeping: Keeping::default(),
            unsaved: None,
            stopping: false,
            cold: false,
        }
    }

    fn run(&mut self) -> Result<(), LauncherError> {
        loop {
            // Sampled before listening: who was silent until then, and has nothing queued, is silent.
            let listened = Moment::now();
            self.note_exits();
            self.hear_workers();
            self.start_next();
            self.meet_deadlines(listened);
            self.reload_if_due();
            let alone = self.active.is_none() && self.candidate.is_none() && self.keeping.errand.is_none();
            if self.stopping && alone && self.leaving.is_empty() {
                tracing::info!(event = "node_stopped");
                return Ok(());
            }
            self.wait()?;
            while let Some(signal) = self.signals.next()? {
                match signal {
                    Arrived::Stop => self.stop(),
                    Arrived::Reload => self.reload(),
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
        fds.extend(self.bedside.checkup.output());
        fds.extend(self.keeping.errand.as_ref().and_then(Errand::output));
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
        if let Some(successor) = &mut self.successor {
            successor.deadline = successor.deadline.after(late);
        }
        self.bedside.forgive(late);
        if let Some(errand) = &mut self.keeping.errand {
            errand.forgive(late);
        }
    }

    fn workers(&self) -> impl Iterator<Item = &Worker> {
        let candidate = self.candidate.iter().map(|(worker, _)| worker);
        let successor = self.successor.iter().map(|successor| &successor.worker);
        let leaving = self.leaving.iter().map(|(worker, _)| worker);
        self.active.iter().chain(candidate).chain(successor).chain(leaving)
    }

    fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        let candidate = self.candidate.iter_mut().map(|(worker, _)| worker);
        let successor = self.successor.iter_mut().map(|successor| &mut successor.worker);
        let leaving = self.leaving.iter_mut().map(|(worker, _)| worker);
        self.active.iter_mut().chain(candidate).chain(successor).chain(leaving)
    }

    /// The pids of all that are not reaped yet and are no orphans: workers, a check, an errand, and companions.
    pub(super) fn children(&self) -> Vec<ChildPid> {
        let companions = self.companions.iter().copied();
        let errand = self.keeping.errand.as_ref().and_then(Errand::pid);
        let beside = self.bedside.checkup.pid().into_iter().chain(errand);
        self.workers().map(|worker| worker.pid).chain(beside).chain(companions).collect()
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
        let successor = self.successor.iter().map(|successor| successor.deadline);
        let leaving = self.leaving.iter().map(|(_, deadline)| *deadline);
        let restart = self.restart.due.filter(|_| !self.must_wait_for_leaving());
        let health = self.bedside.deadlines(self.leaving.is_empty(), now);
        let errand = self.keeping.errand.iter().map(Errand::deadline);
        let later = restart.into_iter().chain(self.unsaved).chain(health).chain(errand);
        active.chain(candidate).chain(successor).chain(leaving).chain(later)
    }

    fn note_exits(&mut self) {
        for (pid, exit) in reap() {
            // Its number may be given to an orphan later.
            self.companions.retain(|companion| *companion != pid);
            if self.bedside.checkup.note_exit(pid, exit) {
                continue;
            }
            if self.keeping.errand.as_mut().is_some_and(|errand| errand.note_exit(pid, exit)) {
                continue;
            }
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
            self.hear_candidate(message);
        }
        self.hear_successor();
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
        self.see_to_errand(now);
        self.see_to_health(now);
        self.meet_trial_deadlines(now);
        self.meet_successor_deadline(now);
    }

    /// Asks a worker to finish and leave, and sees to it that it does. `replaced`: another one serves.
    pub(super) fn dismiss(&mut self, worker: Worker, replaced: bool) {
        worker.tell(&ToWorker::Drain { replaced });
        self.leaving.push((worker, Moment::now().after(self.setup.trial.drain + LEAVE_MARGIN)));
    }

    /// Waits for workers that were killed, which is a matter of a moment, and never longer than a second.
    pub(super) fn wait_for_killed(&mut self) {
        let deadline = Moment::now().after(Duration::from_secs(1));
        while !self.leaving.is_empty() && Moment::now() < deadline {
            self.note_exits();
            self.leaving.retain(|(worker, _)| worker.exit.is_none());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Keeps a worker that was killed until it is reaped.
    pub(super) fn await_exit(&mut self, worker: Worker) {
        self.leaving.push((worker, Moment::now().after(Duration::from_secs(1))));
    }

    /// An operator, or the service manager, wants the node to stop. Never held against a release.
    fn stop(&mut self) {
        if self.stopping {
            self.cancel_errand();
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
        self.cancel_errand();
        self.set_trial_aside();
        let candidate = self.candidate.take().map(|(worker, _)| worker);
        let successor = self.successor.take().map(|successor| successor.worker);
        for worker in self.active.take().into_iter().chain(candidate).chain(successor) {
            self.dismiss(worker, false);
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// How far the trial is, if there is one under way.
    pub(super) fn progress(&self) -> Option<Progress> {
        self.record.trial.as_ref().map(|trial| trial.progress)
    }
}

/// This very program, whatever its path names by now.
pub(super) fn own_binary() -> Result<Binary, InstallError> {
    Binary::running()
}

/// Before anything is adopted: what the rescue began is finished, and the rescue itself is looked after.
/// Nothing of it stops a node.
pub(super) fn heed_rescue(install: &Install, own: &Binary) {
    if install.why_detached().is_some() {
        return;
    }
    match install.finish_put_back(own) {
        Ok(Some(put_back)) => {
            tracing::error!(event = "rescue_put_back", failed = %put_back.failed, restored = %put_back.restored);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(event = "rescue_unusable", %error, "the node runs on without it"),
    }
    match install.tend_rescue(own) {
        Ok(Tended::Fine) => {}
        Ok(Tended::Repaired(damage)) => tracing::warn!(event = "rescue_repaired", %damage),
        Err(error) => tracing::warn!(event = "rescue_unusable", %error, "the node runs on without it"),
    }
}

pub(super) fn report(record: &NodeRecord, adopted: &Adopted) {
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
