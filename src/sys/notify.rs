use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::ClockId;

/// Tells the service manager something (`sd_notify(3)`), where there is one that listens.
/// Failure changes nothing for a node, and so is not reported.
pub fn notify_service_manager(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        socket.set_nonblocking(true).ok();
        socket.send_to_addr(state.as_bytes(), &address).ok();
    }
}

/// Tells the service manager that a reload begins (`Type=notify-reload`); `READY=1` ends it. The time
/// tells a manager that asked for one which of its requests this answers.
pub fn notify_reloading() {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec / 1000);
    notify_service_manager(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}
