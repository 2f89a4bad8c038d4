use std::env;
use std::net::TcpListener;

use listenfd::ListenFd;

/// A listening TCP socket that the service manager opened for this process.
#[derive(Debug)]
pub struct GivenSocket {
    /// Its name (`FileDescriptorName=`): the socket unit's own where that names none.
    pub name: String,
    /// The socket, closed on exec, and reads from it never wait.
    pub socket: TcpListener,
}

/// More than a service manager passes on purpose.
const MOST: usize = 64;

/// Takes the listening sockets that the service manager passed to this very process
/// (`sd_listen_fds(3)`), and takes their variables away. Others than TCP are closed, and counted.
/// Call it before any thread is started.
#[must_use]
pub fn given_sockets() -> (Vec<GivenSocket>, usize) {
    let number = |name: &str| env::var(name).ok()?.parse::<usize>().ok();
    let ours = usize::try_from(std::process::id()).ok();
    if number("LISTEN_PID") != ours || number("LISTEN_FDS").is_none_or(|count| count > MOST) {
        return (Vec::new(), 0);
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let mut passed = ListenFd::from_env();
    let (mut given, mut other) = (Vec::new(), 0);
    for at in 0..passed.len() {
        let name = names.next().unwrap_or_default();
        let nonblocking = |socket: TcpListener| socket.set_nonblocking(true).map(|()| socket);
        match passed.take_tcp_listener(at).ok().flatten().map(nonblocking) {
            Some(Ok(socket)) => given.push(GivenSocket { name, socket }),
            _ => {
                other += 1;
                // Dropped, so that no worker inherits them.
                drop((passed.take_unix_listener(at), passed.take_udp_socket(at), passed.take_unix_datagram(at)));
            }
        }
    }
    (given, other)
}
