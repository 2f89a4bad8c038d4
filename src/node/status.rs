use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::report::Fact;
use super::state::{Activity, State};
use crate::cache::{Cache, Listed};
use crate::config::Settings;
use crate::install::{Installed, Policy, RescueState, Trial, Vitals};
use crate::ledger::DistrustedKey;
use crate::rollout::Veto;
use crate::sys::{own_descriptors, resident_memory};
use crate::tuf::Standing;
use crate::types::{NodeName, Product, Target, Version};
use crate::upgrade::Engine;

/// What a node tells about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The product.
    pub product: Product,
    /// The node's name on its host.
    pub node: NodeName,
    /// The node's id, made once.
    pub node_id: String,
    /// What runs.
    pub running: Installed,
    /// What `rollback` goes to.
    pub previous: Option<Installed>,
    /// What the service manager would start; shared by the nodes of this install.
    pub committed: Option<Installed>,
    /// What takes the committed version's place when that does not come up from a cold start.
    #[serde(default)]
    pub rescue: Option<RescueState>,
    /// The version of the launcher.
    pub launcher: Version,
    /// The target of this build.
    pub target: Target,
    /// What it does.
    pub activity: Activity,
    /// The trial under way.
    pub trial: Option<Trial>,
    /// How the worker does that answers. How the one before a trial did is in `trial`.
    #[serde(default)]
    pub vitals: Option<Vitals>,
    /// What the job tells about itself.
    #[serde(default)]
    pub job: Vec<Fact>,
    /// The epoch of the job's state; `null` where it keeps none.
    #[serde(default)]
    pub state_epoch: Option<u32>,
    /// What operators decided for this install.
    pub policy: Option<Policy>,
    /// The versions that this node does not try again for now.
    #[serde(default)]
    pub vetoes: Vec<Veto>,
    /// Where releases come from; `null` when nothing that can be used is configured.
    pub source: Option<String>,
    /// Why what is configured as a source cannot be used.
    #[serde(default)]
    pub source_problem: Option<String>,
    /// Why the node has no history now, and so upgrades to nothing.
    #[serde(default)]
    pub ledger_problem: Option<String>,
    /// What a release must bring to be believed.
    pub trust: String,
    /// How long the release metadata is valid that this node trusts; `null` where it follows none, or trusts
    /// none yet.
    #[serde(default)]
    pub metadata: Option<Standing>,
    /// The keys that newer versions withdrew: not believed here, whatever version runs.
    #[serde(default)]
    pub distrusted_keys: Vec<DistrustedKey>,
    /// Every key that this build pins was withdrawn; they are believed all the same, or it could never upgrade.
    #[serde(default)]
    pub distrust_not_applied: bool,
    /// Whether this install can upgrade itself.
    pub can_upgrade: bool,
    /// The last look at the source.
    pub last_check: Option<LastCheck>,
    /// When it looks again.
    pub next_check: Option<Timestamp>,
    /// The other nodes of this install.
    #[serde(default)]
    pub siblings: Vec<Sibling>,
    /// What the shared cache holds; `null` when it cannot be used.
    #[serde(default)]
    pub cache: Option<CacheContent>,
}

/// Another node that shares the binary, as its record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sibling {
    /// Its name.
    pub node: NodeName,
    /// What it runs.
    pub running: Installed,
    /// What it tries.
    pub trial: Option<Trial>,
    /// Whether it holds the host's turn to try a release.
    pub holds_lease: bool,
}

/// What the shared cache says that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheContent {
    /// Archives.
    pub archives: u64,
    /// Their length together, in bytes.
    pub bytes: u64,
}

/// A look at the source, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCheck {
    /// When.
    pub at: Timestamp,
    /// A stable word: `up-to-date`, `waiting`, `on-trial`, or the kind of an error.
    pub result: String,
    /// The same for people.
    pub detail: String,
}

impl LastCheck {
    /// Whether the look ended in an error, and not in a decision.
    #[must_use]
    pub fn failed(&self) -> bool {
        !matches!(self.result.as_str(), "up-to-date" | "waiting" | "on-trial" | "refused" | "no-source")
    }
}

impl Status {
    pub(super) fn gather(engine: &Engine, state: &State, now: Timestamp) -> Self {
        let record = engine.install.node(&engine.node).ok().flatten();
        let checks = state.checks().clone();
        let (previous, trial) = record.map_or((None, None), |record| (record.previous, record.trial));
        let source = engine.source.as_ref();
        Self {
            product: engine.product.clone(),
            node: engine.node.clone(),
            node_id: engine.ledger.node_id().to_owned(),
            running: engine.running.clone(),
            previous,
            committed: engine.install.committed().ok().flatten(),
            rescue: engine.install.why_detached().is_none().then(|| engine.install.rescue_state()),
            launcher: state.launcher(),
            target: engine.target.clone(),
            activity: state.activity(),
            trial,
            vitals: Some(vitals(state)),
            job: state.report.facts(),
            state_epoch: engine.schema.map(|schema| schema.epochs().writes),
            policy: engine.install.policy().ok(),
            vetoes: engine.ledger.active_vetoes(now).unwrap_or_default(),
            source: source.ok().and_then(|source| source.as_ref().map(ToString::to_string)),
            source_problem: source.err().map(ToString::to_string),
            ledger_problem: engine.ledger.stands_in_for().map(ToString::to_string),
            trust: trust(&engine.settings).to_owned(),
            metadata: source.ok().and_then(|source| source.as_ref()?.standing()),
            distrusted_keys: engine.ledger.distrusted_keys().unwrap_or_default(),
            distrust_not_applied: engine.trust.locked_out,
            can_upgrade: engine.install.why_detached().is_none(),
            last_check: checks.last,
            next_check: checks.next,
            siblings: siblings(engine),
            cache: engine.cache.as_ref().and_then(content),
        }
    }
}

fn trust(settings: &Settings) -> &'static str {
    match settings.source.tuf {
        Some(_) => "archive signature and release metadata",
        None => "archive signature; no freshness metadata",
    }
}

/// What a worker can tell of itself. Its launcher alone knows how often it was started.
fn vitals(state: &State) -> Vitals {
    let (served, failed) = state.report.requests();
    Vitals {
        ready: !matches!(state.activity(), Activity::Standby | Activity::Draining),
        says: state.report.said(),
        checked: None,
        requests: served + failed,
        errors: failed,
        memory: resident_memory(std::process::id().cast_signed()),
        descriptors: own_descriptors(),
        restarts: None,
    }
}

fn siblings(engine: &Engine) -> Vec<Sibling> {
    let leases = engine.install.leases_of_siblings(&engine.node);
    let records = engine.install.nodes().unwrap_or_default();
    let others = records.into_iter().filter(|(node, _)| *node != engine.node);
    let sibling = |(node, record): (NodeName, crate::install::NodeRecord)| Sibling {
        holds_lease: leases.iter().any(|lease| lease.owner == node),
        node,
        running: record.running,
        trial: record.trial,
    };
    others.map(sibling).collect()
}

fn content(cache: &Cache) -> Option<CacheContent> {
    let mut content = CacheContent::default();
    for entry in cache.entries().ok()? {
        if let Listed::Archive(archive) = entry {
            content.archives += 1;
            content.bytes = content.bytes.saturating_add(archive.length);
        }
    }
    Some(content)
}
