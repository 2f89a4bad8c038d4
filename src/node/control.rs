//! The control socket: one request a connection, as a line of JSON, then lines of JSON back.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::http::Site;
use super::leaving::{Leaving, left};
use super::status::Status;
use crate::install::InstallError;
use crate::launcher::CONTROL_SOCKET;
use crate::ledger::AttemptId;
use crate::rollout::Why;
use crate::sys::PrivateDir;
use crate::types::Version;
use crate::upgrade::{Done, Found, HostGate, Step, UpgradeError};

/// What an operator asks of a running node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Tell about yourself.
    Status,
    /// Upgrade.
    Upgrade {
        /// To this version; `None`: the newest.
        version: Option<Version>,
        /// Also when it is older.
        allow_downgrade: bool,
        /// Lift this node's veto on it first.
        lift_veto: bool,
        /// Only find out what would be done.
        dry_run: bool,
        /// From this bundle instead of the configured source; an absolute path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<PathBuf>,
        /// The time at which its metadata must have been valid; `None`: now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        valid_at: Option<Timestamp>,
    },
    /// Explain what is gone to, or is not.
    Why {
        /// This version; `None`: what the node would go to by itself.
        version: Option<Version>,
    },
    /// Go back to a version that this node ran before.
    GoBack {
        /// Which; `None`: the previous one.
        version: Option<Version>,
    },
}

/// One line of a node's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Progress.
    Progress(Step),
    /// The answer to [`Request::Status`].
    Status(Box<Status>),
    /// The answer to [`Request::Why`].
    Why(Box<Explained>),
    /// The end: what came of it.
    Told(Told),
    /// The end: it was not done.
    Failed(Failure),
}

/// Why a node goes to a version, or does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// The gates of the rollout.
    #[serde(flatten)]
    pub why: Why,
    /// What stands before it on this host.
    pub host: Option<HostGate>,
}

/// What came of a request for an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum Told {
    /// There is nothing to do.
    UpToDate {
        /// What runs.
        running: Version,
    },
    /// Time, or a sibling, stands before it.
    Waiting {
        /// The version.
        version: Version,
        /// For what.
        because: String,
        /// When to look again.
        until: Timestamp,
    },
    /// A dry run: this would be done.
    WouldGo {
        /// What runs.
        from: Version,
        /// Where it would go.
        to: Version,
    },
    /// The trial has begun. Its verdict will be in the history under this number.
    OnTrial {
        /// The attempt.
        attempt: AttemptId,
        /// The version.
        version: Version,
    },
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure: decides the exit code.
    pub kind: FailureKind,
    /// A stable word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The kinds of failure that an exit code tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Something did not verify.
    Verification,
    /// Policy stands against it.
    Policy,
    /// The source, or the way to it.
    Source,
    /// Space, permission, damage.
    Storage,
    /// Something else is under way.
    Busy,
    /// This install cannot upgrade itself.
    Unsupported,
    /// The request makes no sense here.
    Usage,
    /// Nothing of that.
    Unexpected,
}

impl Failure {
    /// Describes a failed upgrade.
    #[must_use]
    pub fn of(error: &UpgradeError) -> Self {
        let kind = match error {
            _ if error.is_verification() => FailureKind::Verification,
            UpgradeError::Refused(_)
            | UpgradeError::Install(InstallError::Replaced(_))
            | UpgradeError::StateTooOld { .. }
            | UpgradeError::StateGone { .. }
            | UpgradeError::StateTooNew { .. } => FailureKind::Policy,
            _ if error.is_storage() => FailureKind::Storage,
            UpgradeError::Fetch(_) | UpgradeError::Asset { .. } | UpgradeError::NoLongerOffered { .. } => {
                FailureKind::Source
            }
            UpgradeError::NoSource | UpgradeError::Source(_) | UpgradeError::NothingToGoBackTo { .. } => {
                FailureKind::Usage
            }
            UpgradeError::Unsupported { .. }
            | UpgradeError::Install(InstallError::Unsupported { .. } | InstallError::NotUtf8(_)) => {
                FailureKind::Unsupported
            }
            UpgradeError::Install(InstallError::Busy(_))
            | UpgradeError::SiblingTries { .. }
            | UpgradeError::Launcher { .. } => FailureKind::Busy,
            _ => FailureKind::Unexpected,
        };
        Self { kind, reason: error.kind().to_owned(), message: error.to_string() }
    }

