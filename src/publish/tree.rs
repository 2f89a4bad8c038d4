//! The folder that is published, as those see it who change its listing.

use std::time::{Duration, Instant};

use crate::sys::{Dir, DirLock, SysError};

/// How long to wait for another run's last step, which takes well under a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for the right to change the listing; `None`: another run keeps it for too long.
pub(super) fn lock(root: &Dir) -> Result<Option<DirLock>, SysError> {
    let start = Instant::now();
    loop {
        if let Some(lock) = root.try_lock_itself()? {
            return Ok(Some(lock));
        }
        if start.elapsed() > PATIENCE {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
