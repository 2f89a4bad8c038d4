//! The whole story with real builds, real processes and a real web server on loopback.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]
#![allow(unreachable_pub, reason = "one crate of tests")]

#[path = "../support/http_server.rs"]
mod http_server;
#[path = "../support/namespace.rs"]
mod namespace;

mod support;

mod candidates;
mod clocks;
mod environment;
mod kills;
mod mounts;
mod operators;
mod refusals;
mod repeated;
mod replaced;
mod siblings;
mod sources;
mod upgrades;
