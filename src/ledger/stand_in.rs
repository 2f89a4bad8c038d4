use std::sync::Mutex;

use rusqlite::Connection;

use super::error::LedgerError;
use super::{Ledger, schema};

/// What a stand-in says instead of the node's id.
const NO_ID: &str = "unknown";

impl Ledger {
    /// An empty ledger in memory, for as long as the node's own cannot be opened, so that the node can serve. It
    /// knows of no veto and of no key that was withdrawn: nothing may be decided by it.
    ///
    /// # Errors
    /// `why` itself, where that does not pass by itself: a ledger that must not be believed has no stand-in.
    pub fn standing_in(why: LedgerError) -> Result<Self, LedgerError> {
        if !why.may_pass() {
            return Err(why);
        }
        let mut connection = Connection::open_in_memory()?;
        schema::prepare(&mut connection)?;
        let connection = Mutex::new(connection);
        Ok(Self { connection, node_id: NO_ID.to_owned(), set_aside: None, stands_in_for: Some(why) })
    }

    /// Why the node's own ledger cannot be opened; `None`: this is it.
    #[must_use]
    pub fn stands_in_for(&self) -> Option<&LedgerError> {
        self.stands_in_for.as_ref()
    }
}
