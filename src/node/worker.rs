use std::collections::VecDeque;
use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::app::{App, JobContext};
use super::control::{self, Event, Failure, Order as Asked, Told};
use super::counted::count_step;
use super::doubts::tell_doubts;
use super::http::{self, Site};
use super::leaving::Leaving;
use super::link::{Link, Order, Start};
use super::mirror;
use super::opening::{Memory, WorkerError, engine_with, open_state};
use super::report::JobReport;
use super::state::{Activity, State};
use super::status::LastCheck;
use crate::config::Settings;
use crate::install::Progress;
use crate::launcher::{Dialect, GiveUp, Listener, ToLauncher};
use crate::upgrade::{Done, Engine, Found, Observer, UpgradeError, Wait, Work};

/// Runs a worker until its launcher asks it to leave. `options` are those that this program was
/// started with, before its verb.
pub fn run(app: &App, start: Start, settings: Settings, options: Vec<OsString>) -> Result<(), WorkerError> {
    let launcher = start.hello.dialect();
    if !Dialect::OURS.understands(launcher) {
        return Err(WorkerError::Protocol { ours: Dialect::OURS, launcher, version: start.hello.launcher });
    }
    // Staged bytes and private copies are nobody else's business, also not a debugger's.
    crate::sys::forbid_dumping()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(Worker::serve(*app, settings, options, start));
    // Work that still blocks on disk or network ends with the process.
    runtime.shutdown_background();
    outcome
}

/// The longest pause that a source can ask for: nobody silences a node for good.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// Nodes of a host beyond this do not make each other wait longer.
const LONGEST_QUEUE: u32 = 32;
/// How long a leaving worker waits for the end of work that is all but done.
const LAST_WORD: Duration = Duration::from_millis(300);

pub(super) struct Worker {
    pub(super) engine: Arc<Engine>,
    pub(super) state: Arc<State>,
    pub(super) link: Link,
    /// The upgrade under way, and who waits for its answer.
    pub(super) running: Option<JoinHandle<Result<Done, UpgradeError>>>,
    /// The trial that is being begun again.
    resumed: Option<String>,
    pub(super) asked: Option<tokio::sync::oneshot::Sender<Event>>,
    /// A request that waits for the work under way.
    pub(super) queued: Option<Asked>,
    next: Instant,
    /// When this version has settled, if nothing happens to it until then.
    pub(super) settles: Option<Instant>,
    /// When to look again for what this worker lacks.
    pub(super) missing: Option<Instant>,
    /// The job's state could not be opened at the start.
    pub(super) is_stateless: bool,
    /// The history lacks something that the record tells: there was no room for it.
    pub(super) behind: bool,
}

/// When a worker gives a sign of life. Each step of a trial ends with one, so that a candidate does not wait for it as
/// long as a worker may be silent, and a host full of nodes does not wait that long for each of them.
fn pulse(watchdog: Duration, on_trial: bool) -> tokio::time::Interval {
    let longest = if on_trial { Duration::from_millis(500) } else { Duration::MAX };
    let mut pulse = tokio::time::interval((watchdog / 4).clamp(Duration::from_millis(50), longest));
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pulse
}

