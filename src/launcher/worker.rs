use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::protocol::{Hello, Reported, ToLauncher, ToWorker};
use crate::install::{Binary, Installed};
use crate::sys::{
    Channel, ChildPid, Exit, Moment, OutputPipe, Piece, PrivateDir, Program, SysError, can_write_now, expendable,
    kill_marked,
};
use crate::types::Overlap;

/// A worker that this launcher started, or adopted from the launcher that it replaced.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) pid: ChildPid,
    pub(super) runs: Installed,
    pub(super) channel: Channel,
    /// Whether the channel's other end is still there.
    pub(super) connected: bool,
    pub(super) output: Option<OutputPipe>,
    pub(super) marker: String,
    pub(super) tail: Tail,
    pub(super) ready: bool,
    /// What it says of itself, and the safe thing until then.
    pub(super) overlap: Overlap,
    pub(super) started: Moment,
    /// When it last gave a sign of life.
    pub(super) heard: Moment,
    /// It said that it leaves.
    pub(super) stopping: bool,
    /// What it last told about its job.
    pub(super) said: Reported,
    /// Set once it is reaped.
    pub(super) exit: Option<Exit>,
}

/// Variables of the service manager, and of our own handoff, that are none of a worker's business.
pub(super) const HIDDEN: &[&str] = &[
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    super::handoff::VARIABLE,
];

/// Messages and pieces of output that are taken before the launcher looks at everything else again: a
/// worker that floods it must not keep it from its work.
const AT_A_TIME: usize = 64;

/// Marks a worker and everything that descends from it.
const MARKER: &str = "EXUVIA_INTERNAL_WORKER";
/// Marks the same with their node, for the launcher after the one that started them.
pub(super) const NODE: &str = "EXUVIA_INTERNAL_NODE";

/// What every worker of the node in that folder bears in its environment.
pub(super) fn node_mark(data: &PrivateDir) -> Result<String, SysError> {
    Ok(format!("{NODE}={}", data.identity()?))
}

impl Worker {
    /// Starts `binary` as a worker, and tells it what it must know.
    pub(super) fn start(
        binary: &Binary,
        args: &[OsString],
        hello: &Hello,
        fds: &[BorrowedFd<'_>],
        node_mark: &str,
    ) -> io::Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        // Queued before the worker exists: it finds everything at its first read.
        ours.send(&ToWorker::Hello(hello.clone()).encode(), fds)?;
        let (output, their_output) = OutputPipe::new()?;
        let mut random = [0; 12];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let id = hex::encode(random);
        let node = node_mark.split_once('=').map_or(node_mark, |(_, identity)| identity);
        let program = Program {
            handle: binary.file(),
            name: binary.path().as_os_str(),
            args,
            env: &[(MARKER, OsString::from(&id)), (NODE, OsString::from(node))],
            hidden_env: HIDDEN,
        };
        let pid = expendable(|| program.spawn(theirs.into_fd(), &their_output))?;
        Ok(Self {
            pid,
            runs: hello.running.clone(),
            channel: ours,
            connected: true,
            output: Some(output),
            marker: format!("{MARKER}={id}"),
            tail: Tail::default(),
            ready: false,
            overlap: Overlap::default(),
            started: Moment::now(),
            heard: Moment::now(),
            stopping: false,
            said: Reported::default(),
            exit: None,
        })
    }

    /// Tells the worker something. One that does not read is found out by its watchdog.
    pub(super) fn tell(&self, message: &ToWorker) {
        if let Err(error) = self.channel.send(&message.encode(), &[]) {
            tracing::debug!(event = "worker_unreachable", pid = self.pid.as_raw(), %error);
        }
    }

    /// What the worker has said since, as much as is heard at a time.
    pub(super) fn hear(&mut self) -> Vec<ToLauncher> {
        let mut heard = Vec::new();
        for _ in 0..AT_A_TIME {
            match self.channel.try_recv() {
                Ok(Some(message)) => heard.extend(ToLauncher::decode(&message.bytes)),
                Ok(None) => {
                    self.connected = false;
                    break;
                }
                Err(_) => break,
            }
        }
        if !heard.is_empty() {
            self.heard = Moment::now();
        }
        for message in &heard {
            if let ToLauncher::Overlap(overlap) = message {
                self.overlap = *overlap;
            }
        }
        heard
    }

    /// Passes on what the worker has written, as much as is read at a time, and keeps the end of it.
    pub(super) fn copy_output(&mut self) {
        let mut piece = [0; 4096];
        for _ in 0..AT_A_TIME {
            let Some(output) = &self.output else { return };
            match output.read_now(&mut piece) {
                Piece::Bytes(n) => {
                    self.tail.push(&piece[..n]);
                    pass_on(&piece[..n]);
                }
                Piece::Nothing => break,
                Piece::End => self.output = None,
            }
        }
    }

    /// Until when it must have said that it is ready, or given a further sign of life.
    pub(super) fn patience(&self, start: Duration, watchdog: Duration) -> Moment {
        if self.ready { self.heard.after(watchdog) } else { self.started.after(start) }
    }

    /// Ends it now, with its process group and whatever escaped from that. `children` are all workers
    /// of this launcher.
    pub(super) fn kill(&self, children: &[ChildPid]) {
        self.pid.kill_group();
        let strays = kill_marked(&self.marker, children);
        tracing::debug!(event = "worker_killed", pid = self.pid.as_raw(), strays);
    }
}

/// The last output of a worker, at most 8 KiB.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    const LEN: usize = 8 * 1024;

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let surplus = self.0.len().saturating_sub(Self::LEN);
        self.0.drain(..surplus);
    }

    pub(super) fn text(&self) -> String {
        let (a, b) = self.0.as_slices();
        String::from_utf8_lossy(&[a, b].concat()).into_owned()
    }
}

/// Writes to standard error only what it can take at once: a log collector that has stopped reading
/// must not stop the launcher.
fn pass_on(bytes: &[u8]) {
    if can_write_now(io::stderr().as_fd()) {
        io::stderr().write_all(bytes).ok();
    }
}
