use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Has the kernel end this process after `span` (in whole seconds, rounded up), unless it is called
/// again before. Holds across exec: a program that does not get as far as to call it is ended.
pub fn end_myself_after(span: Option<Duration>) {
    match span {
        Some(span) => {
            let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
            nix::unistd::alarm::set(u32::try_from(seconds.max(1)).unwrap_or(u32::MAX));
        }
        None => {
            nix::unistd::alarm::cancel();
        }
    }
}

/// The signals that a launcher lives by, blocked and read from a descriptor: none is lost, not even
/// across exec, where blocked signals stay pending.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// SIGTERM or SIGINT: stop.
    Stop,
    /// SIGHUP: reload.
    Reload,
    /// SIGCHLD: a child ended.
    Child,
}

impl Signals {
    /// Blocks the signals in this thread and opens their descriptor. Call it before other threads start.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next signal that is pending, if any.
    pub fn next(&self) -> io::Result<Option<Arrived>> {
        let Some(info) = self.0.read_signal()? else { return Ok(None) };
        let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
        Ok(Some(match signal {
            Some(Signal::SIGHUP) => Arrived::Reload,
            Some(Signal::SIGCHLD) => Arrived::Child,
            _ => Arrived::Stop,
        }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