impl Worker {
    async fn serve(app: App, settings: Settings, options: Vec<OsString>, start: Start) -> Result<(), WorkerError> {
        let Start { link, hello, listeners, mut orders, files } = start;
        let (leave, leaving) = watch::channel(None);
        let (activate, active) = watch::channel(false);
        let ready = Arc::new(Notify::new());
        let report = Arc::new(JobReport::default());
        let mut said = report.watch();
        let (job_listeners, listeners) = split(listeners);
        let state = {
            let (data_dir, hello, link) = (settings.data_dir.clone(), hello.clone(), link.clone());
            let opened = tokio::task::spawn_blocking(move || open_state(&app, &data_dir, &hello, &link));
            opened.await.map_err(std::io::Error::other)??
        };
        let is_stateless = matches!(state, Some((_, None)));
        let mut job = tokio::spawn((app.job)(JobContext {
            ready: ready.clone(),
            active,
            leaving: leaving.clone(),
            listeners: Arc::new(Mutex::new(job_listeners)),
            data_dir: settings.data_dir.clone(),
            state,
            state_files: app.state_files,
            report: report.clone(),
        }));

        // Whoever signals a worker by hand wants it to leave in order.
        let mut terminate = signal(SignalKind::terminate())?;
        let watchdog = settings.trial.watchdog;
        let mut pulse = pulse(watchdog, hello.on_trial);
        let opened = {
            let (hello, drain) = (hello.clone(), settings.trial.drain);
            let engine = tokio::task::spawn_blocking(move || {
                // A candidate has to show that it can do everything.
                let memory = if hello.on_trial { Memory::Required } else { Memory::OrStandIn };
                let running = Some(hello.running.clone());
                let engine = engine_with(&app, settings, options, &hello.committed, running, memory)?;
                Ok::<_, WorkerError>(Engine { files, serves: true, ..engine })
            });
            (engine.await.map_err(std::io::Error::other)??, drain)
        };
        let (engine, drain) = (Arc::new(opened.0), opened.1);
        // The node has more to do than to upgrade itself.
        if let Err(error) = &engine.source {
            tracing::error!(event = "source_unusable", %error, "the node runs, and looks for no releases");
        }
        let state = Arc::new(State::new(hello.launcher.clone(), hello.reloads, report.clone()));
        let site = Site { engine: engine.clone(), state: state.clone() };
        let mut worker = Self {
            engine,
            state,
            link,
            running: None,
            resumed: None,
            asked: None,
            queued: None,
            next: Instant::now(),
            settles: None,
            missing: None,
            is_stateless,
            behind: false,
        };

        loop {
            tokio::select! {
                () = ready.notified() => break,
                Ok(()) = said.changed() => worker.link.tell(&ToLauncher::Vitals(report.reported())),
                ended = &mut job => return Err(job_ended(ended)),
                () = wait_for_leave(&mut orders) => return Ok(()),
                _ = terminate.recv() => {
                    worker.link.tell(&ToLauncher::Stopping);
                    return Ok(());
                }
            }
        }
        worker.link.tell(&ToLauncher::Overlap(app.overlap));
        worker.link.tell(&ToLauncher::Ready);
        let (requests, mut asked) = mpsc::channel::<Asked>(8);
        let mut listeners = Some(listeners);
        let mut servers: Vec<JoinHandle<std::io::Result<()>>> = Vec::new();
        let replaced = loop {
            let idle = worker.running.is_none() && *activate.borrow();
            tokio::select! {
                _ = pulse.tick() => {
                    worker.link.tell(&ToLauncher::Watchdog);
                    worker.link.tell(&ToLauncher::Vitals(report.reported()));
                }
                Ok(()) = said.changed() => worker.link.tell(&ToLauncher::Vitals(report.reported())),
                order = orders.recv() => match order {
                    Some(Order::Activate) => {
                        // Said again after a trial that was cut short, and then to the proven worker.
                        let again = activate.send_replace(true);
                        let on_trial = hello.on_trial && !again;
                        for (listener, fd) in listeners.take().into_iter().flatten() {
                            let (site, leaving) = (site.clone(), leaving.clone());
                            servers.push(match listener {
                                Listener::Http => tokio::spawn(http::serve(fd, site, leaving)),
                                Listener::Control => tokio::spawn(control::serve(fd, site, requests.clone(), leaving)),
                                // Nobody here knows what to say to those who connect.
                                Listener::Mirror => tokio::spawn(mirror::serve(fd, site, leaving)),
                                Listener::Job(_) | Listener::Unknown => continue,
                            });
                        }
                        worker.activated(on_trial).await;
                    }
                    Some(Order::Verdict(verdict)) => {
                        pulse = self::pulse(watchdog, false);
                        worker.heard_verdict(&verdict).await;
                    }
                    Some(Order::Launcher(version)) => worker.state.set_launcher(version),
                    Some(Order::Reloads(reloads)) => worker.state.set_reloads(reloads),
                    Some(Order::Drain { replaced }) => break replaced,
                    Some(Order::Alone) | None => {
                        tracing::error!(event = "launcher_gone", "leaves");
                        return Ok(());
                    }
                },
                _ = terminate.recv() => break false,
                request = asked.recv() => if let Some(request) = request { worker.take(request) },
                () = tokio::time::sleep_until(worker.next), if idle => worker.look().await,
                () = reached(worker.settles) => worker.settle_keys(),
                () = reached(worker.missing), if worker.running.is_none() => worker.look_for_what_is_missing().await,
                done = finished(&mut worker.running) => worker.settle(done),
                ended = &mut job => return Err(job_ended(ended)),
            }
        };
        worker.state.set_replaced(replaced);
        let how = Leaving::now(drain, replaced);
        // A trial that has just been accepted is what this worker leaves for: its operator must hear of it.
        if worker.running.is_some()
            && let Ok(done) = tokio::time::timeout(LAST_WORD, finished(&mut worker.running)).await
        {
            worker.settle(done);
        }
        worker.state.set(Activity::Draining);
        worker.link.tell(&ToLauncher::Stopping);
        worker.answer(Event::Failed(Failure::busy("this node is stopping; try again when it runs")));
        drop(worker.queued.take());
        leave.send_replace(Some(how));
        let left = async {
            for server in servers {
                server.await.ok();
            }
            job.await.ok();
        };
        tokio::time::timeout_at(how.until, left).await.ok();
        Ok(())
    }

