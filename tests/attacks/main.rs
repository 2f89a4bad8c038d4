//! Attacks, played for real: files planted, bytes served by a hostile server, and after each refusal
//! a look at what was left behind.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

#[path = "../support/http_server.rs"]
mod http_server;

mod a12_listing;
mod b1_pages;
mod b2_network;
mod b2_tls;
mod b6_assets;
mod fetching;
