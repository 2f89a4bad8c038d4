//! The install folder beside the committed binary: versions, records, lease, commit.
//!
//! Guarantees, against power cuts, kills at any moment and several nodes at once:
//! - the committed path always names a whole, executable binary: the old one or the new one;
//! - it changes only under the host's lock, by the node whose trial holds the newest lease epoch;
//! - every record is replaced whole and durably before what it announces begins;
//! - a version that was committed and does not come up from a cold start is replaced by the last one
//!   that did, without any of its own code;
//! - nothing that is committed, or that some node runs, may go back to, prepares or is trying, is removed;
//! - file capabilities of the committed binary are kept: what may not get them is not committed;
//! - a binary is identified by hashing the very handle that is executed, never by its path.
//!
//! The folder is believed, so one into which others may write is refused. Unconfined code of the
//! same user is out of scope: it owns the node anyway.

mod binary;
mod capabilities;
mod claim;
mod commit;
mod doubt;
mod error;
mod folder;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod lease;
mod package;
mod pair;
mod policy;
mod record;
mod recover;
mod rescue;
#[cfg(test)]
mod tests;
mod vitals;

pub use binary::{Binary, Installed};
pub use claim::Claim;
pub use commit::{CommitError, Committed};
pub use doubt::Doubt;
pub use error::InstallError;
pub use folder::{Adopted, Install};
pub use lease::{Lease, LeaseEpoch, LeaseOutcome};
pub use package::package_manager;
pub use pair::{Pair, Restore, StateChange};
pub use policy::Policy;
pub use record::{NodeRecord, Progress, Purpose, Trial, Verdict, VerdictKind};
pub use recover::{StartCheck, StartEnd};
pub use rescue::{PutBack, RescueState, START_LIMIT_BURST, START_TRIES, Tended};
pub use vitals::Vitals;
