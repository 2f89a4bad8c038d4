//! A self-updating node, and the verified upgrade subsystem inside it.
//!
//! The [`manual`] tells how one upgrade goes, what lies where, who attacks and which test shows that
//! they fail. The rooms, bottom up: a room imports only rooms above it in this list; a test proves it.

pub mod types;

pub mod sys;

pub mod console;

#[cfg(feature = "node")]
pub mod config;

pub mod crypto;

pub mod snapshot;

pub mod recovery;

#[cfg(feature = "node")]
pub mod tuf;

#[cfg(feature = "node")]
pub mod archive;

#[cfg(feature = "node")]
pub mod delta;

#[cfg(feature = "node")]
pub mod cache;

#[cfg(feature = "node")]
pub mod fetch;

#[cfg(feature = "node")]
pub mod carry;

#[cfg(feature = "node")]
pub mod rollout;

#[cfg(feature = "node")]
pub mod ledger;

#[cfg(feature = "node")]
pub mod state;

#[cfg(feature = "node")]
pub mod install;

#[cfg(feature = "node")]
pub mod doctor;

#[cfg(feature = "node")]
pub mod launcher;

#[cfg(feature = "node")]
pub mod upgrade;

#[cfg(feature = "node")]
pub mod node;

#[cfg(feature = "tools")]
pub mod publish;

#[cfg(feature = "node")]
pub mod cli;

pub mod manual;
