use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::report::JobReport;
use super::status::LastCheck;
use crate::install::Doubt;
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
    reloads: Mutex<Reloads>,
    replaced: AtomicBool,
    doubted: Mutex<BTreeSet<Doubt>>,
    /// What the job tells about itself.
    pub(super) report: Arc<JobReport>,
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

    pub(super) fn add_many(&self, name: &'static str, more: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((name, "")).or_default() += more;
    }

    pub(super) fn all(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    pub(super) fn new(launcher: Version, reloads: Reloads, report: Arc<JobReport>) -> Self {
        let (activity, _) = watch::channel(Activity::Standby);
        Self {
            activity,
            counters: Counters::default(),
            checks: Mutex::default(),
            launcher: Mutex::new(launcher),
            reloads: Mutex::new(reloads),
            replaced: AtomicBool::new(false),
            doubted: Mutex::default(),
            report,
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

    /// Whether this doubt is new to this worker.
    pub(super) fn doubts_first(&self, doubt: &Doubt) -> bool {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner).insert(doubt.clone())
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
