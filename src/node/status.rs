use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::state::{Activity, State};
use crate::install::{Installed, Policy, RescueState, Trial};
use crate::ledger::DistrustedKey;
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
    /// What operators decided for this install.
    pub policy: Option<Policy>,
    /// Where releases come from; `null` when nothing is configured.
    pub source: Option<String>,
    /// What a release must bring to be believed.
    pub trust: String,
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

impl Status {
    pub(super) fn gather(engine: &Engine, state: &State) -> Self {
        let record = engine.install.node(&engine.node).ok().flatten();
        let checks = state.checks().clone();
        let (previous, trial) = record.map_or((None, None), |record| (record.previous, record.trial));
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
            policy: engine.install.policy().ok(),
            source: engine.source.as_ref().map(ToString::to_string),
            trust: "archive signature; no freshness metadata".to_owned(),
            distrusted_keys: engine.ledger.distrusted_keys().unwrap_or_default(),
            distrust_not_applied: engine.trust.locked_out,
            can_upgrade: engine.install.why_detached().is_none(),
            last_check: checks.last,
            next_check: checks.next,
        }
    }
}