    pub(super) fn busy(message: &str) -> Self {
        Self { kind: FailureKind::Busy, reason: "busy".to_owned(), message: message.to_owned() }
    }
}

impl Told {
    /// Describes what an upgrade came to.
    #[must_use]
    pub fn of(done: &Done, running: &Version) -> Self {
        match done {
            Done::OnTrial { attempt, candidate } => {
                Self::OnTrial { attempt: *attempt, version: candidate.version.clone() }
            }
            Done::Nothing(found) => Self::found(found, running),
        }
    }

    /// Describes what there is to do.
    #[must_use]
    pub fn found(found: &Found, running: &Version) -> Self {
        match found {
            Found::UpToDate => Self::UpToDate { running: running.clone() },
            Found::Plan(plan) => Self::WouldGo { from: running.clone(), to: plan.version.clone() },
            Found::Waiting { version, until, because } => {
                Self::Waiting { version: version.clone(), because: because.to_string(), until: *until }
            }
        }
    }
}

/// A request on its way to the worker's loop, and where its answer goes.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Event>,
}

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// How long a stop waits for answers on their way.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Answers operators until the worker leaves.
pub(super) async fn serve(
    listener: OwnedFd,
    site: Site,
    orders: mpsc::Sender<Order>,
    mut leaving: watch::Receiver<Option<Leaving>>,
) -> io::Result<()> {
    let listener = std::os::unix::net::UnixListener::from(listener);
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors, say: the next one may go better.
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let (site, orders) = (site.clone(), orders.clone());
                conversations.spawn(async move {
                    if let Err(error) = answer(stream, site, orders).await {
                        tracing::debug!(event = "control_connection_failed", %error);
                    }
                });
            }
            _ = conversations.join_next(), if !conversations.is_empty() => {}
            _ = left(&mut leaving) => break,
        }
    }
    // Every request has its answer by now; what is left is to write it.
    tokio::time::timeout(LAST_WORDS, conversations.join_all()).await.ok();
    Ok(())
}

async fn answer(stream: tokio::net::UnixStream, site: Site, orders: mpsc::Sender<Order>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(read.take(LONGEST_LINE));
    tokio::time::timeout(REQUEST_PATIENCE, reader.read_line(&mut line)).await??;
    let request = match serde_json::from_str::<Request>(&line) {
        Ok(request) => request,
        Err(error) => {
            let message = format!("this node does not understand the request ({error}); it may be of another version");
            let failure = Failure { kind: FailureKind::Usage, reason: "request".to_owned(), message };
            return send(&mut write, &Event::Failed(failure)).await;
        }
    };
    if request == Request::Status {
        let Site { engine, state } = site;
        let gathered = tokio::task::spawn_blocking(move || Status::gather(&engine, &state, Timestamp::now())).await;
        let status = gathered.map_err(io::Error::other)?;
        return send(&mut write, &Event::Status(Box::new(status))).await;
    }
    if let Request::Why { version } = request {
        let explained = site.engine.why(version.as_ref(), Timestamp::now()).await;
        let event = match explained {
            Ok((why, host)) => Event::Why(Box::new(Explained { why, host })),
            Err(error) => Event::Failed(Failure::of(&error)),
        };
        return send(&mut write, &event).await;
    }
    let mut activity = site.state.watch();
    let (answer, mut answered) = oneshot::channel();
    if orders.send(Order { request, answer }).await.is_err() {
        return send(&mut write, &Event::Failed(Failure::busy("this node is stopping; try again when it runs"))).await;
    }
    loop {
        tokio::select! {
            biased;
            event = &mut answered => {
                let event = event.unwrap_or_else(|_| Event::Failed(Failure::busy("this node is stopping; try again when it runs")));
                return send(&mut write, &event).await;
            }
            changed = activity.changed() => {
                if changed.is_err() { continue }
                let now = activity.borrow_and_update().clone();
                if let super::state::Activity::Upgrading(step) = now {
                    send(&mut write, &Event::Progress(step)).await?;
                }
            }
        }
    }
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// The operator's side: sends a request to the node of that folder, and returns its answer, line by
/// line. `NotFound` or `ConnectionRefused` when no node runs there.
pub fn connect(data: &PrivateDir, request: &Request) -> io::Result<impl Iterator<Item = io::Result<Event>> + use<>> {
    let mut stream = UnixStream::connect(data.handle_path(CONTROL_SOCKET))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let lines = BufReader::new(stream).lines();
    Ok(lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::other)))
}
