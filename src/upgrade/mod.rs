//! One upgrade, from the listing to the launcher's answer.
//!
//! Guarantees, against whoever controls the network or the cache:
//! - nothing is executed that was not verified for exactly this product, version and target, on the
//!   same private copy from which it was extracted;
//! - a candidate says itself who it is before it is tried, and says the same as its signature;
//! - whatever fails leaves the running version as it is, and a note in the history that says why.

mod change;
mod describe;
mod engine;
mod error;
mod facts;
mod neighbours;
mod offer;
mod patch;
mod probe;
mod route;
mod run;
mod space;
mod stage;
mod trust;
mod unclear;
mod verdicts;

pub use describe::SelfDescription;
pub use engine::{CacheAnswer, Engine, NeighbourAnswer, Observer, PatchAnswer, Step};
pub use error::UpgradeError;
pub use facts::HostGate;
pub use offer::LastOffer;
pub use probe::ProbeError;
pub use run::{Ask, Carried, Done, Found, Wait, Work};
pub use trust::Trust;
pub use verdicts::{close_orphans, import_verdicts, settle_pin};
