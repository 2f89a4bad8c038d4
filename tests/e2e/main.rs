//! The whole story with real builds, real processes and a real web server on loopback.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]
#![allow(unreachable_pub, reason = "one crate of tests")]

#[path = "../support/http_server.rs"]
mod http_server;
#[path = "../support/namespace.rs"]
mod namespace;
#[path = "../support/port.rs"]
mod port;
#[path = "../support/program.rs"]
mod program;
#[path = "../tuf/sim.rs"]
#[allow(dead_code, reason = "the client's own tests use the rest")]
mod sim;
#[path = "../support/site.rs"]
mod site;

mod support;

mod activation;
mod bundles;
mod candidates;
mod clocks;
mod container;
mod deltas;
mod embedded;
mod environment;
mod fresh;
mod handoff;
mod health;
mod keys;
mod kills;
mod lacking;
mod load;
mod many;
mod mounts;
mod neighbours;
mod operators;
mod overlap;
mod pressure;
mod protocol;
mod published;
mod recurring;
mod refusals;
mod reload;
mod repeated;
mod replaced;
mod repository;
mod rescue;
mod siblings;
mod sources;
mod state;
mod systemd;
mod upgrades;
