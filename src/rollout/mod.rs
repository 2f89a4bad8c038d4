//! Which release this node should run, and when: pure decisions.
//!
//! Guarantees, against bad releases and against slips:
//! - unattended, a node only ever goes up, to a stable release, never to one that it vetoed, never
//!   past a pin, never while it is paused;
//! - a release reaches many nodes spread evenly over the window, each at its own fixed moment;
//! - an operator's request skips channel and delay alone; whatever else stands in its way is refused
//!   with the reason, and with what lifts it;
//! - no clock can make a node wait longer than the window.
//!
//! No I/O here: the time, the records and the listing come in as arguments.

mod decide;
mod decision;
mod delay;
mod question;

pub use decide::decide;
pub use decision::{Decision, Direction, Gate, Plan, Refusal};
pub use delay::delay;
pub use question::{Available, Pause, Question, Request, Veto};
