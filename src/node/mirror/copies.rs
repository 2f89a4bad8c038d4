use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::blocking;
use crate::cache::{EntryName, Held, Served};
use crate::sys::Place;
use crate::types::Sha256Digest;
use crate::upgrade::Engine;

/// The private copies from which files are sent. Each takes its length on disk, and is gone with this value.
#[derive(Default)]
pub(super) struct Copies(Mutex<Vec<Copy>>);

struct Copy {
    digest: Sha256Digest,
    held: Arc<Held>,
    used: Instant,
}

/// Why there is none.
pub(super) enum NoCopy {
    /// What the cache has is not what it says.
    Nothing,
    /// There is no room for one, on disk or among the others.
    Busy,
}

/// More of them are not kept.
const MOST: usize = 4;
/// Unused for so long, a copy is given up.
pub(super) const IDLE: Duration = Duration::from_mins(10);
/// What stays free on disk whatever neighbours ask for.
const RESERVE: u64 = 256 << 20;

impl Copies {
    /// The copy of that digest: the one that is there, or a new one of what `name` keeps, `length` bytes. One is
    /// made at a time.
    pub(super) async fn get(
        &self,
        engine: &Arc<Engine>,
        name: &EntryName,
        digest: Sha256Digest,
        length: u64,
    ) -> Result<Arc<Held>, NoCopy> {
        let mut copies = self.0.lock().await;
        if let Some(copy) = copies.iter_mut().find(|copy| copy.digest == digest) {
            copy.used = Instant::now();
            return Ok(copy.held.clone());
        }
        if copies.len() >= MOST {
            let unused = copies.iter().enumerate().filter(|(_, copy)| Arc::strong_count(&copy.held) == 1);
            let oldest = unused.min_by_key(|(_, copy)| copy.used).map(|(at, _)| at).ok_or(NoCopy::Busy)?;
            copies.swap_remove(oldest);
        }
        let (engine, name) = (engine.clone(), name.clone());
        let held = blocking(move || make(&engine, &name, digest, length)).await.ok_or(NoCopy::Busy)??;
        let held = Arc::new(held);
        copies.push(Copy { digest, held: held.clone(), used: Instant::now() });
        Ok(held)
    }

    pub(super) async fn forget_idle(&self) {
        self.0.lock().await.retain(|copy| copy.used.elapsed() < IDLE || Arc::strong_count(&copy.held) > 1);
    }
}

fn make(engine: &Engine, name: &EntryName, digest: Sha256Digest, length: u64) -> Result<Held, NoCopy> {
    let (Some(cache), staging) = (&engine.cache, engine.install.staging()) else { return Err(NoCopy::Nothing) };
    let needed = length.saturating_mul(2).saturating_add(RESERVE);
    match Place::of(staging.path()) {
        Ok(place) if place.free >= needed => {}
        _ => return Err(NoCopy::Busy),
    }
    match cache.serve(name, digest, &engine.trust.believed, staging, &engine.settings.limits) {
        Ok(Served::File(held)) => Ok(held),
        Ok(Served::Nothing) => Err(NoCopy::Nothing),
        Ok(Served::Rejected(rejection)) => {
            tracing::warn!(event = "cache_rejected", release = %name.id(), reason = %rejection);
            Err(NoCopy::Nothing)
        }
        Err(error) => {
            tracing::warn!(event = "cache_unusable", %error);
            Err(NoCopy::Busy)
        }
    }
}
