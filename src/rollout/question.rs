use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::windows::Maintenance;
use crate::types::{Channel, ReleaseTerms, Version};

/// A release that the source offers for this node's product and target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// Its version.
    pub version: Version,
    /// Whether the listing calls it a pre-release; a version such as `2.0.0-rc.1` is one by its name.
    pub prerelease: bool,
    /// What its publisher demands.
    pub terms: ReleaseTerms,
}

impl Available {
    /// Whether it is a pre-release, by its listing or by its version.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        self.prerelease || self.version.is_prerelease()
    }
}

/// A version that this node does not try again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Veto {
    /// The version.
    pub version: Version,
    /// When the veto ends by itself; `None`: when somebody lifts it.
    pub until: Option<Timestamp>,
    /// Why, in a few words.
    pub reason: String,
}

/// A release whose download did not verify, and is not repeated yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// The version.
    pub version: Version,
    /// How often what was downloaded did not verify.
    pub times: u32,
    /// When it is downloaded again.
    pub until: Timestamp,
}

/// No upgrades for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When it ends by itself; `None`: when somebody ends it.
    pub until: Option<Timestamp>,
}

/// What an operator asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// This version; `None`: the newest.
    pub version: Option<Version>,
    /// Whether it may be an older one.
    pub allow_downgrade: bool,
    /// Whether this is no operator's wish, but a trial that goes on after it was cut short: it does not get
    /// past a halt.
    pub resumes: bool,
}

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The time.
    pub now: Timestamp,
    /// The version that this node runs.
    pub running: &'a Version,
    /// What the source offers.
    pub available: &'a [Available],
    /// This node's vetoes; those that have ended may be among them.
    pub vetoes: &'a [Veto],
    /// The only version that this install may go to.
    pub pin: Option<&'a Version>,
    /// Whether upgrades are paused.
    pub pause: Option<&'a Pause>,
    /// Releases whose last download did not verify; those whose time has come may be among them.
    pub retries: &'a [Retry],
    /// When each version was first seen; one that is missing is seen now.
    pub first_seen: &'a BTreeMap<Version, Timestamp>,
    /// The time over which a release spreads.
    pub window: Duration,
    /// What the install's place in the window is computed from.
    pub position: &'a [u8],
    /// Which releases are gone to unattended.
    pub channel: Channel,
    /// When an upgrade may begin unattended.
    pub maintenance: Maintenance<'a>,
    /// An operator's request; `None`: the node asks by itself.
    pub request: Option<&'a Request>,
}
