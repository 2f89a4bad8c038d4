//! A self-updating node, and the verified upgrade subsystem inside it.
//!
//! The [`manual`] tells how one upgrade goes, what lies where, who attacks and which test shows that
//! they fail. The rooms, bottom up: a room imports only rooms above it in this list; a test proves it.

pub mod types;

pub mod sys;

pub mod console;

pub mod config;

pub mod crypto;

pub mod tuf;

pub mod archive;

pub mod delta;

pub mod cache;

pub mod fetch;

pub mod rollout;

pub mod ledger;

pub mod install;

pub mod doctor;

pub mod launcher;

pub mod upgrade;

pub mod node;

#[cfg(feature = "tools")]
pub mod publish;

pub mod cli;

pub mod manual;
