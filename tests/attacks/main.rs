//! The attack table, played for real: files planted, races run, bytes served by a hostile server.
//! Each test's name starts with the row that it belongs to; each asserts the refusal, its reason,
//! and that nothing was left behind.

#![allow(clippy::disallowed_methods, reason = "tests set up and inspect files")]

#[path = "../support/github.rs"]
mod github;
#[path = "../support/http_server.rs"]
mod http_server;
#[path = "../tuf/sim.rs"]
#[allow(dead_code, unreachable_pub, reason = "the client's own tests use the rest")]
mod sim;

mod a12_listing;
mod a12_token;
mod a_cache;
mod a_prune;
mod a_turn;
mod archive_fixtures;
mod b1_pages;
mod b2_network;
mod b2_proxy;
mod b2_resume;
mod b2_tls;
mod b3_bombs;
mod b5_metadata;
mod b6_assets;
mod b8_sources;
mod b8_upgrades;
mod b_archive;
mod d1_patches;
mod fetching;
mod k1_keys;
mod l1_ledger;
mod l6_ledger;
mod n_neighbours;
mod o1_config;
mod x1_archive;
