use super::binary::{Binary, Installed};
use super::error::InstallError;
use super::folder::{Install, Origin, State};
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

/// The committed binary is the new one.
#[derive(Debug)]
pub enum Committed {
    /// And the install's record says so.
    Noted,
    /// The record only announces it, for this reason: [`Install::finish_commit`] is due, or the next
    /// start does it.
    NotNoted(InstallError),
}

impl Install {
    /// Puts a proven version at the committed path: announced in the state, hard-linked under a
    /// temporary name in the same folder, renamed, made durable, recorded.
    ///
    /// # Errors
    /// The committed binary is still the old one.
    pub fn commit(&self, proven: &Installed, epoch: LeaseEpoch) -> Result<Committed, CommitError> {
        let _lock = self.lock()?;
        if !self.lease_is(epoch) {
            return Err(CommitError::LeaseLost);
        }
        let mut state = self.state()?;
        if state.committed == *proven {
            return Ok(Committed::Noted);
        }
        self.refuse_to_replace_another_than(&state.committed)?;
        let version_dir = self.version_dir(proven)?;
        Binary::open_expected(&version_dir, self.program(), proven.digest)?;
        // Again: an operator may have set them since the trial began.
        self.carry_capabilities(proven)?;

        state.next = Some(proven.clone());
        state.epoch = state.epoch.max(epoch.0);
        self.write_state(&state)?;
        self.swap_in(&version_dir).map_err(InstallError::from)?;
        // The swap stands from here on: what is started next is the new version, whatever else fails.
        // A start finishes what is announced, and a power cut can bring back at most the old version.
        Ok(match self.note_swap(state) {
            Ok(()) => Committed::Noted,
            Err(error) => Committed::NotNoted(error),
        })
    }

    /// Notes a swap that was done and not noted, if there is one.
    pub fn finish_commit(&self) -> Result<(), InstallError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        let Some(next) = &state.next else { return Ok(()) };
        if Binary::open(self.home(), self.committed_name())?.digest() == next.digest {
            self.note_swap(state)?;
        }
        Ok(())
    }

    fn note_swap(&self, mut state: State) -> Result<(), InstallError> {
        // rename(2) of two names of one file does nothing and leaves both.
        self.home().remove(&self.temporary_name())?;
        self.home().sync()?;
        if let Some(next) = state.next.take() {
            state.committed = next;
        }
        state.origin = Origin::Upgrade;
        state.since = state.epoch;
        self.write_state(&state)
    }

    /// Up to the rename. When it fails, the committed path is as it was, and nothing lies beside it.
    fn swap_in(&self, version_dir: &Dir) -> Result<(), SysError> {
        let home = self.home();
        let temporary = self.temporary_name();
        home.remove(&temporary)?;
        home.link_from(version_dir, self.program(), &temporary)?;
        home.rename(&temporary, self.committed_name()).inspect_err(|_| {
            // What cannot be removed now is removed by the next start.
            home.remove(&temporary).ok();
        })
    }
}
