use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::trust::Trust;
use crate::cache::Cache;
use crate::config::{ConfigFile, Settings};
use crate::fetch::{Neighbours, ReleaseSource, SourceError, TufClient};
use crate::install::{Install, Installed};
use crate::ledger::Ledger;
use crate::state::Schema;
use crate::types::{NodeName, Product, ReleaseId, Target, Version};

use super::offer::LastOffer;

/// Everything that an upgrade works with.
#[derive(Debug)]
pub struct Engine {
    /// The product.
    pub product: Product,
    /// The exact target of this build.
    pub target: Target,
    /// The keys that this build pins, and which of them are believed here.
    pub trust: Trust,
    /// The node.
    pub node: NodeName,
    /// What runs.
    pub running: Installed,
    /// The install folder.
    pub install: Install,
    /// The shared cache; `None` when it cannot be used: upgrades go on without it.
    pub cache: Option<Cache>,
    /// Where releases come from, if that is configured, or why what is configured cannot be used.
    pub source: Result<Option<Arc<ReleaseSource>>, SourceError>,
    /// How release metadata is verified that somebody carries here; `None`: this build holds no root of trust.
    pub metadata: Option<TufClient>,
    /// The mirrors of other hosts, which are asked before the source; `None`: there are none.
    pub neighbours: Option<Neighbours>,
    /// The job's database, as this build knows it; `None`: it keeps none.
    pub schema: Option<Schema>,
    /// Whether this is a node's worker, whose job has made its state. A command beside no node finds none, and the
    /// worker that later begins what it staged looks again.
    pub serves: bool,
    /// What was last on offer.
    pub last_offer: LastOffer,
    /// The node's memory.
    pub ledger: Ledger,
    /// All settings.
    pub settings: Settings,
    /// The options with which this program was started: a candidate rehearses with the same ones.
    pub options: Vec<OsString>,
    /// The configuration files that the node runs with: a candidate rehearses with the same ones, and not
    /// with what an operator is just writing. `None`: with what lies there.
    pub files: Option<Vec<ConfigFile>>,
}

/// What the shared cache had for a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheAnswer {
    /// A verified copy.
    Hit,
    /// Nothing.
    Miss,
    /// Something that did not hold.
    Rejected,
}

/// What came of a neighbour's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighbourAnswer {
    /// It was what was asked for.
    Had,
    /// It was not.
    Refused,
}

/// What came of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatchAnswer {
    /// It made the release.
    Applied,
    /// It was not used; the archive is downloaded whole.
    Refused,
}

/// What an upgrade does just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Asks the source for releases.
    Checking,
    /// A sibling downloads the same release.
    WaitingForDownload {
        /// The release.
        version: Version,
        /// Bytes that have arrived there.
        done: u64,
    },
    /// Another host has it from the origin.
    WaitingForNeighbour {
        /// The release.
        version: Version,
        /// Bytes that have arrived there.
        done: u64,
    },
    /// A neighbour sent a file.
    Neighbour {
        /// The release.
        version: Version,
        /// `had` or `refused`.
        answer: NeighbourAnswer,
    },
    /// The shared cache has answered.
    Cached {
        /// The release.
        version: Version,
        /// `hit`, `miss` or `rejected`.
        answer: CacheAnswer,
    },
    /// Downloads the archive.
    Downloading {
        /// The release.
        version: Version,
        /// Bytes that have arrived.
        done: u64,
        /// Bytes in all, where that is known.
        total: Option<u64>,
    },
    /// A patch was used, or not.
    Patched {
        /// The release.
        version: Version,
        /// `applied` or `refused`.
        answer: PatchAnswer,
    },
    /// Verifies a private copy from the cache, or the download.
    Verifying {
        /// The release.
        version: Version,
    },
    /// Extracts the binary.
    Extracting {
        /// The release.
        version: Version,
        /// Bytes written.
        done: u64,
    },
    /// Asks the candidate who it is, and has it rehearse.
    Probing {
        /// The release.
        version: Version,
    },
    /// Has asked the launcher to try it.
    Handing {
        /// The release.
        version: Version,
    },
}

/// In words, as an operator reads it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checking => f.write_str("looks for releases"),
            Self::WaitingForDownload { version, done } => {
                write!(f, "waits for a sibling's download of {version} ({done} bytes so far)")
            }
            Self::WaitingForNeighbour { version, done } => {
                write!(f, "waits for {version} at a neighbour that is having it ({done} bytes so far)")
            }
            Self::Neighbour { version, answer: NeighbourAnswer::Had } => write!(f, "has {version} from a neighbour"),
            Self::Neighbour { version, answer: NeighbourAnswer::Refused } => {
                write!(f, "refused what a neighbour sent for {version}")
            }
            Self::Cached { version, answer: CacheAnswer::Hit } => write!(f, "has {version} from the shared cache"),
            Self::Cached { version, answer: CacheAnswer::Miss } => {
                write!(f, "does not find {version} in the shared cache")
            }
            Self::Cached { version, answer: CacheAnswer::Rejected } => {
                write!(f, "refused what the shared cache had for {version}, and removed it")
            }
            Self::Downloading { version, .. } => write!(f, "downloads {version}"),
            Self::Patched { version, answer: PatchAnswer::Applied } => write!(f, "made {version} by a patch"),
            Self::Patched { version, answer: PatchAnswer::Refused } => {
                write!(f, "does not use the patch that would make {version}, and downloads it whole")
            }
            Self::Verifying { version } => write!(f, "verifies {version}"),
            Self::Extracting { version, .. } => write!(f, "extracts {version}"),
            Self::Probing { version } => write!(f, "asks {version} who it is"),
            Self::Handing { version } => write!(f, "hands {version} to the launcher"),
        }
    }
}

/// Hears each [`Step`]. Called often: it must return at once.
pub type Observer = Arc<dyn Fn(Step) + Send + Sync>;

impl Engine {
    /// The release of that version, for this product and target.
    #[must_use]
    pub fn release(&self, version: &Version) -> ReleaseId {
        ReleaseId { product: self.product.clone(), version: version.clone(), target: self.target.clone() }
    }
}
