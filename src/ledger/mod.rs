//! What one node remembers: its id, what it first saw when, its vetoes, the keys that it does not believe
//! any more, and everything it tried.
//!
//! Guarantees, against accidents (the folder is private; who can write there is the node itself):
//! - never rolled back: no snapshot covers it, and its schema only grows, so that an older version
//!   reads and writes what a newer one made;
//! - a power cut leaves the last committed state (WAL, synchronous=FULL);
//! - damage never stops a node: the file is set aside, not deleted, a new one is made, and that is
//!   said in the log and by [`Ledger::set_aside`]. What is lost with it are vetoes, and a trial
//!   protects against a bad release a second time;
//! - several processes may use it at once: workers that follow each other, and command lines.

mod distrust;
mod error;
mod first_seen;
mod history;
mod listings;
mod open;
mod schema;
mod stand_in;
mod time;
mod unverified;
mod verdict;
mod veto;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use distrust::DistrustedKey;
pub use error::{Corruption, LedgerError};
pub use history::{Attempt, AttemptId, AttemptKind, Ending, Event, NewAttempt, OUTPUT_LIMIT, Outcome};
pub use open::SetAside;
use rusqlite::Connection;
pub use unverified::Unverified;
pub use verdict::Verdict;
pub use veto::{NewVeto, VETO_SPAN};

/// A node's open ledger. Its functions block on the disk, for at most five seconds on another process.
#[derive(Debug)]
pub struct Ledger {
    connection: Mutex<Connection>,
    node_id: String,
    set_aside: Option<SetAside>,
    stands_in_for: Option<LedgerError>,
}

impl Ledger {
    /// The node's id: 16 random bytes in hexadecimal, made once.
    #[must_use]
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// What opening had to set aside, if the file was damaged.
    #[must_use]
    pub fn set_aside(&self) -> Option<&SetAside> {
        self.set_aside.as_ref()
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic between two statements rolls its transaction back; the connection stays sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
