use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::launcher::Reported;
use crate::sys::own_descriptors;
use crate::types::Health;

/// What a job tells about itself, gathered for the launcher, for status and for metrics.
#[derive(Debug)]
pub(super) struct JobReport {
    served: AtomicU64,
    failed: AtomicU64,
    said: watch::Sender<Option<(Health, String)>>,
}

/// The longest reason that is passed on, in characters.
const LONGEST: usize = 300;

impl Default for JobReport {
    fn default() -> Self {
        Self { served: AtomicU64::new(0), failed: AtomicU64::new(0), said: watch::Sender::new(None) }
    }
}

impl JobReport {
    pub(super) fn count(&self, failed: bool) {
        let counter = if failed { &self.failed } else { &self.served };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were served, and that failed.
    pub(super) fn requests(&self) -> (u64, u64) {
        (self.served.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    pub(super) fn say(&self, health: Health, because: &str) {
        let because: String = because.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        self.said.send_if_modified(|said| {
            let new = Some((health, because));
            let changed = *said != new;
            *said = new;
            changed
        });
    }

    /// What the job last said of itself.
    pub(super) fn said(&self) -> Option<Health> {
        self.said.borrow().as_ref().map(|(health, _)| *health)
    }

    /// Wakes whenever the job says something new.
    pub(super) fn watch(&self) -> watch::Receiver<Option<(Health, String)>> {
        self.said.subscribe()
    }

    /// For the launcher.
    pub(super) fn reported(&self) -> Reported {
        let (served, failed) = self.requests();
        let (health, because) = self.said.borrow().clone().map_or((None, String::new()), |(h, b)| (Some(h), b));
        Reported { requests: served + failed, errors: failed, descriptors: own_descriptors(), health, because }
    }
}
