//! What a candidate would do to the job's state, found before anything is asked of the launcher.

use std::sync::Arc;

use super::engine::Engine;
use super::error::UpgradeError;
use super::stage::blocking;
use crate::install::{NodeRecord, Purpose, StateChange};
use crate::state;
use crate::sys::{Loose, PrivateDir};
use crate::types::{Meets, StateEpochs, Version};

impl Engine {
    /// Step 9: what the candidate's epochs mean for the state that is there. Nothing is touched yet.
    pub(super) async fn change_of_state(
        self: &Arc<Self>,
        version: &Version,
        epochs: Option<StateEpochs>,
        purpose: Purpose,
    ) -> Result<Option<StateChange>, UpgradeError> {
        // A version that keeps no state leaves alone what another one keeps.
        let Some(epochs) = epochs else { return Ok(None) };
        let (engine, version) = (self.clone(), version.clone());
        blocking(move || {
            let data = PrivateDir::open_or_create(&engine.settings.data_dir, Loose::RefuseWritable)?;
            let Some(found) = state::epoch(&data)? else { return Ok(None) };
            let record = engine.install.node(&engine.node)?;
            engine.judge_state(&version, epochs, found, record.as_ref(), purpose)
        })
        .await
    }

    fn judge_state(
        &self,
        version: &Version,
        epochs: StateEpochs,
        found: u32,
        record: Option<&NodeRecord>,
        purpose: Purpose,
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
                let asked = purpose != Purpose::Upgrade;
                let pair = record.filter(|_| asked).and_then(|record| record.pair_for(epochs));
                let too_new = || UpgradeError::StateTooNew { version: version.clone(), found, epochs, asked };
                let restores = Some(pair.ok_or_else(too_new)?.clone());
                Ok(Some(StateChange { restores, ..change }))
            }
        }
    }
}
