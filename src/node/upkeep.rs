//! What a worker looks after beside its upgrades: history, old versions, keys and cache.

use std::time::SystemTime;

use jiff::Timestamp;
use tokio::time::Instant;

use super::opening::WorkerError;
use super::worker::Worker;
use crate::cache::Keep;
use crate::config::CacheLimits;
use crate::install::NodeRecord;
use crate::snapshot::{SnapshotError, Snapshots};
use crate::sys::{Loose, PrivateDir};
use crate::upgrade::{close_orphans, import_verdicts, settle_pin};

impl Worker {
    /// Takes over what was found out while no worker of this version listened. A full disk, say,
    /// costs the note of it until the next look for releases, and never the node: the record keeps
    /// its verdicts.
    pub(super) async fn catch_up(&mut self) -> Option<NodeRecord> {
        let engine = self.engine.clone();
        // An attempt of this worker's own is no orphan.
        let idle = self.running.is_none();
        let caught_up = tokio::task::spawn_blocking(move || -> Result<_, WorkerError> {
            let record = engine.install.node(&engine.node)?;
            if let Some(record) = &record {
                import_verdicts(&engine, record, Timestamp::now())?;
                if idle {
                    close_orphans(&engine, record, Timestamp::now())?;
                    settle_pin(&engine, record)?;
                }
            }
            match engine.install.prune() {
                Ok(removed) => {
                    for version in removed {
                        tracing::info!(event = "version_removed", version);
                    }
                }
                // A sibling's damaged record, say: it keeps every version on disk, and nothing more.
                Err(error) => tracing::warn!(event = "prune_failed", %error),
            }
            Ok(record)
        });
        let outcome = caught_up.await.map_err(std::io::Error::other).map_err(WorkerError::from).flatten();
        self.behind = outcome.is_err();
        outcome.inspect_err(|error| tracing::error!(event = "history_not_written", %error)).ok().flatten()
    }

    /// A committed version is believed about keys only after one more probation: one that drops keys and is
    /// rolled back, by its trial or by the rescue, has withdrawn nothing.
    pub(super) fn begin_to_settle(&mut self) {
        let committed = self.engine.install.committed().ok().flatten();
        let remembers = self.engine.ledger.stands_in_for().is_none();
        let settled = remembers && committed.as_ref() == Some(&self.engine.running);
        self.settles = settled.then(|| Instant::now() + self.engine.settings.trial.probation);
    }

    pub(super) fn settle_keys(&mut self) {
        self.settles = None;
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || {
            let version = &engine.running.version;
            if engine.install.committed().ok().flatten().as_ref() != Some(&engine.running) {
                return;
            }
            match engine.ledger.settle_keys(version, &engine.trust.pinned, Timestamp::now()) {
                Ok(withdrawn) => {
                    for key in withdrawn {
                        tracing::warn!(event = "key_distrusted", %key, %version, "it pins this key no more");
                    }
                }
                Err(error) => tracing::error!(event = "history_not_written", %error),
            }
        });
    }

    /// Removes the saved states that are nobody's way back any more.
    pub(super) fn tidy_states(&self, record: &NodeRecord) {
        let data_dir = self.engine.settings.data_dir.clone();
        let named = record.snapshots().filter_map(|pair| pair.snapshot.parse().ok()).collect();
        if self.engine.schema.is_none() {
            return;
        }
        tokio::task::spawn_blocking(move || {
            let pruned = PrivateDir::open_or_create(&data_dir, Loose::RefuseWritable)
                .map_err(SnapshotError::from)
                .and_then(|data| match Snapshots::open_existing(&data)? {
                    Some(snapshots) => snapshots.prune_outlived(&named, SystemTime::now()),
                    None => Ok(Vec::new()),
                });
            match pruned {
                Ok(gone) => {
                    for snapshot in gone {
                        tracing::info!(event = "snapshot_removed", %snapshot, "no version that is kept needs it");
                    }
                }
                Err(error) => tracing::warn!(event = "snapshot_prune_failed", %error),
            }
        });
    }

    /// Makes room in the shared cache, beside the work: after an upgrade something new lies there.
    pub(super) fn tidy_cache(&self) {
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || {
            let Some(cache) = &engine.cache else { return };
            let CacheLimits { max_size, max_age } = engine.settings.cache;
            match cache.prune(&Keep { max_size, max_age }, SystemTime::now(), false) {
                Ok(pruned) => {
                    let (removed, strays, left) = (pruned.removed.len(), pruned.strays, pruned.left);
                    tracing::info!(event = "cache_pruned", removed, strays, left);
                }
                Err(error) => tracing::warn!(event = "cache_not_pruned", %error),
            }
        });
    }
}
