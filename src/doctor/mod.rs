//! What stands against running and upgrading on this host, and the command that mends it.
//!
//! Guarantees: nothing is changed, and nothing that runs depends on the answer: whatever is found
//! here is refused, or borne, by the room that meets it. Judging is a pure function of [`Facts`].

mod examine;
mod facts;
mod unit;

pub use examine::{Finding, Severity, examine};
pub use facts::{Facts, Seen};
pub use unit::{Unit, examine_unit};
