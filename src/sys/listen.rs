use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

/// Those who connect while no worker accepts: the kernel's own limit (`net.core.somaxconn`) holds below
/// that. The standard library asks for 128.
const QUEUE: i32 = 4096;

/// A listening TCP socket with a long queue, closed on exec; accepting from it never waits.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    rustix::net::listen(&socket, QUEUE)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// As [`listen`], where sockets of ours may be open on addresses of the same port that contain this one, or are
/// contained in it: the kernel allows that only while all of them say that they share the port, which they do
/// here for the length of this call. Each new connection goes to the socket with the narrowest address.
pub fn listen_beside<'a>(address: SocketAddr, ours: impl Iterator<Item = BorrowedFd<'a>>) -> io::Result<TcpListener> {
    let ours: Vec<_> = ours.collect();
    let share = |shared: bool| -> io::Result<()> {
        ours.iter().try_for_each(|socket| Ok(sockopt::set_socket_reuseport(socket, shared)?))
    };
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    let outcome = share(true).and_then(|()| Ok(bind(&socket, &address)?)).and_then(|()| {
        rustix::net::listen(&socket, QUEUE)?;
        Ok(sockopt::set_socket_reuseport(&socket, false)?)
    });
    share(false)?;
    outcome?;
    let socket = TcpListener::from(socket);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether that socket listens on the port of `address`, at whatever address of its kind.
#[must_use]
pub fn listens_on_port_of(socket: BorrowedFd<'_>, address: SocketAddr) -> bool {
    let bound = rustix::net::getsockname(socket.as_fd()).ok().and_then(|bound| SocketAddr::try_from(bound).ok());
    bound.is_some_and(|bound| bound.port() == address.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_wider_or_narrower_address_of_a_port_of_ours_can_be_had_beside_it_and_then_by_nobody_else() {
        let (narrow, wide) = ([127, 0, 0, 1], [0, 0, 0, 0]);
        for (first, second) in [(narrow, wide), (wide, narrow)] {
            let old = listen((first, 0).into()).unwrap();
            let address: SocketAddr = (second, old.local_addr().unwrap().port()).into();
            assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            assert!(listens_on_port_of(old.as_fd(), address));
            let new = listen_beside(address, [old.as_fd()].into_iter()).unwrap();
            for socket in [&old, &new] {
                assert!(!sockopt::socket_reuseport(socket).unwrap());
            }
            assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            drop(old);
            TcpStream::connect(SocketAddr::from((narrow, address.port()))).unwrap();
            new.accept().unwrap();
        }
    }

    #[test]
    fn an_address_of_somebody_else_is_not_shared() {
        let theirs = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let ours = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let taken = theirs.local_addr().unwrap();
        assert!(!listens_on_port_of(ours.as_fd(), taken));
        let error = listen_beside(taken, [ours.as_fd()].into_iter()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(!sockopt::socket_reuseport(&ours).unwrap());
    }

    #[test]
    fn more_than_the_usual_queue_can_wait() {
        let socket = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        // One that finds the queue full is answered nothing, and tries again after a second.
        let patience = std::time::Duration::from_millis(900);
        let waiting: Vec<_> = (0..300).map(|_| TcpStream::connect_timeout(&address, patience).unwrap()).collect();
        assert!((0..waiting.len()).all(|_| socket.accept().is_ok()));
        assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
