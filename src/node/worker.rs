use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::app::{App, AppError, JobContext};
use super::control::{self, Event, Failure, Order as Asked, Request, Told};
use super::http::{self, Site};
use super::link::{Link, Order, Start};
use super::source::{SourceError, source};
use super::state::{Activity, State};
use super::status::LastCheck;
use crate::cache::{Cache, Keep};
use crate::config::{CacheLimits, Settings};
use crate::fetch::Freshness;
use crate::install::{Install, InstallError, NodeRecord, Progress};
use crate::launcher::{GiveUp, Listener, ToLauncher};
use crate::ledger::{Ledger, LedgerError};
use crate::rollout;
use crate::sys::{Loose, PrivateDir, SysError};
use crate::types::Target;
use crate::upgrade::{
    CacheAnswer, Done, Engine, Found, Observer, Step, UpgradeError, Wait, Work, close_orphans, import_verdicts,
    settle_pin,
};

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It was not started by a launcher.
    #[error("a worker is started by its launcher, never by hand ({0}); use `run`")]
    Launcher(std::io::Error),
    /// The build itself is not whole.
    #[error(transparent)]
    App(#[from] AppError),
    /// The settings name no source that can be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The install folder cannot be used.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file or folder could not be used.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A part of the worker failed.
    #[error("the worker cannot go on: {0}. Its launcher starts it again")]
    Io(#[from] std::io::Error),
    /// The job ended by itself.
    #[error("the node's job ended: {0}. Its launcher starts it again")]
    Job(String),
}

/// Runs a worker until its launcher asks it to leave. `options` are those that this program was
/// started with, before its verb.
pub fn run(app: &App, settings: Settings, options: Vec<OsString>) -> Result<(), WorkerError> {
    let start = Link::open().map_err(WorkerError::Launcher)?;
    // Staged bytes and private copies are nobody else's business, also not a debugger's.
    crate::sys::forbid_dumping()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(Worker::serve(*app, settings, options, start));
    // Work that still blocks on disk or network ends with the process.
    runtime.shutdown_background();
    outcome
}

/// The engine of an upgrade, opened from the settings. Also used by the command line where no node
/// runs: then `running` is `None`, and the caller holds the node's lock.
pub fn engine(
    app: &App,
    settings: Settings,
    options: Vec<OsString>,
    committed: &std::path::Path,
    running: Option<crate::install::Installed>,
) -> Result<Engine, WorkerError> {
    let product = app.product()?;
    let data = PrivateDir::open_or_create(&settings.data_dir, Loose::RefuseWritable)?;
    let ledger = Ledger::open(&data, Timestamp::now())?;
    let install = Install::open_or_detached(committed, &product, &data)?;
    let cache =
        Cache::open(&settings.cache_dir).inspect_err(|error| tracing::warn!(event = "cache_unusable", %error)).ok();
    let shared = cache.as_ref().map(|cache| cache.listings().clone());
    let source = source(&settings, shared)?.map(Arc::new);
    let running = match running {
        Some(running) => running,
        None => install.adopt(&settings.node, &app.version()?)?.0.running,
    };
    Ok(Engine {
        product,
        target: Target::of_this_build(),
        keyring: app.keyring()?,
        node: settings.node.clone(),
        running,
        install,
        cache,
        source,
        ledger,
        settings,
        options,
    })
}

/// The longest pause that a source can ask for: nobody silences a node for good.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// How long a leaving worker waits for the end of work that is all but done.
const LAST_WORD: Duration = Duration::from_millis(300);

struct Worker {
    engine: Arc<Engine>,
    state: Arc<State>,
    link: Link,
    /// The upgrade under way, and who waits for its answer.
    running: Option<JoinHandle<Result<Done, UpgradeError>>>,
    /// The trial that is being begun again.
    resumed: Option<String>,
    asked: Option<tokio::sync::oneshot::Sender<Event>>,
    /// A request that waits for the work under way.
    queued: Option<Asked>,
    next: Instant,
    /// The history lacks something that the record tells: there was no room for it.
    behind: bool,
}

impl Worker {
    async fn serve(app: App, settings: Settings, options: Vec<OsString>, start: Start) -> Result<(), WorkerError> {
        let Start { link, hello, listeners, mut orders } = start;
        let (stop, stopping) = watch::channel(false);
        let (activate, active) = watch::channel(false);
        let ready = Arc::new(Notify::new());
        let mut job = tokio::spawn((app.job)(JobContext { ready: ready.clone(), active, stopping: stopping.clone() }));

        // Whoever signals a worker by hand wants it to leave in order.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut pulse = tokio::time::interval((settings.trial.watchdog / 4).max(Duration::from_millis(50)));
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let opened = {
            let (hello, drain) = (hello.clone(), settings.trial.drain);
            let engine = tokio::task::spawn_blocking(move || {
                engine(&app, settings, options, &hello.committed, Some(hello.running.clone()))
            });
            (engine.await.map_err(std::io::Error::other)??, drain)
        };
        let (engine, drain) = (Arc::new(opened.0), opened.1);
        let state = Arc::new(State::new(hello.launcher.clone()));
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
            behind: false,
        };

        tokio::select! {
            () = ready.notified() => worker.link.tell(&ToLauncher::Ready),
            ended = &mut job => return Err(job_ended(ended)),
            () = wait_for_leave(&mut orders) => return Ok(()),
            _ = terminate.recv() => {
                worker.link.tell(&ToLauncher::Stopping);
                return Ok(());
            }
        }
        let (requests, mut asked) = mpsc::channel::<Asked>(8);
        let mut listeners = Some(listeners);
        let mut servers: Vec<JoinHandle<std::io::Result<()>>> = Vec::new();
        loop {
            let idle = worker.running.is_none() && *activate.borrow();
            tokio::select! {
                _ = pulse.tick() => worker.link.tell(&ToLauncher::Watchdog),
                order = orders.recv() => match order {
                    Some(Order::Activate) => {
                        // Said again after a trial that was cut short, and then to the proven worker.
                        let again = activate.send_replace(true);
                        let on_trial = hello.on_trial && !again;
                        for (listener, fd) in listeners.take().into_iter().flatten() {
                            let (site, stopping) = (site.clone(), stopping.clone());
                            servers.push(match listener {
                                Listener::Http => tokio::spawn(http::serve(fd, site, stopping)),
                                Listener::Control => tokio::spawn(control::serve(fd, site, requests.clone(), stopping)),
                            });
                        }
                        worker.activated(on_trial).await;
                    }
                    Some(Order::Verdict(verdict)) => worker.heard_verdict(&verdict).await,
                    Some(Order::Launcher(version)) => worker.state.set_launcher(version),
                    Some(Order::Drain) => break,
                    Some(Order::Alone) | None => {
                        tracing::error!(event = "launcher_gone", "leaves");
                        return Ok(());
                    }
                },
                _ = terminate.recv() => break,
                request = asked.recv() => if let Some(request) = request { worker.take(request) },
                () = tokio::time::sleep_until(worker.next), if idle => worker.look().await,
                done = finished(&mut worker.running) => worker.settle(done),
                ended = &mut job => return Err(job_ended(ended)),
            }
        }
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
        stop.send_replace(true);
        let leave = async {
            for server in servers {
                server.await.ok();
            }
            job.await.ok();
        };
        tokio::time::timeout(drain, leave).await.ok();
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
        self.next = match record.and_then(|record| record.trial) {
            Some(trial) if trial.progress == Progress::Pending && self.running.is_none() => {
                self.start(Work::Resume(trial));
                self.next_look()
            }
            // Spread a little, so that a host's nodes do not all ask in the same moment.
            _ => {
                Instant::now() + self.engine.settings.poll.interval.min(Duration::from_secs(10)).mul_f64(random() / 2.0)
            }
        };
    }

    /// Takes over what was found out while no worker of this version listened. A full disk, say,
    /// costs the note of it until the next look for releases, and never the node: the record keeps
    /// its verdicts.
    async fn catch_up(&mut self) -> Option<NodeRecord> {
        let engine = self.engine.clone();
        // An attempt of this worker's own is no orphan.
        let idle = self.running.is_none();
        let caught_up = tokio::task::spawn_blocking(move || -> Result<_, WorkerError> {
            let record = engine.install.node(&engine.node)?;
            if let Some(record) = &record {
                import_verdicts(&engine, record, Timestamp::now())?;
                if idle {
                    close_orphans(&engine, record, Timestamp::now())?;
                    settle_pin(&engine, record)?;
                }
            }
            match engine.install.prune() {
                Ok(removed) => {
                    for version in removed {
                        tracing::info!(event = "version_removed", version);
                    }
                }
                // A sibling's damaged record, say: it keeps every version on disk, and nothing more.
                Err(error) => tracing::warn!(event = "prune_failed", %error),
            }
            Ok(record)
        });
        let outcome = caught_up.await.map_err(std::io::Error::other).map_err(WorkerError::from).flatten();
        self.behind = outcome.is_err();
        outcome.inspect_err(|error| tracing::error!(event = "history_not_written", %error)).ok().flatten()
    }

    async fn heard_verdict(&mut self, verdict: &crate::install::Verdict) {
        tracing::info!(event = "verdict_heard", version = %verdict.candidate.version, kind = ?verdict.kind);
        self.state.set(Activity::Idle);
        self.catch_up().await;
        if verdict.kind == crate::install::VerdictKind::Good {
            self.tidy_cache();
        }
        self.next = self.next_look();
    }

    /// Makes room in the shared cache, beside the work: after an upgrade something new lies there.
    fn tidy_cache(&self) {
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || {
            let Some(cache) = &engine.cache else { return };
            let CacheLimits { max_size, max_age } = engine.settings.cache;
            match cache.prune(&Keep { max_size, max_age }, SystemTime::now(), false) {
                Ok(pruned) => {
                    let (removed, strays, left) = (pruned.removed.len(), pruned.strays, pruned.left);
                    tracing::info!(event = "cache_pruned", removed, strays, left);
                }
                Err(error) => tracing::warn!(event = "cache_not_pruned", %error),
            }
        });
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
        let pending = self.engine.install.node(&self.engine.node).ok().flatten().and_then(|record| record.trial);
        match pending {
            Some(trial) if trial.progress == Progress::Pending => self.start(Work::Resume(trial)),
            Some(_) => {}
            None => self.start(Work::Poll),
        }
    }

    fn start(&mut self, work: Work) {
        self.state.counters.add("exuvia_upgrade_checks_total", "");
        self.resumed = match &work {
            Work::Resume(trial) => Some(trial.id.clone()),
            _ => None,
        };
        let (engine, link, state) = (self.engine.clone(), self.link.clone(), self.state.clone());
        let observer: Observer = Arc::new(move |step| {
            if let Step::Cached { answer, .. } = &step {
                let result = match answer {
                    CacheAnswer::Hit => "hit",
                    CacheAnswer::Miss => "miss",
                    CacheAnswer::Rejected => "rejected",
                };
                state.counters.add("exuvia_upgrade_cache_requests_total", result);
            }
            state.set(Activity::Upgrading(step));
        });
        self.running = Some(tokio::spawn(async move { engine.run(work, Timestamp::now(), &link, &observer).await }));
    }

    /// An operator asks for something.
    fn take(&mut self, Asked { request, answer }: Asked) {
        if self.running.is_some() && self.asked.is_none() && self.queued.is_none() {
            // The node looks for itself: that is over soon, or leads to a trial.
            self.queued = Some(Asked { request, answer });
            return;
        }
        let busy = self.running.is_some() || self.state.activity() == Activity::OnTrial;
        match request {
            _ if busy => {
                let failure = Failure::busy("this node works on an upgrade already; `status` shows which");
                answer.send(Event::Failed(failure)).ok();
            }
            Request::Upgrade { version, allow_downgrade, lift_veto, dry_run, from } => {
                if let (true, Some(version)) = (lift_veto, &version)
                    && let Err(error) = self.engine.ledger.lift_veto(version, Timestamp::now())
                {
                    answer.send(Event::Failed(Failure::of(&error.into()))).ok();
                    return;
                }
                let request = rollout::Request { version, allow_downgrade };
                if dry_run {
                    self.dry_run(request, from, answer);
                } else {
                    self.asked = Some(answer);
                    self.start(match from {
                        Some(bundle) => Work::UpgradeFrom { request, bundle },
                        None => Work::Upgrade(request),
                    });
                }
            }
            Request::GoBack { version } => {
                self.asked = Some(answer);
                self.start(Work::GoBack(version));
            }
            // Answered where they arrive.
            Request::Status | Request::Why { .. } => {}
        }
    }

    fn dry_run(&self, request: rollout::Request, from: Option<PathBuf>, answer: tokio::sync::oneshot::Sender<Event>) {
        let engine = self.engine.clone();
        tokio::spawn(async move {
            let observer: Observer = Arc::new(|_| ());
            let (bundle, freshness) = (from.as_deref(), Freshness::Unconditional);
            let event = match engine.find(Some(&request), bundle, freshness, Timestamp::now(), &observer).await {
                Ok((found, _)) => Event::Told(Told::found(&found, &engine.running.version)),
                Err(error) => Event::Failed(Failure::of(&error)),
            };
            answer.send(event).ok();
        });
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
        if let Ok(Done::Nothing(Found::Waiting { until, because, .. })) = &done {
            let wait = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
            // A sibling's trial may end at any time; the rest is known to the moment.
            let pause = match because {
                Wait::SiblingTries(_) => Duration::from_millis(500).mul_f64(1.0 + random()),
                Wait::Gate(_) | Wait::SiblingFailed(_) => wait,
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

    fn answer(&mut self, event: Event) {
        if let Some(asked) = self.asked.take() {
            asked.send(event).ok();
        }
    }
}

async fn finished(running: &mut Option<JoinHandle<Result<Done, UpgradeError>>>) -> Result<Done, UpgradeError> {
    match running {
        Some(task) => task.await.unwrap_or_else(|error| Err(UpgradeError::CutShort(error))),
        None => std::future::pending().await,
    }
}

/// Before it is ready, a worker heeds only the word to leave.
async fn wait_for_leave(orders: &mut mpsc::UnboundedReceiver<Order>) {
    loop {
        if let Some(Order::Drain | Order::Alone) | None = orders.recv().await {
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