    /// From here on this worker serves, polls and cleans up.
    async fn activated(&mut self, on_trial: bool) {
        self.state.set(if on_trial { Activity::OnTrial } else { Activity::Idle });
        self.link.tell(&ToLauncher::Status(format!("serves, version {}", self.engine.running.version)));
        if on_trial {
            // A candidate looks for nothing: its verdict comes first.
            self.next = Instant::now() + Duration::from_hours(24);
            return;
        }
        let record = self.catch_up().await;
        self.begin_to_settle();
        self.begin_to_miss();
        self.next = match record.and_then(|record| record.trial) {
            Some(trial) if trial.progress == Progress::Pending && self.running.is_none() => {
                self.start(Work::Resume(Box::new(trial)));
                self.next_look()
            }
            // Spread a little, so that a host's nodes do not all ask in the same moment.
            _ => {
                Instant::now() + self.engine.settings.poll.interval.min(Duration::from_secs(10)).mul_f64(random() / 2.0)
            }
        };
    }

    async fn heard_verdict(&mut self, verdict: &crate::install::Verdict) {
        tracing::info!(event = "verdict_heard", version = %verdict.candidate.version, kind = ?verdict.kind);
        self.state.set(Activity::Idle);
        let record = self.catch_up().await;
        if verdict.kind == crate::install::VerdictKind::Good {
            self.tidy_cache();
            if let Some(record) = &record {
                self.tidy_states(record);
            }
        }
        self.begin_to_settle();
        // What it could not have as a candidate, it may have as the node's worker.
        self.begin_to_miss();
        self.next = self.next_look();
    }

    fn next_look(&self) -> Instant {
        let poll = &self.engine.settings.poll;
        let stretched = poll.interval.mul_f64(1.0 + poll.jitter * (2.0 * random() - 1.0));
        self.look_at(stretched)
    }

    fn look_at(&self, pause: Duration) -> Instant {
        let at = SignedDuration::try_from(pause).ok().and_then(|pause| Timestamp::now().checked_add(pause).ok());
        self.state.checks().next = at;
        Instant::now() + pause
    }

    async fn look(&mut self) {
        self.next = self.next_look();
        if self.behind {
            self.catch_up().await;
        }
        if self.missing.is_none() {
            self.begin_to_miss();
        }
        let pending = self.engine.install.node(&self.engine.node).ok().flatten().and_then(|record| record.trial);
        match pending {
            Some(trial) if trial.progress == Progress::Pending => self.start(Work::Resume(Box::new(trial))),
            Some(_) => {}
            None => self.start(Work::Poll),
        }
    }

    pub(super) fn start(&mut self, work: Work) {
        self.state.counters.add("exuvia_upgrade_checks_total", "");
        tell_doubts(&self.engine, &self.state);
        self.resumed = match &work {
            Work::Resume(trial) => Some(trial.id.clone()),
            _ => None,
        };
        let (engine, link, state) = (self.engine.clone(), self.link.clone(), self.state.clone());
        let observer: Observer = Arc::new(move |step| {
            count_step(&state.counters, &step);
            state.set(Activity::Upgrading(step));
        });
        self.running = Some(tokio::spawn(async move { engine.run(work, Timestamp::now(), &link, &observer).await }));
    }

