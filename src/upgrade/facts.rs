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
use crate::ledger::Unverified;
use crate::rollout::{Available, Direction, Maintenance, Plan, Question, Request, Retry, Veto, Why, pause_after};
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
    retries: Vec<Retry>,
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
            retries: &self.retries,
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
        self.explain(&offer, version, now)
    }

    /// The same, from what was last on offer: nobody is asked. `None`: nobody was asked yet.
    pub fn why_of_last_offer(&self, now: Timestamp) -> Result<Option<(Why, Option<HostGate>)>, UpgradeError> {
        self.last_offer.get().map(|offer| self.explain(&offer, None, now)).transpose()
    }

    fn explain(
        &self,
        offer: &Offer,
        version: Option<&Version>,
        now: Timestamp,
    ) -> Result<(Why, Option<HostGate>), UpgradeError> {
        let facts = self.facts(offer, now)?;
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

    /// When releases that did not verify are downloaded again, if what is offered is what it was then.
    fn retries(&self, offer: &Offer, now: Timestamp) -> Result<Vec<Retry>, UpgradeError> {
        let offered = |spoilt: &Unverified| offer.fingerprint(self, &spoilt.version) == Some(spoilt.offered);
        // One from the future was noted by a clock that was ahead: its pause counts as over.
        let known = self.ledger.unverified()?.into_iter().filter(|spoilt| spoilt.last <= now && offered(spoilt));
        let retry = |Unverified { version, times, last, .. }| {
            let pause = pause_after(times, self.settings.poll.interval);
            let until = last.saturating_add(pause).unwrap_or(Timestamp::MAX);
            Retry { version, times, until }
        };
        Ok(known.map(retry).collect())
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
            retries: self.retries(offer, now)?,
            first_seen: self.ledger.first_seen_all(available.iter().map(|available| &available.version), now)?,
            available,
        })
    }
}
