use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
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
    pages: Mutex<BTreeMap<&'static str, Served>>,
    facts: Mutex<Vec<Fact>>,
}

/// Requests that were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// All of them.
    pub requests: u64,
    /// Those of them that failed, by this node's own fault.
    pub failed: u64,
}

/// Something that a job tells about itself, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about, in a word or two.
    pub name: String,
    /// What there is to say.
    pub value: String,
}

/// Facts that are shown, and characters of each.
const FACTS: usize = 16;
const LONGEST_FACT: usize = 100;

/// The longest reason that is passed on, in characters.
const LONGEST: usize = 300;

impl Default for JobReport {
    fn default() -> Self {
        Self {
            served: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            said: watch::Sender::new(None),
            pages: Mutex::default(),
            facts: Mutex::default(),
        }
    }
}

impl JobReport {
    pub(super) fn count(&self, failed: bool) {
        let counter = if failed { &self.failed } else { &self.served };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer of one of the node's own pages.
    pub(super) fn count_page(&self, page: &'static str, failed: bool) {
        self.count(failed);
        let mut pages = locked(&self.pages);
        let served = pages.entry(page).or_default();
        served.requests += 1;
        served.failed += u64::from(failed);
    }

    pub(super) fn pages(&self) -> Vec<(&'static str, Served)> {
        locked(&self.pages).iter().map(|(page, served)| (*page, *served)).collect()
    }

    pub(super) fn show(&self, facts: Vec<Fact>) {
        let short = |text: String| text.chars().filter(|c| !c.is_control()).take(LONGEST_FACT).collect();
        let fact = |Fact { name, value }| Fact { name: short(name), value: short(value) };
        *locked(&self.facts) = facts.into_iter().take(FACTS).map(fact).collect();
    }

    pub(super) fn facts(&self) -> Vec<Fact> {
        locked(&self.facts).clone()
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
