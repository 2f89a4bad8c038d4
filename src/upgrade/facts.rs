//! What a decision is made of, gathered for it and for its explanation.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::engine::{Engine, Observer};
use super::error::UpgradeError;
use super::offer::Offer;
use super::run::Found;
use super::verdicts::import_verdicts;
use crate::fetch::Freshness;
use crate::install::Policy;
use crate::rollout::{Available, Direction, Maintenance, Plan, Question, Request, Veto, Why};
use crate::types::Version;

/// What stands before a release on this host, beside the rollout's own gates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostGate {
    /// A sibling that tries a version, or found this one bad.
    pub because: String,
    /// When to look again.
    pub changes: Timestamp,
}

/// What a decision is made of, gathered.
pub(super) struct Facts {
    now: Timestamp,
    available: Vec<Available>,
    vetoes: Vec<Veto>,
    policy: Policy,
    first_seen: BTreeMap<Version, Timestamp>,
}

impl Facts {
    pub(super) fn question<'a>(&'a self, engine: &'a Engine, request: Option<&'a Request>) -> Question<'a> {
        let rollout = &engine.settings.rollout;
        Question {
            now: self.now,
            running: &engine.running.version,
            available: &self.available,
            vetoes: &self.vetoes,
            pin: self.policy.pin.as_ref(),
            pause: self.policy.pause.as_ref(),
            first_seen: &self.first_seen,
            window: rollout.window,
            position: self.policy.position.as_bytes(),
            channel: rollout.channel,
            maintenance: Maintenance { windows: &rollout.windows, zone: &rollout.time_zone },
            request,
        }
    }
}

impl Engine {
    /// Why the node goes to `version`, or to whatever it would choose by itself, or does not.
    pub async fn why(
        self: &Arc<Self>,
        version: Option<&Version>,
        now: Timestamp,
    ) -> Result<(Why, Option<HostGate>), UpgradeError> {
        let unheard: Observer = Arc::new(|_| ());
        let offer = Offer::ask(self, None, Freshness::Shared, now, &unheard).await?;
        let facts = self.facts(&offer, now)?;
        let why = Why::of(&facts.question(self, None), version)?;
        let host = match &why.version {
            None => None,
            Some(version) => {
                let plan = Plan { version: version.clone(), direction: Direction::Up };
                match self.heed_siblings(plan, false, now)? {
                    Found::Waiting { until, because, .. } => {
                        Some(HostGate { because: because.to_string(), changes: until })
                    }
                    _ => None,
                }
            }
        };
        Ok((why, host))
    }

    pub(super) fn facts(&self, offer: &Offer, now: Timestamp) -> Result<Facts, UpgradeError> {
        let available = offer.available(self);
        // The launcher may have found something out since, and nobody decides without knowing it:
        // a version that has just failed would be tried again before its veto is heard of.
        if let Some(record) = self.install.node(&self.node)? {
            import_verdicts(self, &record, now)?;
        }
        Ok(Facts {
            now,
            vetoes: self.ledger.active_vetoes(now)?,
            policy: self.install.policy()?,
            first_seen: self.ledger.first_seen_all(available.iter().map(|available| &available.version), now)?,
            available,
        })
    }
}
