use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How a worker leaves that was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Whether another worker serves already. If none does yet, new connections wait for the one that
    /// leaves, so there is a hurry.
    pub replaced: bool,
    /// Until then a connection on which nothing is under way stays open, so that none is closed under a
    /// request that its client is just sending.
    pub idle_until: Instant,
    /// By then what is still under way is broken off.
    pub until: Instant,
}

/// For a client that sends its next request at once, also on a busy host.
const IDLE_IN_A_HURRY: Duration = Duration::from_millis(250);

impl Leaving {
    /// From now on, with so much time to finish.
    pub(super) fn now(drain: Duration, replaced: bool) -> Self {
        let now = Instant::now();
        let idle = if replaced { drain * 3 / 4 } else { IDLE_IN_A_HURRY.min(drain / 4) };
        Self { replaced, idle_until: now + idle, until: now + drain }
    }
}

/// Waits until the worker is asked to leave.
pub(super) async fn left(leaving: &mut watch::Receiver<Option<Leaving>>) -> Leaving {
    match leaving.wait_for(Option::is_some).await {
        Ok(said) => (*said).unwrap_or_else(|| Leaving::now(Duration::ZERO, false)),
        // The worker is gone without a word.
        Err(_) => Leaving::now(Duration::ZERO, false),
    }
}
