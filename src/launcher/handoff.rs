//! A launcher becomes another version of itself: exec keeps the pid, the children, pending signals
//! and, inside one queued message, every descriptor.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::protocol::{Listener, Reported};
use super::worker::{Tail, Worker};
use crate::install::{Binary, Installed};
use crate::sys::{Channel, ChildPid, Lock, Moment, OutputPipe, Program};

/// Set for a launcher that takes over from another one.
pub(super) const VARIABLE: &str = "EXUVIA_INTERNAL_HANDOFF";

/// What the next launcher must know, beside the node's record.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    committed: PathBuf,
    worker: Option<WorkerNote>,
    listeners: Vec<Listener>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WorkerNote {
    pid: i32,
    runs: Installed,
    marker: String,
    tail: String,
    ready: bool,
    started: Moment,
    heard: Moment,
}

/// Everything that passes from one launcher to the next.
#[derive(Debug)]
pub(super) struct Baton {
    /// The path that the service manager starts.
    pub(super) committed: PathBuf,
    /// The worker that serves.
    pub(super) worker: Option<Worker>,
    /// Holds the node's folder.
    pub(super) lock: Lock,
    pub(super) listeners: Vec<(Listener, OwnedFd)>,
}

impl Baton {
    /// Becomes `binary` with these arguments. Returns only on failure, and then nothing has changed.
    pub(super) fn pass(&self, binary: &Binary, args: &[OsString]) -> io::Error {
        let attempt = || -> io::Result<io::Error> {
            let (ours, theirs) = Channel::pair()?;
            let note = Note {
                committed: self.committed.clone(),
                worker: self.worker.as_ref().map(|worker| WorkerNote {
                    pid: worker.pid.as_raw(),
                    runs: worker.runs.clone(),
                    marker: worker.marker.clone(),
                    tail: worker.tail.text(),
                    ready: worker.ready,
                    started: worker.started,
                    heard: worker.heard,
                }),
                listeners: self.listeners.iter().map(|(listener, _)| *listener).collect(),
            };
            let stdin = io::stdin();
            let mut fds: Vec<BorrowedFd<'_>> = vec![stdin.as_fd(), self.lock.as_fd()];
            fds.extend(self.listeners.iter().map(|(_, fd)| fd.as_fd()));
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

    /// Takes the baton, if this process was started to take one.
    pub(super) fn take() -> io::Result<Option<Self>> {
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
        let mut listeners = Vec::new();
        for listener in note.listeners {
            listeners.push((listener, fds.next().ok_or_else(malformed)?));
        }
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
                    started: worker.started,
                    heard: worker.heard,
                    stopping: false,
                    said: Reported::default(),
                    exit: None,
                })
            }
        };
        Ok(Some(Self { committed: note.committed, worker, lock, listeners }))
    }
}
