//! Whether there is room for an upgrade, before it begins.

use super::engine::Engine;
use super::error::UpgradeError;
use crate::fetch::Asset;
use crate::sys::{Place, file_owner};

/// Room for the archive where it is staged and where it is kept, and for the version: as much as the
/// running one takes, for lack of a better guess. Said before anything is downloaded.
pub(super) fn require_space(engine: &Engine, archive: &Asset) -> Result<(), UpgradeError> {
    let Some(length) = archive.size() else { return Ok(()) };
    if !engine.settings.limits.archive.admits(length) {
        // Refused for that, by the download.
        return Ok(());
    }
    let (_, _, version) = file_owner(&engine.install.committed_path())?;
    let install = engine.install.staging().path();
    let place = Place::of(install)?;
    let mut needed = length.saturating_add(version);
    if let Some(cache) = &engine.cache
        && let Ok(kept) = Place::of(cache.path())
    {
        if kept.device == place.device {
            needed = needed.saturating_add(length);
        } else if kept.free < length {
            tracing::warn!(event = "cache_full", free = kept.free, needed = length, "`cache prune` makes room");
        }
    }
    if place.free < needed {
        return Err(UpgradeError::NoSpace { folder: install.to_owned(), needed, free: place.free });
    }
    Ok(())
}
