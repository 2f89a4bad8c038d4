use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::types::Version;

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: no acceptable release is newer, or the requested version runs already.
    UpToDate,
    /// Go there.
    Plan(Plan),
    /// Go to `version` later: nothing but time is missing.
    Waiting {
        /// The version to go to.
        version: Version,
        /// When to decide again.
        until: Timestamp,
        /// What the node waits for.
        because: Gate,
    },
    /// Not until somebody acts.
    Refused(Refusal),
}

/// A version to go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The version.
    pub version: Version,
    /// Whether it is newer or older than the running one.
    pub direction: Direction,
}

/// Newer or older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To a newer version.
    Up,
    /// To an older version.
    Down,
}

/// What a release has to pass on its way to a plan, in the order in which it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Of the channel, and newer than what runs.
    Channel,
    /// Not pinned to another version.
    Pin,
    /// Nothing has to run before it.
    Barrier,
    /// Not vetoed by this node.
    Veto,
    /// Not paused.
    Pause,
    /// The publisher's plan lets this install go.
    Wave,
    /// This install's moment in the window has come.
    Delay,
    /// A maintenance window is open.
    Window,
    /// What it downloaded verified, or the pause after that is over.
    Archive,
}

impl Gate {
    /// Its name in tables and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Pin => "pin",
            Self::Barrier => "barrier",
            Self::Veto => "veto",
            Self::Pause => "pause",
            Self::Wave => "wave",
            Self::Delay => "delay",
            Self::Window => "window",
            Self::Archive => "archive",
        }
    }
}

impl std::fmt::Display for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Channel => "a release of the channel newer than what runs",
            Self::Pin => "the pin",
            Self::Barrier => "a version that has to run before it",
            Self::Veto => "this node's veto",
            Self::Pause => "the pause",
            Self::Wave => "this install's turn in the publisher's rollout",
            Self::Delay => "this install's moment in the rollout window",
            Self::Window => "the next maintenance window",
            Self::Archive => {
                "its next download: what was downloaded before did not verify; `upgrade` downloads at once"
            }
        })
    }
}

/// Why there is no plan, and what lifts that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Pinned to another version.
    #[error("{version} is not {to}, to which this node is pinned; `unpin` lifts that, or `pin {version}` moves it")]
    Pinned {
        /// The version that would be gone to otherwise.
        version: Version,
        /// The pinned version.
        to: Version,
    },
    /// Paused.
    #[error("upgrades are paused{}; `resume` ends that", ending(*until))]
    Paused {
        /// When it ends by itself.
        until: Option<Timestamp>,
    },
    /// Vetoed by this node.
    #[error(
        "this node does not try {version} again{} ({reason}); a newer release does not wait for that, and `unveto {version}` lifts it (`upgrade --version {version} --lift-veto` also tries it at once)",
        ending(*until)
    )]
    Vetoed {
        /// The version.
        version: Version,
        /// When the veto ends by itself.
        until: Option<Timestamp>,
        /// Why it was vetoed.
        reason: String,
    },
    /// Older than what runs, and that was not said.
    #[error("{to} is older than {from}, which runs; add --allow-downgrade if that is meant")]
    Downgrade {
        /// The running version.
        from: Version,
        /// The older one.
        to: Version,
    },
    /// Something has to run before it. No flag skips that.
    #[error(transparent)]
    Barrier(Box<Barred>),
    /// Its publisher halted it, or has not begun it.
    #[error(
        "the rollout of {version} {} nobody goes there by itself, and `upgrade --version {version}` does not wait for that",
        begins.map_or_else(|| "is halted; until its publisher resumes it".to_owned(), |begins| format!("begins {begins:.0}; before that"))
    )]
    Halted {
        /// The version.
        version: Version,
        /// When it begins; `None`: it is halted.
        begins: Option<Timestamp>,
    },
    /// No wave of its rollout holds this install.
    #[error(
        "{version} is rolled out to some installs only, and this is none of them yet; `upgrade --version {version}` does not wait for that"
    )]
    NotInWave {
        /// The version.
        version: Version,
    },
    /// The source does not offer it for this target.
    #[error("the source does not offer {version} for this target{}", meant(nearest.as_ref()))]
    NotOffered {
        /// The version that was asked for, or pinned.
        version: Version,
        /// The offered version that is most like it.
        nearest: Option<Version>,
    },
}

/// What has to run before a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{version} cannot be gone to from {running} directly: {needs} has to run before it{}",
    if *.offered { format!("; `upgrade --version {needs}` goes there, and so does the node by itself, when nothing else stands before it") }
    else { ", which the source does not offer; `upgrade` without a version goes as far as it can".to_owned() }
)]
pub struct Barred {
    /// The version that would be gone to otherwise.
    pub version: Version,
    /// What runs.
    pub running: Version,
    /// What has to run before.
    pub needs: Version,
    /// Whether the source offers that.
    pub offered: bool,
}

fn ending(until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| format!(" until {until:.0}"))
}

fn meant(nearest: Option<&Version>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; the nearest that it offers is {nearest}"))
}

impl Refusal {
    /// The gate that is shut; `None` where there is no such release at all.
    #[must_use]
    pub fn gate(&self) -> Option<Gate> {
        match self {
            Self::Pinned { .. } => Some(Gate::Pin),
            Self::Paused { .. } => Some(Gate::Pause),
            Self::Vetoed { .. } => Some(Gate::Veto),
            Self::Downgrade { .. } => Some(Gate::Channel),
            Self::Barrier(_) => Some(Gate::Barrier),
            Self::Halted { .. } | Self::NotInWave { .. } => Some(Gate::Wave),
            Self::NotOffered { .. } => None,
        }
    }
}
