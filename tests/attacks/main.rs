//! The attack table, played for real: each test's name starts with the row that it belongs to, and
//! asserts the refusal, its reason, and that nothing was left behind.

#![allow(clippy::disallowed_methods, reason = "tests set up and inspect files")]

mod a_cache;
mod a_turn;
mod archive_fixtures;
mod b3_bombs;
mod b_archive;
mod x1_archive;
