//! A launcher becomes another version of itself: exec keeps the pid, the children, pending signals
//! and, inside one queued message, every descriptor.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::protocol::{Reloads, Reported};
use super::sockets::{SocketNote, Sockets};
use super::worker::{Tail, Worker};
use crate::config::{ConfigFile, hand_files, take_files};
use crate::install::{Binary, Installed};
use crate::sys::{Channel, ChildPid, Lock, Moment, OutputPipe, Program};
use crate::types::Overlap;

/// Set for a launcher that takes over from another one.
pub(super) const VARIABLE: &str = "EXUVIA_INTERNAL_HANDOFF";

/// What the next launcher must know, beside the node's record.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    committed: PathBuf,
    worker: Option<WorkerNote>,
    sockets: Vec<SocketNote>,
    #[serde(default)]
    reloads: Reloads,
    #[serde(default)]
    reload_due: bool,
    /// A launcher that does not know them has none.
    #[serde(default)]
    companions: Vec<i32>,
    /// Whether a descriptor behind the sockets holds the configuration files.
    #[serde(default)]
    files: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct WorkerNote {
    pid: i32,
    runs: Installed,
    marker: String,
    tail: String,
    ready: bool,
    #[serde(default)]
    overlap: Overlap,
    started: Moment,
    heard: Moment,
}

/// Everything that passes from one launcher to the next.
#[derive(Debug)]
pub struct Baton {
    /// The path that the service manager starts.
    pub(super) committed: PathBuf,
    /// The worker that serves.
    pub(super) worker: Option<Worker>,
    /// Holds the node's folder.
    pub(super) lock: Lock,
    pub(super) sockets: Sockets,
    /// What became of reloads so far.
    pub(super) reloads: Reloads,
    /// A reload was asked for, and waits for the end of the trial.
    pub(super) reload_due: bool,
    /// Children of before the first launcher: they are not to be taken for orphans.
    pub(super) companions: Vec<ChildPid>,
    /// The configuration files that the settings are from.
    pub(super) files: Option<Vec<ConfigFile>>,
}

impl Baton {
    /// Becomes `binary` with these arguments. Returns only on failure, and then nothing has changed.
    pub(super) fn pass(&self, binary: &Binary, args: &[OsString]) -> io::Error {
        let attempt = || -> io::Result<io::Error> {
            let (ours, theirs) = Channel::pair()?;
            // Without them, the next launcher reads what lies there.
            let files = self.files.as_deref().and_then(|files| hand_files(files).ok());
            let note = Note {
                committed: self.committed.clone(),
                worker: self.worker.as_ref().map(|worker| WorkerNote {
                    pid: worker.pid.as_raw(),
                    runs: worker.runs.clone(),
                    marker: worker.marker.clone(),
                    tail: worker.tail.text(),
                    ready: worker.ready,
                    overlap: worker.overlap,
                    started: worker.started,
                    heard: worker.heard,
                }),
                sockets: self.sockets.notes(),
                reloads: self.reloads,
                reload_due: self.reload_due,
                companions: self.companions.iter().map(|companion| companion.as_raw()).collect(),
                files: files.is_some(),
            };
            let stdin = io::stdin();
            let mut fds: Vec<BorrowedFd<'_>> = vec![stdin.as_fd(), self.lock.as_fd()];
            fds.extend(self.sockets.fds());
            fds.extend(files.as_ref().map(AsFd::as_fd));
            if let Some(worker) = &self.worker {
                fds.push(worker.channel.as_fd());
                fds.extend(worker.output.as_ref().map(AsFd::as_fd));
            }
            ours.send(&serde_json::to_vec(&note)?, &fds)?;
            let program = Program {
                handle: binary.file(),
                name: binary.path().as_os_str(),
                args,
                env: &[(VARIABLE, OsString::from("1"))],
                hidden_env: &[],
            };
            Ok(program.exec(&theirs))
        };
        attempt().unwrap_or_else(|error| error)
    }

    /// The configuration files that the launcher before ran with.
    #[must_use]
    pub fn files(&self) -> Option<&[ConfigFile]> {
        self.files.as_deref()
    }

    /// Takes the baton, if this process was started to take one.
    pub fn take() -> io::Result<Option<Self>> {
        if std::env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the previous launcher left no usable message");
        let message = Channel::from_stdin()?.recv()?.ok_or_else(malformed)?;
        let note: Note = serde_json::from_slice(&message.bytes)?;
        let mut fds = message.fds.into_iter();
        let stdin = fds.next().ok_or_else(malformed)?;
        crate::sys::set_stdin(&stdin)?;
        let lock = Lock::from_fd(fds.next().ok_or_else(malformed)?);
        let mut sockets = Vec::new();
        for socket in note.sockets {
            sockets.push((socket, fds.next().ok_or_else(malformed)?));
        }
        let sockets = Sockets::adopt(sockets);
        let files = if note.files { Some(take_files(fds.next().ok_or_else(malformed)?)?) } else { None };
        let worker = match note.worker {
            None => None,
            Some(worker) => {
                let mut tail = Tail::default();
                tail.push(worker.tail.as_bytes());
                Some(Worker {
                    pid: ChildPid::adopt(worker.pid).ok_or_else(malformed)?,
                    runs: worker.runs,
                    channel: Channel::from_fd(fds.next().ok_or_else(malformed)?),
                    connected: true,
                    output: fds.next().map(OutputPipe::from_fd).transpose()?,
                    marker: worker.marker,
                    tail,
                    ready: worker.ready,
                    overlap: worker.overlap,
                    started: worker.started,
                    heard: worker.heard,
                    stopping: false,
                    said: Reported::default(),
                    exit: None,
                })
            }
        };
        let (reloads, reload_due) = (note.reloads, note.reload_due);
        let companions = note.companions.into_iter().filter_map(ChildPid::adopt).collect();
        Ok(Some(Self { committed: note.committed, worker, lock, sockets, reloads, reload_due, companions, files }))
    }
}
