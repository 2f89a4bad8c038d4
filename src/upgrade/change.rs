//! What a candidate would do to the job's state, found before anything is asked of the launcher.

use std::sync::Arc;

use super::engine::Engine;
use super::error::UpgradeError;
use super::stage::blocking;
use crate::install::{NodeRecord, StateChange};
use crate::state::{self, StateError};
use crate::sys::{Loose, Place, PrivateDir};
use crate::types::{Meets, StateEpochs, Version};

/// For the record, the ledger and whatever else is written meanwhile.
const SPARE: u64 = 16 << 20;

impl Engine {
    /// Before anything is fetched: a version that keeps state, and has none, tries no other one.
    pub(super) async fn require_state(self: &Arc<Self>) -> Result<(), UpgradeError> {
        let engine = self.clone();
        blocking(move || {
            let data = PrivateDir::open_or_create(&engine.settings.data_dir, Loose::RefuseWritable)?;
            match state::epoch(&data) {
                Ok(None) if engine.misses_state() => Err(StateError::Missing.into()),
                // What else is wrong with it is said when the candidate's epochs are known.
                _ => Ok(()),
            }
        })
        .await
    }

    /// Step 9: what the candidate's epochs mean for the state that is there. `asked`: somebody wants just this
    /// version. Nothing is touched yet.
    pub(super) async fn change_of_state(
        self: &Arc<Self>,
        version: &Version,
        epochs: Option<StateEpochs>,
        asked: bool,
    ) -> Result<Option<StateChange>, UpgradeError> {
        // A version that keeps no state leaves alone what another one keeps.
        let Some(epochs) = epochs else { return Ok(None) };
        let (engine, version) = (self.clone(), version.clone());
        blocking(move || {
            let data = PrivateDir::open_or_create(&engine.settings.data_dir, Loose::RefuseWritable)?;
            let found = match state::epoch(&data)? {
                Some(found) => found,
                None if engine.misses_state() => return Err(StateError::Missing.into()),
                None => return Ok(None),
            };
            let record = engine.install.node(&engine.node)?;
            let change = engine.judge_state(&version, epochs, found, record.as_ref(), asked)?;
            if change.is_some() {
                require_space(&data, version)?;
            }
            Ok(change)
        })
        .await
    }

    /// Where there is none: whether there should be one. Whoever made one in its place, and failed, would leave a
    /// state that nobody can take back.
    fn misses_state(&self) -> bool {
        self.serves && self.schema.is_some()
    }

    fn judge_state(
        &self,
        version: &Version,
        epochs: StateEpochs,
        found: u32,
        record: Option<&NodeRecord>,
        asked: bool,
    ) -> Result<Option<StateChange>, UpgradeError> {
        let change = StateChange::migrates(found, epochs.writes);
        match epochs.meets(found) {
            Meets::Same => Ok(None),
            Meets::Older { .. } => Ok(Some(change)),
            Meets::TooOld { .. } => {
                Err(UpgradeError::StateTooOld { id: Box::new(self.release(version)), found, epochs })
            }
            Meets::TooNew { .. } => {
                // What was written since then is given up: somebody has to want that.
                if !asked {
                    return Err(UpgradeError::StateTooNew { version: version.clone(), found, epochs });
                }
                let pair = record.and_then(|record| record.pair_for(epochs)).cloned();
                let gone = || UpgradeError::StateGone { version: version.clone(), found, epochs };
                Ok(Some(StateChange { restores: Some(pair.ok_or_else(gone)?), ..change }))
            }
        }
    }
}

/// Room for a snapshot and for what comes back from it, while what is there stays: said before anybody is stopped
/// for it.
fn require_space(data: &PrivateDir, version: Version) -> Result<(), UpgradeError> {
    let mut length = 0_u64;
    for companion in state::COMPANIONS.into_iter().chain([""]) {
        let name = format!("{}{companion}", state::FILE);
        if data.exists(&name)? {
            length = length.saturating_add(data.modified(&name)?.1);
        }
    }
    let (needed, free) = (length.saturating_mul(2).saturating_add(SPARE), Place::of(data.path())?.free);
    if free < needed {
        return Err(UpgradeError::StateSpace { version, folder: data.path().to_owned(), needed, free });
    }
    Ok(())
}
