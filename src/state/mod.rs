//! The job's own state: one database of the node, of which every version says which epochs it opens.
//!
//! Guarantees, against a release that migrates and then fails, and against kills at any moment:
//! - state that is there is migrated only by who was given the word for just that migration; whoever was
//!   not is refused before anything changes;
//! - a state of an epoch that this version cannot open is refused, and left as it is;
//! - each migration step happens whole or not at all, and its number with it;
//! - a new state appears with all of its steps, or not at all;
//! - a damaged database is moved aside with what lies beside it, never deleted and never by a candidate.

/// The version of rusqlite whose connections and transactions are used here.
pub use rusqlite;

mod error;
mod open;
mod schema;
#[cfg(test)]
mod tests;

pub use error::{Damage, StateError};
pub use open::{Opened, connect, epoch, open};
pub use schema::{Schema, Step};

/// The name of the database in the node's folder.
pub const FILE: &str = "state.db";
/// What SQLite keeps beside it: recent changes, and an index of them.
pub const COMPANIONS: [&str; 2] = ["-wal", "-shm"];
