use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{ConfigFile, Configuration, HealthChecks, Settings, Trial};
use crate::install::InstallError;
use crate::sys::{Lock, PrivateDir, SysError};
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
    /// Where the job listens.
    pub job_listen: Vec<SocketAddr>,
    /// Where the mirror of the host's cache listens; `None` for nowhere.
    pub mirror_listen: Option<SocketAddr>,
    /// How candidates prove themselves.
    pub trial: Trial,
    /// Who is asked how a candidate is.
    pub health: HealthChecks,
    /// The options with which this program was started, without its verb: workers and the next
    /// launcher get the same.
    pub options: Vec<OsString>,
    /// The configuration files that the settings are from: workers get the same.
    pub files: Vec<ConfigFile>,
    /// What the settings were made from, to be read again at a reload.
    pub configuration: Configuration,
    /// Called at a reload, with the settings that take effect: what is not the launcher's, such as logs.
    pub apply: fn(&Settings),
    /// Called at a start, with the node's lock, before anybody opens what the node keeps: finishes what was cut short
    /// there.
    pub mend: fn(&PrivateDir, &Lock) -> Result<(), String>,
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

/// Name of the control socket in the node's folder.
pub const CONTROL_SOCKET: &str = "control.sock";

impl Setup {
    pub(super) fn args(&self, verb: &str) -> Vec<OsString> {
        self.options.iter().cloned().chain([OsString::from(verb)]).collect()
    }
}
