use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use super::protocol::Listener;
use crate::config::{HealthChecks, Trial};
use crate::install::InstallError;
use crate::sys::{Moment, PrivateDir, SysError};
use crate::types::{NodeName, Product, Version};

/// What a launcher must be told.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The product; also the name of its executable among the versions.
    pub product: Product,
    /// The version that this very program is.
    pub version: Version,
    /// The node to run.
    pub node: NodeName,
    /// The path of this program, as the service manager starts it.
    pub committed: PathBuf,
    /// The node's folder.
    pub data: PrivateDir,
    /// Where to listen for HTTP; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// How candidates prove themselves.
    pub trial: Trial,
    /// Who is asked how a candidate is.
    pub health: HealthChecks,
    /// The options with which this program was started, without its verb: workers and the next
    /// launcher get the same.
    pub options: Vec<OsString>,
}

/// Why a launcher did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// The node runs already.
    #[error("node {node} is running already: {} is locked. Give another --node, or stop it first", folder.display())]
    Running {
        /// The node.
        node: NodeName,
        /// Its folder.
        folder: PathBuf,
    },
    /// The HTTP address cannot be had.
    #[error("cannot listen on {address}: {source}. Set `listen` to a free address, or to \"off\"")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The install folder cannot be used.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A file or folder could not be used.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A system call that always works did not.
    #[error("the launcher cannot work on this system: {0}. The node does not run; look at the limits of its service")]
    System(#[from] io::Error),
}

/// Workers of a launcher that was killed let go of the address as they end: a matter of a moment.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let deadline = Moment::now().after(Duration::from_secs(2));
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Moment::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome,
        }
    }
}

/// Name of the control socket in the node's folder.
pub const CONTROL_SOCKET: &str = "control.sock";

impl Setup {
    pub(super) fn listen(&self) -> Result<Vec<(Listener, OwnedFd)>, LauncherError> {
        let mut listeners = Vec::new();
        if let Some(address) = self.listen {
            let socket = bind(address).map_err(|source| LauncherError::Listen { address, source })?;
            socket.set_nonblocking(true)?;
            listeners.push((Listener::Http, OwnedFd::from(socket)));
        }
        // The folder is 0700 and locked by us: whatever has that name is left over.
        self.data.remove(CONTROL_SOCKET)?;
        let control = UnixListener::bind(self.data.handle_path(CONTROL_SOCKET))
            .map_err(|error| SysError::io("listen on", self.data.path().join(CONTROL_SOCKET), error))?;
        self.data.set_mode(CONTROL_SOCKET, 0o600)?;
        control.set_nonblocking(true)?;
        listeners.push((Listener::Control, OwnedFd::from(control)));
        Ok(listeners)
    }

    pub(super) fn args(&self, verb: &str) -> Vec<OsString> {
        self.options.iter().cloned().chain([OsString::from(verb)]).collect()
    }
}
