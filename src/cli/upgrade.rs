use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::args::{Cli, Rollback, Upgrade, UpgradeVerb};
use super::error::CliError;
use super::follow::{follow, no_node_runs};
use super::session::{committed, data, expect_node, for_operator, install};
use super::untried;
use crate::config::Settings;
use crate::console::{Bar, Exit, say, say_json};
use crate::fetch::Freshness;
use crate::install::{Install, NodeRecord, Progress, Trial};
use crate::launcher::{LauncherError, TryReply, TryRequest};
use crate::node::{self, App, Event, Request, Told, connect};
use crate::rollout;
use crate::upgrade::{Ask, Carried, Engine, Observer, Step, Work};

pub(super) fn upgrade(app: &App, cli: &Cli, args: &Upgrade) -> Result<ExitCode, CliError> {
    let check = matches!(args.verb, Some(UpgradeVerb::Check));
    let request = Request::Upgrade {
        version: args.version.clone(),
        allow_downgrade: args.allow_downgrade,
        lift_veto: args.lift_veto,
        dry_run: args.dry_run || check,
        // The node may stand in another folder.
        from: args.from.as_deref().map(std::path::absolute).transpose().map_err(CliError::Talk)?,
        valid_at: args.valid_at,
    };
    let then = match (args.commit_untried, args.no_wait) {
        (true, _) => Then::CommitUntried,
        (false, true) => Then::Return,
        (false, false) => Then::Wait,
    };
    let told = ask(app, cli, request, then)?;
    match told {
        Told::WouldGo { .. } if check => Ok(Exit::Available.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

pub(super) fn rollback(app: &App, cli: &Cli, args: &Rollback) -> Result<ExitCode, CliError> {
    let then = if args.no_wait { Then::Return } else { Then::Wait };
    ask(app, cli, Request::GoBack { version: args.to.clone() }, then)?;
    Ok(ExitCode::SUCCESS)
}

/// What to do once a candidate is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Wait for the verdict.
    Wait,
    /// Leave that to the node.
    Return,
    /// Commit it without a trial.
    CommitUntried,
}

/// Has the running node do it, or prepares it where none runs.
fn ask(app: &App, cli: &Cli, request: Request, then: Then) -> Result<Told, CliError> {
    let settings = for_operator(app, cli)?;
    expect_node(app, &settings)?;
    let install = install(app, &settings)?;
    let data = data(&settings)?;
    let show = Show::new(cli.json);
    if then == Then::CommitUntried {
        let Some(_lock) = data.try_lock("node.lock")? else {
            return Err(CliError::NodeRuns(settings.node));
        };
        return alone(app, cli, settings, request, show, then);
    }
    let told = match connect(&data, &request) {
        Ok(events) => {
            let mut told = None;
            for event in events {
                match event.map_err(CliError::Talk)? {
                    Event::Progress(step) => show.step(&step),
                    Event::Told(answer) => told = Some(answer),
                    Event::Failed(failure) => return Err(CliError::Node(failure)),
                    Event::Status(_) | Event::Why(_) => {}
                }
            }
            told.ok_or(CliError::BrokenOff)?
        }
        Err(error) if no_node_runs(&error) => {
            let Some(_lock) = data.try_lock("node.lock")? else {
                let folder = data.path().to_owned();
                return Err(LauncherError::Running { node: settings.node, folder }.into());
            };
            return alone(app, cli, settings, request, show, then);
        }
        Err(error) => return Err(CliError::Talk(error)),
    };
    drop(show);
    tell(cli, &told);
    if let Told::OnTrial { attempt, .. } = told
        && then == Then::Wait
    {
        follow(&install, &settings, cli, attempt)?;
    }
    Ok(told)
}

fn tell(cli: &Cli, told: &Told) {
    if cli.json {
        return say_json(told);
    }
    say(&match told {
        Told::UpToDate { running } => format!("up to date: runs {running}"),
        Told::Waiting { version, because, until } => format!("{version} waits until {until:.0}: {because}"),
        Told::WouldGo { from, to } => format!("an update is available: {from} -> {to}"),
        Told::OnTrial { attempt, version } => format!("{version} is on trial (attempt {attempt})"),
    });
}

/// No node runs: everything up to the trial happens here, and the next start begins with it.
fn alone(app: &App, cli: &Cli, settings: Settings, request: Request, show: Show, then: Then) -> Result<Told, CliError> {
    let engine = Arc::new(node::engine(app, settings, cli.options(), &committed()?, None)?);
    let running = engine.running.version.clone();
    let show = Arc::new(show);
    let shown = show.clone();
    let observer: Observer = Arc::new(move |step| shown.step(&step));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(CliError::Talk)?;
    let told = runtime.block_on(work(&engine, request, &observer, then));
    runtime.shutdown_background();
    drop((observer, show));
    let told = told?;
    match &told {
        Told::OnTrial { version, .. } if then == Then::CommitUntried => untried::tell(cli, version, &running),
        Told::OnTrial { version, .. } if !cli.json => {
            say(&format!(
                "{version} is verified and ready; no node runs, so it is tried at the next `run`. Still installed: {running}"
            ));
        }
        told => tell(cli, told),
    }
    Ok(told)
}

async fn work(engine: &Arc<Engine>, request: Request, observer: &Observer, then: Then) -> Result<Told, CliError> {
    let now = Timestamp::now();
    let running = &engine.running.version;
    let work = match request {
        Request::Upgrade { version, allow_downgrade, lift_veto, dry_run, from, valid_at } => {
            let from = from.map(|bundle| Carried { bundle, valid_at });
            if let (true, Some(version)) = (lift_veto, &version) {
                engine.ledger.lift_veto(version, now)?;
            }
            let request = rollout::Request { version, allow_downgrade, resumes: false };
            if dry_run {
                let (from, freshness) = (from.as_ref(), Freshness::Unconditional);
                let (found, _) = engine.find(Some(&request), from, freshness, now, observer).await?;
                return Ok(Told::found(&found, running));
            }
            match from {
                Some(from) => Work::UpgradeFrom { request, from },
                None => Work::Upgrade(request),
            }
        }
        Request::GoBack { version } => Work::GoBack(version),
        Request::Status | Request::Why { .. } => return Ok(Told::UpToDate { running: running.clone() }),
    };
    let done = match then {
        Then::CommitUntried => untried::run(engine, work, now, observer).await?,
        _ => engine.run(work, now, &Recorder { engine: engine.clone() }, observer).await?,
    };
    Ok(Told::of(&done, running))
}

/// Stands in for the launcher where none runs: notes the trial for its next start.
struct Recorder {
    engine: Arc<Engine>,
}

impl Ask for Recorder {
    async fn ask(&self, request: TryRequest) -> TryReply {
        let TryRequest { id, candidate, purpose, .. } = request;
        let Engine { install, node, running, settings, .. } = &*self.engine;
        let trial = Trial {
            id: id.clone(),
            candidate,
            purpose,
            progress: Progress::Pending,
            tries_left: settings.trial.tries.into(),
            lease: None,
            since: Timestamp::now(),
            before: None,
            state: None,
        };
        let noted = note(install, node, running, trial);
        match noted {
            Ok(()) => TryReply::Accepted { id },
            Err(error) => TryReply::Refused { id, reason: error.to_string() },
        }
    }
}

fn note(
    install: &Install,
    node: &crate::types::NodeName,
    running: &crate::install::Installed,
    trial: Trial,
) -> Result<(), crate::install::InstallError> {
    let record = install.node(node)?;
    let mut record = record.unwrap_or_else(|| NodeRecord::new(running.clone(), 0));
    record.trial = Some(trial);
    install.write_node(node, &record)
}

/// Progress on a terminal; each step once where nobody watches.
struct Show {
    json: bool,
    state: Mutex<(String, Option<(Bar, u64)>)>,
}

impl Show {
    fn new(json: bool) -> Self {
        Self { json, state: Mutex::new((String::new(), None)) }
    }

    fn step(&self, step: &Step) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, bar) = &mut *state;
        if self.json {
            return say_json(step);
        }
        let words = step.to_string();
        let bytes = match step {
            Step::Downloading { done, total: Some(total), .. } => Some((*done, *total)),
            _ => None,
        };
        if *last != words && !matches!(step, Step::WaitingForDownload { done: 1.., .. }) {
            *bar = None;
            say(&words);
            *last = words;
        }
        if let Some((done, total)) = bytes.filter(|_| std::io::stderr().is_terminal()) {
            let (bar, before) = bar.get_or_insert_with(|| (Bar::new("download", total), 0));
            bar.advance(done.saturating_sub(*before));
            *before = done;
        }
    }
}