    /// An upgrade ended, or was handed to the launcher.
    fn settle(&mut self, done: Result<Done, UpgradeError>) {
        self.running = None;
        if let Some(id) = self.resumed.take() {
            match &done {
                Ok(Done::OnTrial { .. } | Done::Nothing(Found::Waiting { .. })) => {}
                Err(error) if error.is_passing() => {}
                Ok(Done::Nothing(_)) => {
                    let reason = "nothing is left to do".to_owned();
                    self.link.tell(&ToLauncher::GiveUp(GiveUp { id, reason }));
                }
                Err(error) => self.link.tell(&ToLauncher::GiveUp(GiveUp { id, reason: error.to_string() })),
            }
        }
        // What it left half done in history or policy is put right before the next look.
        self.behind |= done.is_err();
        let running = &self.engine.running.version;
        let (result, detail) = match &done {
            Ok(Done::OnTrial { candidate, .. }) => ("on-trial".to_owned(), format!("tries {candidate}")),
            Ok(Done::Nothing(Found::Waiting { version, until, because })) => {
                ("waiting".to_owned(), format!("{version} waits until {until:.0}: {because}"))
            }
            Ok(Done::Nothing(_)) => ("up-to-date".to_owned(), format!("{running} is the newest for this node")),
            Err(error) => (error.kind().to_owned(), error.to_string()),
        };
        match &done {
            Err(UpgradeError::NoSource) => tracing::debug!(event = "no_source"),
            Err(UpgradeError::Refused(refusal)) => tracing::info!(event = "upgrade_refused", reason = %refusal),
            Err(error) => {
                self.state.counters.add("exuvia_upgrade_check_errors_total", error.kind());
                if error.kind() == "signature" {
                    self.state.counters.add("exuvia_upgrade_signature_failures_total", "archive");
                }
                tracing::error!(event = "upgrade_failed", kind = error.kind(), %error, still_running = %running);
            }
            Ok(_) => tracing::info!(event = "upgrade_checked", result, detail),
        }
        self.link.tell(&ToLauncher::Status(format!("{running}: {detail}")));
        self.state.checks().last = Some(LastCheck { at: Timestamp::now(), result, detail });
        self.state.set(match &done {
            Ok(Done::OnTrial { .. }) => Activity::OnTrial,
            _ => Activity::Idle,
        });
        if let Ok(Done::Nothing(Found::Waiting { version, until, because })) = &done {
            let wait = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
            // A sibling's trial may end at any time; the rest is known to the moment. The more nodes wait,
            // the less often each of them looks: whoever finds the lease free prepares at some expense.
            let pause = match because {
                Wait::SiblingTries(_) => {
                    let siblings = self.engine.install.siblings_without(version, &self.engine.node).min(LONGEST_QUEUE);
                    Duration::from_millis(500).mul_f64(1.0 + random() * f64::from(siblings))
                }
                Wait::Gate(_) | Wait::SiblingFailed(_) | Wait::Unclear(_) => wait,
            };
            if Instant::now() + pause < self.next {
                self.next = self.look_at(pause);
            }
        }
        // A source that asks for a longer pause than ours gets it.
        if let Err(error) = &done
            && let Some(pause) = error.retry_after().map(|pause| pause.min(LONGEST_PAUSE))
            && Instant::now() + pause > self.next
        {
            self.next = self.look_at(pause.mul_f64(1.0 + random() / 10.0));
        }
        let event = match done {
            Ok(done) => Event::Told(Told::of(&done, &self.engine.running.version)),
            Err(error) => Event::Failed(Failure::of(&error)),
        };
        self.answer(event);
        if let Some(queued) = self.queued.take() {
            self.take(queued);
        }
    }
}

/// The job's listeners, and the rest.
fn split(listeners: Vec<(Listener, OwnedFd)>) -> (VecDeque<TcpListener>, Vec<(Listener, OwnedFd)>) {
    let (job, rest): (Vec<_>, Vec<_>) =
        listeners.into_iter().partition(|(listener, _)| matches!(listener, Listener::Job(_)));
    (job.into_iter().map(|(_, fd)| fd.into()).collect(), rest)
}

async fn finished(running: &mut Option<JoinHandle<Result<Done, UpgradeError>>>) -> Result<Done, UpgradeError> {
    match running {
        Some(task) => task.await.unwrap_or_else(|error| Err(UpgradeError::CutShort(error))),
        None => std::future::pending().await,
    }
}

/// That moment; never, where there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Before it is ready, a worker heeds only the word to leave.
async fn wait_for_leave(orders: &mut mpsc::UnboundedReceiver<Order>) {
    loop {
        if let Some(Order::Drain { .. } | Order::Alone) | None = orders.recv().await {
            return;
        }
    }
}

fn job_ended(ended: Result<Result<(), super::app::JobError>, tokio::task::JoinError>) -> WorkerError {
    WorkerError::Job(match ended {
        Ok(Ok(())) => "it returned, though nobody asked it to stop".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    })
}

/// Uniform in [0, 1).
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness: the middle.
    if getrandom::fill(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
