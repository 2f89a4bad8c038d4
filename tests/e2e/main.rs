//! The whole story with real builds, real processes and a real web server on loopback.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]
#![allow(unreachable_pub, reason = "one crate of tests")]

#[path = "../support/http_server.rs"]
mod http_server;

mod support;

mod candidates;
mod environment;
mod handoff;
mod keys;
mod kills;
mod operators;
mod pressure;
mod protocol;
mod refusals;
mod rescue;
mod siblings;
mod sources;
mod upgrades;
