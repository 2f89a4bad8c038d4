//! The manual: what this program does, why it can be trusted with that, and where it cannot.
//!
//! - [`flow`]: one upgrade from poll to commit; what lies on disk; what a kill leaves at each state;
//!   exit codes, control socket and HTTP.
//! - [`embedding`]: another product on this library; whether two of its versions may run at once.
//! - [`state`]: the job's database: how it goes forward and back with the version.
//! - [`threats`]: who attacks, what is in scope and what is not; keys, signatures, the shared cache.
//! - [`attacks`]: each attack with its defence and the tests that play it. A test reads that table.
//! - [`metadata`]: which release is current, and who says so: files, keys, the client's workflow, limits,
//!   and the tests of each of its traps.
//! - [`neighbours`]: hosts that give each other what they keep, so that about one asks the source.
//! - [`failures`]: what broke other self-updating programs, and what happens here. A test reads it.
//! - [`formats`]: every file, message and record, with its limits.
//! - [`snapshots`]: copies of the state: taking them, putting them back, their format, recovery by hand.
//! - [`operations`]: install, run, the day's work, what to do for each exit code and alert, keys, backup.
//! - [`events`]: every line that a node logs. A test compares that page with the code.
//! - [`metrics`]: what `/metrics` tells. A test compares that page with the code.
//! - [`configuration`]: every setting. A test compares that page with [`crate::config::KEYS`].

#![allow(clippy::doc_markdown, reason = "prose and tables, not items")]

#[doc = include_str!("flow.md")]
pub mod flow {}

#[doc = include_str!("embedding.md")]
pub mod embedding {}

#[doc = include_str!("state.md")]
pub mod state {}

#[doc = include_str!("threats.md")]
pub mod threats {}

#[doc = include_str!("attacks.md")]
pub mod attacks {}

#[doc = include_str!("metadata.md")]
pub mod metadata {}

#[doc = include_str!("neighbours.md")]
pub mod neighbours {}

#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("events.md")]
pub mod events {}

#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[doc = include_str!("failures.md")]
pub mod failures {}

#[doc = include_str!("formats.md")]
pub mod formats {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("snapshots.md")]
pub mod snapshots {}
