//! The process that the service manager starts: small, single-threaded, never upgraded in place.
//!
//! Guarantees, against a release that is signed but bad, and against kills at any moment:
//! - a candidate serves only under a launcher that is known to be good, and is replaced by the
//!   version before as soon as it fails; nothing has to be restored, because nothing was replaced;
//! - the committed binary changes only after the candidate has proved itself as a worker and as a
//!   launcher;
//! - each step is on disk before it begins; what an operator causes is never counted against a
//!   release, and a kill from outside spends a try but passes no verdict;
//! - a candidate that is ready and sick is found out: by what it says of itself, or by checks that the
//!   launcher starts; what it cannot be blamed for ends its trial without a verdict on it;
//! - a candidate that migrates the job's state starts only when that was saved, and the version before starts again
//!   only when its own state is back: both are on disk before they happen;
//! - a failed worker is killed with its process group and with whatever escaped from it;
//! - nothing that came over a network is parsed here, and no connection is opened.

mod bedside;
mod beside;
mod checkup;
mod dialect;
mod ending;
mod errand;
mod handoff;
mod judge;
mod keeping;
mod protocol;
mod reload;
mod renewal;
mod saving;
mod serving;
mod setup;
mod sockets;
mod supervisor;
mod trial;
mod verdict;
mod wire;
mod worker;

pub use dialect::Dialect;
pub use errand::{ErrandSays, Saved};
pub use handoff::Baton;
pub use protocol::{GiveUp, Hello, Listener, Reloads, Reported, ToLauncher, ToWorker, TryReply, TryRequest};
pub use setup::{CONTROL_SOCKET, LauncherError, Setup};
pub use supervisor::run;
