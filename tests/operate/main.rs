//! What an operator meets: the program itself, run in a place of its own.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

#[path = "../support/browser.rs"]
mod browser;
mod doctor;
#[path = "../support/http_server.rs"]
mod http_server;
mod messages;
mod metadata;
mod page;
mod place;
#[path = "../support/port.rs"]
mod port;
#[path = "../tuf/sim.rs"]
#[allow(dead_code, unreachable_pub, reason = "the client's own tests use the rest")]
mod sim;
mod transcripts;
mod why;
