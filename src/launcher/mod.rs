//! The process that the service manager starts: small, single-threaded, never upgraded in place.
//!
//! Guarantees, against a release that is signed but bad, and against kills at any moment:
//! - a candidate serves only under a launcher that is known to be good, and is replaced by the
//!   version before as soon as it fails; nothing has to be restored, because nothing was replaced;
//! - the committed binary changes only after the candidate has proved itself as a worker and as a
//!   launcher;
//! - each step is on disk before it begins; what an operator causes is never counted against a
//!   release, and a kill from outside spends a try but passes no verdict;
//! - a failed worker is killed with its process group and with whatever escaped from it;
//! - nothing that came over a network is parsed here, and no connection is opened.

mod handoff;
mod protocol;
mod reload;
mod setup;
mod sockets;
mod supervisor;
mod trial;
mod worker;

pub use handoff::Baton;
pub use protocol::{GiveUp, Hello, Listener, PROTOCOL, Reloads, ToLauncher, ToWorker, TryReply, TryRequest};
pub use setup::{CONTROL_SOCKET, LauncherError, Setup};
pub use supervisor::run;
