//! Which release this node should run, and when: pure decisions.
//!
//! Guarantees, against bad releases and against slips:
//! - unattended, a node only ever goes up, to a release of its channel, never to one that it vetoed,
//!   never past a pin, never while it is paused, never outside of its maintenance windows;
//! - nobody, attended or not, goes past a barrier or comes from below a minimum that the publisher signed;
//! - a release with a signed plan reaches an install when the plan says so, and a halted one nobody who did
//!   not name it;
//! - a release reaches many nodes spread evenly over the window, each at its own fixed moment;
//! - what did not verify is downloaded again, more and more seldom;
//! - an operator's request skips channel, delay, windows and that pause alone; whatever else stands in its way is refused
//!   with the reason, and with what lifts it;
//! - without such a plan, no clock can make a node wait longer than the window, and then for the next opening;
//! - [`gates`] shows what each decision was made of, and the first gate that it shows shut is the one
//!   that [`decide`] names: a property test holds them together.
//!
//! No I/O here: the time, the records and the listing come in as arguments.

mod candidate;
mod decide;
mod decision;
mod delay;
mod gates;
mod question;
mod retry;
mod waves;
mod windows;

pub use decide::decide;
pub use decision::{Barred, Decision, Direction, Gate, Plan, Refusal};
pub use delay::delay;
pub use gates::{GateReport, Inputs, WavePlan, Why, gates};
pub use question::{Available, Pause, Question, Request, Retry, Veto};
pub use retry::pause_after;
pub use waves::{Turn, turn};
pub use windows::Maintenance;
