//! The listening sockets of a node: opened here or given by the service manager, kept through every
//! change of worker and of launcher.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::protocol::Listener;
use super::setup::{CONTROL_SOCKET, LauncherError, Setup};
use crate::config::Job;
use crate::sys::{GivenSocket, Moment, SysError, listen, listen_beside, listens_on_port_of};

/// All listening sockets of a node.
#[derive(Debug)]
pub(super) struct Sockets(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    listener: Listener,
    origin: Origin,
    fd: OwnedFd,
}

/// Where a socket is from, and so what may become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Origin {
    /// Opened by a launcher, for this setting.
    Opened(SocketAddr),
    /// From the service manager, whose it stays: settings do not close it.
    Given,
    /// The control socket.
    Folder,
}

/// What the next launcher is told of a socket; its descriptor travels beside it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SocketNote {
    listener: Listener,
    origin: Origin,
}

/// How long to wait for an address: workers of a launcher that was killed let go of it as they end.
const AT_START: Duration = Duration::from_secs(2);

impl Sockets {
    /// Opens what the settings name, where `given` does not bring it.
    pub(super) fn open(setup: &Setup, given: Vec<GivenSocket>) -> Result<Self, LauncherError> {
        let given = assign(setup, given);
        let mut sockets = open_all(setup, given, AT_START)?;
        // The folder is 0700 and locked by us: whatever has that name is left over.
        setup.data.remove(CONTROL_SOCKET)?;
        let control = UnixListener::bind(setup.data.handle_path(CONTROL_SOCKET))
            .map_err(|error| SysError::io("listen on", setup.data.path().join(CONTROL_SOCKET), error))?;
        setup.data.set_mode(CONTROL_SOCKET, 0o600)?;
        control.set_nonblocking(true)?;
        sockets.push(Socket { listener: Listener::Control, origin: Origin::Folder, fd: control.into() });
        Ok(Self(sockets))
    }

    /// The sockets that other settings name: the same ones where they stay, new ones where they do not.
    /// Nothing is closed as long as `self` lives.
    pub(super) fn changed(&self, setup: &Setup) -> Result<Self, LauncherError> {
        let kept = self.0.iter().map(|socket| Ok(Socket { fd: socket.fd.try_clone()?, ..*socket }));
        open_all(setup, kept.collect::<io::Result<_>>()?, Duration::ZERO).map(Self)
    }

    /// Sockets that arrived from the launcher before.
    pub(super) fn adopt(sockets: impl IntoIterator<Item = (SocketNote, OwnedFd)>) -> Self {
        let socket = |(SocketNote { listener, origin }, fd)| Socket { listener, origin, fd };
        Self(sockets.into_iter().map(socket).collect())
    }

    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// What they are for, in the order of [`Self::fds`].
    pub(super) fn listeners(&self) -> Vec<Listener> {
        self.0.iter().map(|socket| socket.listener).collect()
    }

    pub(super) fn notes(&self) -> Vec<SocketNote> {
        self.0
            .iter()
            .map(|Socket { listener, origin, .. }| SocketNote { listener: *listener, origin: *origin })
            .collect()
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|socket| socket.fd.as_fd())
    }
}

/// What the settings ask for. `sockets` are there already; what nobody asks for is dropped.
fn open_all(setup: &Setup, mut sockets: Vec<Socket>, patience: Duration) -> Result<Vec<Socket>, LauncherError> {
    let jobs = setup.job_listen.iter().zip(0..).map(|(address, at)| (Listener::Job(at), *address));
    let http = setup.listen.map(|address| (Listener::Http, address));
    let mirror = setup.mirror_listen.map(|address| (Listener::Mirror, address));
    let wanted: Vec<_> = http.into_iter().chain(jobs).chain(mirror).collect();
    let stays = |at: SocketAddr| wanted.iter().any(|(_, address)| *address == at);
    let mut opened = Vec::new();
    for &(listener, address) in &wanted {
        if sockets.iter().any(|socket| socket.listener == listener && socket.origin == Origin::Given) {
            continue;
        }
        let fd = match sockets.iter().position(|socket| socket.origin == Origin::Opened(address)) {
            Some(at) => sockets.swap_remove(at).fd,
            None => {
                let goes = |socket: &&Socket| matches!(socket.origin, Origin::Opened(at) if !stays(at));
                bind(
                    address,
                    patience,
                    &sockets.iter().filter(goes).map(|socket| socket.fd.as_fd()).collect::<Vec<_>>(),
                )?
            }
        };
        opened.push(Socket { listener, origin: Origin::Opened(address), fd });
    }
    sockets.retain(|socket| !matches!(socket.origin, Origin::Opened(_)));
    sockets.extend(opened);
    // A job takes its listeners in the order of its setting.
    sockets.sort_by_key(|socket| match socket.listener {
        Listener::Job(at) => Some(at),
        _ => None,
    });
    Ok(sockets)
}

/// What each socket of the service manager is for: as its name says (`http`, `job`, `mirror`), else by its
/// address. One that is for nothing is closed.
fn assign(setup: &Setup, given: Vec<GivenSocket>) -> Vec<Socket> {
    let mut sockets: Vec<Socket> = Vec::new();
    let mut named_job = 0..Job::MOST_LISTENERS;
    for GivenSocket { name, socket } in given {
        let address = socket.local_addr().ok();
        let by_address = || {
            let job = setup.job_listen.iter().zip(0..).find(|(wanted, _)| Some(**wanted) == address);
            let http = setup.listen.filter(|wanted| Some(*wanted) == address).map(|_| Listener::Http);
            let mirror = setup.mirror_listen.filter(|wanted| Some(*wanted) == address).map(|_| Listener::Mirror);
            http.or(job.map(|(_, at)| Listener::Job(at))).or(mirror)
        };
        let listener = match name.as_str() {
            "http" => Some(Listener::Http),
            "job" => named_job.next().map(Listener::Job),
            "mirror" => Some(Listener::Mirror),
            _ => by_address(),
        };
        match listener.filter(|listener| sockets.iter().all(|socket| socket.listener != *listener)) {
            Some(listener) => sockets.push(Socket { listener, origin: Origin::Given, fd: socket.into() }),
            None => {
                tracing::warn!(
                    event = "socket_not_used",
                    name,
                    ?address,
                    "name it `http`, `job` or `mirror`, or set its address"
                );
            }
        }
    }
    sockets
}

/// Opens an address. `going` are closed only when a worker serves at the new one: one of them may be open at a
/// wider or narrower address of the same port.
fn bind(address: SocketAddr, patience: Duration, going: &[BorrowedFd<'_>]) -> Result<OwnedFd, LauncherError> {
    let deadline = Moment::now().after(patience);
    let overlapping = || going.iter().copied().filter(|fd| listens_on_port_of(*fd, address));
    loop {
        let outcome = match listen(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && overlapping().next().is_some() => {
                listen_beside(address, overlapping())
            }
            outcome => outcome,
        };
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Moment::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => {
                return outcome.map(OwnedFd::from).map_err(|source| LauncherError::Listen { address, source });
            }
        }
    }
}
