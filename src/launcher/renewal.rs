//! What this node could not have at its start, and can have by now: an install that it may change, a worker
//! that remembers.

use super::reload::Before;
use super::supervisor::{Supervisor, heed_rescue, report};
use crate::install::{Install, InstallError};
use crate::sys::Moment;
use crate::types::Overlap;

impl Supervisor {
    /// The worker that serves would have more if it were started now: another one of its version takes over.
    pub(super) fn renew(&mut self) {
        // It asks again.
        if self.is_stopping() || self.is_changing_workers() {
            return;
        }
        self.attach();
        let serves = self.active.as_ref().filter(|worker| worker.ready);
        if serves.is_some_and(|worker| worker.overlap == Overlap::UntilReady) {
            if let Err(error) = self.start_successor(None) {
                tracing::error!(event = "worker_not_started", %error);
            }
        } else if let Some(worker) = self.active.take() {
            self.dismiss(worker, false);
            self.restart.due = Some(Moment::now());
        }
    }

    /// Takes the install folder into use that this launcher was not permitted to use at its start, if it may
    /// by now.
    pub(super) fn attach(&mut self) {
        if self.install.why_detached().is_none() {
            return;
        }
        match self.try_attach() {
            Ok(()) => tracing::info!(event = "upgrades_supported", "the install can be changed by now"),
            Err(error) => tracing::debug!(event = "upgrades_unsupported", reason = %error),
        }
    }

    fn try_attach(&mut self) -> Result<(), InstallError> {
        let install = Install::open(&self.setup.committed, &self.setup.product)?;
        heed_rescue(&install, &self.own);
        let (record, adopted) = install.adopt(&self.setup.node, &self.setup.version)?;
        report(&record, &adopted);
        (self.install, self.record) = (install, record);
        // That the service manager's start succeeded is yet to be noted there.
        self.cold = true;
        self.recover_trial();
        Ok(())
    }

    /// Starts another worker of the version that runs. `before`: what comes back when it never gets ready.
    pub(super) fn start_successor(&mut self, before: Option<Before>) -> Result<(), super::setup::LauncherError> {
        match self.start_same_version() {
            Ok(worker) => {
                self.await_successor(worker, before);
                Ok(())
            }
            Err(error) => {
                if let Some(before) = before {
                    self.restore(before);
                }
                Err(error)
            }
        }
    }
}
