//! What happened, put on disk; and put there later where the disk takes nothing for a while.

use std::time::Duration;

use super::supervisor::Supervisor;
use crate::install::Progress;
use crate::sys::Moment;

/// Until a record that could not be written is written again.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Puts the record on disk. `false`, and said, when that failed: then it is written later, in case
    /// nobody takes back what it says.
    pub(super) fn save(&mut self) -> bool {
        match self.install.write_node(&self.setup.node, &self.record) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(event = "record_not_written", %error, "tries again");
                self.save_later();
                false
            }
        }
    }

    pub(super) fn save_later(&mut self) {
        self.unsaved = Some(Moment::now().after(SAVE_AGAIN));
    }

    /// A disk that was full may have room again: what happened meanwhile goes onto it.
    pub(super) fn save_again(&mut self) {
        self.unsaved = None;
        let noted = self.install.finish_commit();
        let under_way = self.progress().is_some_and(|progress| progress != Progress::Pending);
        // Siblings wait for as long as a lease stands.
        let released = if under_way { Ok(()) } else { self.install.drop_leases_of(&self.setup.node) };
        // The worker looks into the record for the verdict that it puts into the history.
        if self.save() && self.record.trial.is_none() {
            self.tell_verdict();
        }
        if let Err(error) = noted {
            tracing::error!(event = "commit_not_noted", %error, "tries again");
            self.save_later();
        }
        if let Err(error) = released {
            tracing::warn!(event = "lease_not_released", %error, "tries again; it also ends by itself");
            self.save_later();
        }
    }
}
