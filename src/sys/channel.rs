use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};

/// One end of a private connection between two processes of ours: whole messages, in order, each
/// with up to [`Channel::MAX_FDS`] open descriptors. Nobody else can reach it, because it has no name.
///
/// When the process at the other end is gone, receiving says so: a lifeline needs nothing further.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What arrived on a [`Channel`].
#[derive(Debug)]
pub struct Message {
    /// The bytes, at most [`Channel::MAX_LEN`].
    pub bytes: Vec<u8>,
    /// The descriptors that came along, ours now, closed on exec.
    pub fds: Vec<OwnedFd>,
}

impl Channel {
    /// The longest message, in bytes.
    pub const MAX_LEN: usize = 64 * 1024;
    /// The most descriptors in one message.
    pub const MAX_FDS: usize = 16;

    /// Two connected ends, both closed on exec.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC;
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(a), Self(b)))
    }

    /// Takes the end that a parent handed down as standard input, and puts `/dev/null` there instead.
    pub fn from_stdin() -> io::Result<Self> {
        let fd = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
        let (family, kind) = (rustix::net::sockopt::socket_domain(&fd), rustix::net::sockopt::socket_type(&fd));
        if family != Ok(AddressFamily::UNIX) || kind != Ok(SocketType::SEQPACKET) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "standard input is not a channel of ours"));
        }
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
        rustix::stdio::dup2_stdin(null)?;
        Ok(Self(fd))
    }

    /// Takes over an end that arrived as a descriptor.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The descriptor, to hand it on.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// A second handle on the same end.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(rustix::io::fcntl_dupfd_cloexec(&self.0, 3)?))
    }

    /// Sends one message without ever waiting: a peer that does not read is an error, not a stall.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.len() > Self::MAX_LEN || fds.len() > Self::MAX_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "message too large for a channel"));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(Channel::MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, flags)?;
        Ok(())
    }

    /// Receives one message; waits for it. `None` when the other end is gone.
    pub fn recv(&self) -> io::Result<Option<Message>> {
        self.receive(RecvFlags::CMSG_CLOEXEC)
    }

    /// Receives one message if one is there. `WouldBlock` when none is; `None` when the peer is gone.
    pub fn try_recv(&self) -> io::Result<Option<Message>> {
        self.receive(RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    fn receive(&self, flags: RecvFlags) -> io::Result<Option<Message>> {
        let mut bytes = vec![0; Self::MAX_LEN];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(Channel::MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                // A peer that died with messages unread.
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                outcome => break outcome?,
            }
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if received.bytes == 0 && fds.is_empty() {
            return Ok(None);
        }
        bytes.truncate(received.bytes);
        Ok(Some(Message { bytes, fds }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes `fd` this process's standard input.
pub fn set_stdin(fd: &impl AsFd) -> io::Result<()> {
    rustix::stdio::dup2_stdin(fd).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_travel_with_their_message_and_a_closed_end_is_noticed() {
        let (a, b) = Channel::pair().unwrap();
        let (inner, outer) = Channel::pair().unwrap();
        a.send(b"hello", &[inner.as_fd()]).unwrap();
        drop(inner);
        let mut message = b.recv().unwrap().unwrap();
        assert_eq!(message.bytes, b"hello");
        let inner = Channel::from_fd(message.fds.pop().unwrap());
        outer.send(b"through", &[]).unwrap();
        assert_eq!(inner.recv().unwrap().unwrap().bytes, b"through");
        drop(a);
        assert!(b.recv().unwrap().is_none());
    }
}
