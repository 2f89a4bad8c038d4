use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::status::LastCheck;
use crate::launcher::Reloads;
use crate::types::Version;
use crate::upgrade::Step;

/// What a worker does just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "activity", rename_all = "kebab-case")]
pub enum Activity {
    /// Started, and not yet told to begin.
    Standby,
    /// Serves, and waits for the next look.
    Idle,
    /// Works on an upgrade.
    Upgrading(Step),
    /// Has handed a candidate over, or is one, and waits for the verdict.
    OnTrial,
    /// Finishes what it began, and leaves.
    Draining,
}

/// What the parts of a worker know of each other.
#[derive(Debug)]
pub(super) struct State {
    activity: watch::Sender<Activity>,
    pub(super) counters: Counters,
    checks: Mutex<Checks>,
    launcher: Mutex<Version>,
    reloads: Mutex<Reloads>,
    replaced: AtomicBool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    pub(super) last: Option<LastCheck>,
    pub(super) next: Option<Timestamp>,
}

/// Counts since this worker started.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Counters {
    pub(super) fn add(&self, name: &'static str, label: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((name, label)).or_default() += 1;
    }

    pub(super) fn all(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    pub(super) fn new(launcher: Version, reloads: Reloads) -> Self {
        let (activity, _) = watch::channel(Activity::Standby);
        Self {
            activity,
            counters: Counters::default(),
            checks: Mutex::default(),
            launcher: Mutex::new(launcher),
            reloads: Mutex::new(reloads),
            replaced: AtomicBool::new(false),
        }
    }

    /// What became of reloads: the launcher counts them.
    pub(super) fn reloads(&self) -> Reloads {
        *self.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_reloads(&self, reloads: Reloads) {
        *self.reloads.lock().unwrap_or_else(PoisonError::into_inner) = reloads;
    }

    /// Whether another worker serves, and this one only finishes.
    pub(super) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }

    pub(super) fn set_replaced(&self, replaced: bool) {
        self.replaced.store(replaced, Ordering::Relaxed);
    }

    /// The launcher's version: it may change under a worker that stays.
    pub(super) fn launcher(&self) -> Version {
        self.launcher.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_launcher(&self, version: Version) {
        *self.launcher.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }

    pub(super) fn set(&self, activity: Activity) {
        self.activity.send_replace(activity);
    }

    pub(super) fn activity(&self) -> Activity {
        self.activity.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Activity> {
        self.activity.subscribe()
    }

    pub(super) fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
