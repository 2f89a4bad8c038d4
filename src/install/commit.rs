use super::binary::{Binary, Installed};
use super::error::InstallError;
use super::folder::{Install, Origin};
use super::lease::LeaseEpoch;
use crate::sys::{Dir, SysError};

/// Why the committed binary was not replaced. It is still the old one.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another node took the lease over in the meantime.
    #[error("the right to try this version passed to another node of this host, so it was not committed")]
    LeaseLost,
    /// The install folder could not be used.
    #[error(transparent)]
    Install(#[from] InstallError),
}

impl Install {
    /// Puts a proven version at the committed path: announced in the state, hard-linked under a
    /// temporary name in the same folder, renamed, made durable, recorded.
    pub fn commit(&self, proven: &Installed, epoch: LeaseEpoch) -> Result<(), CommitError> {
        let _lock = self.lock()?;
        if !self.lease_is(epoch) {
            return Err(CommitError::LeaseLost);
        }
        let mut state = self.state()?;
        if state.committed == *proven {
            return Ok(());
        }
        let version_dir = self.version_dir(proven)?;
        let binary = Binary::open_expected(&version_dir, self.program(), proven.digest)?;
        // Again: an operator may have set them since the trial began.
        self.carry_capabilities(proven)?;

        // Usually done by the launcher before; without a guard nothing is committed.
        self.arm_rescue_locked(proven)?;

        state.next = Some(proven.clone());
        self.write_state(&state)?;
        self.swap_in(|home, temporary| home.link_handle(binary.file(), temporary)).map_err(InstallError::from)?;
        state.committed = proven.clone();
        state.next = None;
        state.origin = Origin::Upgrade;
        state.epoch = state.epoch.max(epoch.0);
        state.since = state.epoch;
        self.write_state(&state)?;
        Ok(())
    }

    /// Exchanges the committed binary for the one to which `link` gives a temporary name.
    pub(super) fn swap_in(&self, link: impl FnOnce(&Dir, &str) -> Result<(), SysError>) -> Result<(), SysError> {
        let home = self.home();
        let temporary = self.temporary_name();
        home.remove(&temporary)?;
        link(home, &temporary)?;
        home.rename(&temporary, self.committed_name())?;
        // rename(2) of two names of one file does nothing and leaves both.
        home.remove(&temporary)?;
        home.sync()
    }
}
