use std::thread;
use std::time::{Duration, Instant};

use super::Cache;
use crate::sys::{Lock, PrivateDir, SysError};
use crate::types::{ByteLimit, ReleaseId};

/// Who downloads a release.
#[derive(Debug)]
pub enum Turn {
    /// This process, while it keeps the turn. Look into the cache again before downloading: whoever
    /// had the turn before may have stored it.
    Mine(DownloadTurn),
    /// Nobody can tell. Download without the cache's help.
    GaveUp(GaveUp),
}

/// Why waiting for a turn ended.
#[derive(Debug, thiserror::Error)]
pub enum GaveUp {
    /// The holder shows no progress.
    #[error("another process has held the download of this release for {} s without progress", .0.as_secs())]
    NoProgress(Duration),
    /// The holder shows progress for ever.
    #[error("another process has been downloading this release for {} s", .0.as_secs())]
    TooLong(Duration),
    /// The lock file cannot be used.
    #[error("the lock of this release's download cannot be used: {0}")]
    Lock(#[from] SysError),
}

/// The right to download a release, for as long as this value lives.
#[derive(Debug)]
pub struct DownloadTurn {
    lock: Lock,
    noted: Option<(u64, Instant)>,
}

/// A counter that moves for ever is not believed for ever: patience times this in all.
const PATIENCES: u32 = 15;
/// A note is a number.
const NOTE_MAX: ByteLimit = ByteLimit::bytes(32);
const NOTE_EVERY: Duration = Duration::from_millis(250);

impl Cache {
    /// Waits for the turn to download a release. `waiting` hears the holder's counter of bytes.
    /// Gives up when the counter has not moved for `patience`, or after 15 times that in all. Blocks.
    pub fn download_turn(&self, id: &ReleaseId, patience: Duration, waiting: &mut dyn FnMut(u64)) -> Turn {
        let name = lock_name(id);
        let pause = (patience / 20).clamp(Duration::from_millis(5), Duration::from_millis(500));
        let begun = Instant::now();
        let (mut seen, mut moved) = (None, begun);
        loop {
            match self.locks.try_lock(&name) {
                Ok(Some(lock)) => {
                    let mut turn = DownloadTurn { lock, noted: None };
                    turn.progress(0);
                    return Turn::Mine(turn);
                }
                Ok(None) => {}
                Err(error) => return Turn::GaveUp(GaveUp::Lock(error)),
            }
            let counter = counter(&self.locks, &name);
            if counter.is_some() && counter != seen {
                (seen, moved) = (counter, Instant::now());
            }
            if moved.elapsed() >= patience {
                return Turn::GaveUp(GaveUp::NoProgress(moved.elapsed()));
            }
            if begun.elapsed() >= patience * PATIENCES {
                return Turn::GaveUp(GaveUp::TooLong(begun.elapsed()));
            }
            waiting(seen.unwrap_or(0));
            thread::sleep(pause);
        }
    }
}

impl DownloadTurn {
    /// Tells those who wait how many bytes have arrived.
    pub fn progress(&mut self, bytes: u64) {
        let due = self.noted.is_none_or(|(noted, at)| noted != bytes && at.elapsed() >= NOTE_EVERY);
        if due {
            // Without a note the others give up early, and download for themselves.
            self.lock.note(&bytes.to_string()).ok();
            self.noted = Some((bytes, Instant::now()));
        }
    }
}

/// The lock of a release's download.
pub(super) fn lock_name(id: &ReleaseId) -> String {
    format!("{}@{}@{}", id.product, id.version, id.target)
}

/// The holder's counter, read as warily as anything in the cache.
fn counter(locks: &PrivateDir, name: &str) -> Option<u64> {
    let note = locks.read(name, NOTE_MAX).ok()?;
    std::str::from_utf8(&note).ok()?.parse().ok()
}
