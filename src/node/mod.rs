//! The worker: it serves the node's job, looks for releases, and prepares upgrades.
//!
//! Guarantees:
//! - before the launcher says so, it accepts no connection, polls nothing and removes nothing: a
//!   candidate beside the version that serves is silent;
//! - its sign of life comes from the loop that does the work, so a stuck worker is a silent one;
//! - when the launcher is gone, the worker leaves;
//! - to other hosts it sends what pinned keys signed, from a private copy, and nothing else;
//! - the HTTP side only tells; whatever changes something comes over the control socket, which lies
//!   in the node's own folder.

mod app;
mod audience;
mod control;
mod counted;
mod doubts;
mod http;
mod lack;
mod leaving;
mod link;
mod metrics;
mod mirror;
mod opening;
mod page;
mod report;
mod requests;
mod serve;
mod state;
mod status;
mod upkeep;
mod worker;

/// The version of axum whose `Router` [`JobContext::serve`] takes.
pub use axum;

pub use app::{App, AppError, Job, JobContext, JobError, idle};
pub use control::{Event, Explained, Failure, FailureKind, Request, Told, connect};
pub use leaving::Leaving;
pub use link::Start;
pub use opening::{WorkerError, engine};
pub use report::{Fact, Served};
pub use state::Activity;
pub use status::{CacheContent, LastCheck, Sibling, Status};
pub use worker::run;
