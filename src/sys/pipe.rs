use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;

/// The reading end of a pipe into which a child writes. Reading it never waits.
#[derive(Debug)]
pub struct OutputPipe(OwnedFd);

/// What reading an [`OutputPipe`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes.
    Bytes(usize),
    /// Nothing at the moment.
    Nothing,
    /// Nobody can write any more.
    End,
}

impl OutputPipe {
    /// A pipe: our end, and the child's.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        Self::from_fd(ours).map(|ours| (ours, theirs))
    }

    /// Takes over an end that arrived as a descriptor.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        rustix::fs::fcntl_setfl(&fd, OFlags::NONBLOCK)?;
        Ok(Self(fd))
    }

    /// Reads what is there.
    pub fn read_now(&self, piece: &mut [u8]) -> Piece {
        match rustix::io::read(&self.0, piece) {
            Ok(0) => Piece::End,
            Ok(n) => Piece::Bytes(n),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Piece::Nothing,
            Err(_) => Piece::End,
        }
    }
}

impl AsFd for OutputPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of `fds` can be read (or has ended), or until `patience` is over.
pub fn wait_readable(fds: &[BorrowedFd<'_>], patience: Duration) -> io::Result<()> {
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = Timespec::try_from(patience.min(Duration::from_hours(1))).map_err(io::Error::other)?;
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a write of up to 4,096 bytes (`PIPE_BUF`) would not wait.
#[must_use]
pub fn can_write_now(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(&fd, PollFlags::OUT)];
    rustix::event::poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
        && polled[0].revents().contains(PollFlags::OUT)
}
