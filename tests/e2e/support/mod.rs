//! A host of its own for each test: an install, releases on a web server, and nodes.

#![allow(dead_code, unused_imports, reason = "modules of tests use different parts")]

pub mod builds;
pub mod host;
pub mod node;
pub mod releases;

pub use host::Host;
pub use node::Node;
pub use releases::SignedAs;

use std::time::{Duration, Instant};

/// Generous: two slow cores, shared with others.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Asks until there is an answer, and panics with `what` when none comes in time.
#[track_caller]
pub fn wait_for<T>(what: impl Fn() -> String, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {}", what());
        std::thread::sleep(Duration::from_millis(30));
    }
}
