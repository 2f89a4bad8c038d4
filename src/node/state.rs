use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::status::LastCheck;
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

/// In words, as `status` says it.
impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standby => f.write_str("starts"),
            Self::Idle => f.write_str("serves"),
            Self::Upgrading(step) => step.fmt(f),
            Self::OnTrial => f.write_str("serves, on trial"),
            Self::Draining => f.write_str("finishes, and leaves"),
        }
    }
}

/// What the parts of a worker know of each other.
#[derive(Debug)]
pub(super) struct State {
    activity: watch::Sender<Activity>,
    pub(super) counters: Counters,
    checks: Mutex<Checks>,
    launcher: Mutex<Version>,
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
    pub(super) fn new(launcher: Version) -> Self {
        let (activity, _) = watch::channel(Activity::Standby);
        Self { activity, counters: Counters::default(), checks: Mutex::default(), launcher: Mutex::new(launcher) }
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
