use std::io;
use std::net::{SocketAddr, TcpListener};

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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

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
