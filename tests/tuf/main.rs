//! Release metadata: every trap of the client workflow, against a repository that tests edit. The number
//! in a test's name is the row of the manual's table (`src/manual/metadata.md`).

#![allow(clippy::disallowed_methods, reason = "tests set up files")]
#![allow(unreachable_pub, reason = "one crate")]

mod cut_short;
mod delegations;
mod floors;
mod gc;
mod repo;
mod roots;
mod shop;
mod sim;
mod stored;
mod workflow;

#[cfg(feature = "tuf-interop")]
mod attacks;
#[cfg(feature = "tuf-interop")]
mod client;
#[cfg(feature = "tuf-interop")]
mod differential;

#[cfg(feature = "tuf-interop")]
#[path = "../support/http_server.rs"]
mod http_server;

#[cfg(feature = "tuf-interop")]
#[path = "../../examples/tuf_client/remote.rs"]
mod remote;
