use std::time::Duration;
use std::{fmt, fs};

use rustix::time::ClockId;
use serde::{Deserialize, Serialize};

/// Seconds since this boot, suspended time included (`CLOCK_BOOTTIME`): a clock that nobody can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootClock(u64);

impl BootClock {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let time = rustix::time::clock_gettime(ClockId::Boottime);
        Self(u64::try_from(time.tv_sec).unwrap_or(0))
    }

    /// This much later, in whole seconds, rounded up.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let extra = u64::from(span.subsec_nanos() > 0);
        Self(self.0.saturating_add(span.as_secs()).saturating_add(extra))
    }

    /// How long until `later`; zero when it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_secs(later.0.saturating_sub(self.0))
    }
}

/// A moment on the monotonic clock, in milliseconds: the same for every process of this boot, so a
/// deadline survives an exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let time = rustix::time::clock_gettime(ClockId::Monotonic);
        let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
        Self(seconds * 1000 + nanos / 1_000_000)
    }

    /// This much later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long until `later`; zero when it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

/// Names this boot of the kernel: a [`BootClock`] reading means nothing under another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootId(String);

impl BootId {
    /// The running kernel's id, from `/proc/sys/kernel/random/boot_id`; empty where that is hidden.
    #[must_use]
    pub fn current() -> Self {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self(text.trim().to_owned())
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
