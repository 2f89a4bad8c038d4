//! The story of one upgrade, top to bottom.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::engine::{Engine, Observer, Step};
use super::error::UpgradeError;
use super::offer::{BUNDLE_EVENT, Offer};
use super::probe::{describe, probe};
use super::stage::{Staged, blocking, stage};
use super::unclear::left_alone;
use super::verdicts::{kind, trial_id};
use crate::fetch::{Freshness, Listing};
use crate::install::{Claim, Installed, Purpose, StateChange, Trial};
use crate::launcher::{TryReply, TryRequest};
use crate::ledger::{AttemptId, Ending, NewAttempt, NewVeto, Outcome};
use crate::rollout::{self, Decision, Direction, Gate, Plan, Request};
use crate::types::{NodeName, Overlap, Version};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Look for a release, as the node does by itself.
    Poll,
    /// An operator asks for an upgrade.
    Upgrade(Request),
    /// The same, to what a bundle holds: a folder or a tar file that somebody carried here.
    UpgradeFrom {
        /// What is asked for.
        request: Request,
        /// The bundle.
        from: Carried,
    },
    /// An operator wants a version back that this node ran before; `None`: the previous one.
    GoBack(Option<Version>),
    /// A trial was cut short: begin it again, at the archive.
    Resume(Box<Trial>),
}

/// A bundle that somebody carried here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Its absolute path.
    pub bundle: PathBuf,
    /// The time at which its metadata must have been valid; `None`: now. With a time, it must hold some.
    pub valid_at: Option<Timestamp>,
}

/// What there is to do, found without doing it.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Nothing.
    UpToDate,
    /// Nothing yet: time, or a sibling, stands before it.
    Waiting {
        /// What it would be.
        version: Version,
        /// When to look again.
        until: Timestamp,
        /// Why.
        because: Wait,
    },
    /// Go there.
    Plan(Plan),
}

/// What an upgrade waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A gate of the rollout.
    Gate(Gate),
    /// A sibling tries a version just now.
    SiblingTries(NodeName),
    /// A sibling tried this version and found it bad; that is believed for a while.
    SiblingFailed(NodeName),
    /// Its last trial, on this node of the host, ended without a verdict on its health.
    Unclear(NodeName),
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gate(gate) => gate.fmt(f),
            Self::SiblingTries(node) => write!(f, "node {node} of this host tries a version first"),
            Self::SiblingFailed(node) => {
                write!(f, "node {node} of this host tried it, and it failed there; `upgrade` does not wait for that")
            }
            Self::Unclear(node) => {
                write!(f, "nobody could tell its health when node {node} tried it; `upgrade` does not wait for that")
            }
        }
    }
}

/// How far an upgrade came.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// There is nothing to do, or not yet.
    Nothing(Found),
    /// The launcher tries it; the verdict will be in the history under this number.
    OnTrial {
        /// The attempt.
        attempt: AttemptId,
        /// What is tried.
        candidate: Installed,
    },
}

/// Asks the launcher to try a candidate.
pub trait Ask: Send + Sync {
    /// The launcher's answer.
    fn ask(&self, request: TryRequest) -> impl Future<Output = TryReply> + Send;
}

impl Engine {
    /// Steps 1 to 3: what the source (or the bundle) offers, and what policy makes of it.
    pub async fn find(
        self: &Arc<Self>,
        request: Option<&Request>,
        from: Option<&Carried>,
        freshness: Freshness,
        now: Timestamp,
        observer: &Observer,
    ) -> Result<(Found, Listing), UpgradeError> {
        self.require_ledger()?;
        let offer = Offer::ask(self, from, freshness, now, observer).await?;
        Ok((self.judge(&offer, request, now)?, offer.listing))
    }

    /// Without its vetoes, and the keys that were withdrawn, a node decides nothing.
    fn require_ledger(&self) -> Result<(), UpgradeError> {
        match self.ledger.stands_in_for() {
            None => Ok(()),
            Some(why) => Err(UpgradeError::NoLedger { reason: why.to_string() }),
        }
    }

    /// What policy makes of an offer.
    fn judge(&self, offer: &Offer, request: Option<&Request>, now: Timestamp) -> Result<Found, UpgradeError> {
        let facts = self.facts(offer, now)?;
        Ok(match rollout::decide(&facts.question(self, request)) {
            Decision::UpToDate => Found::UpToDate,
            Decision::Waiting { version, until, because } => {
                Found::Waiting { version, until, because: Wait::Gate(because) }
            }
            Decision::Refused(refusal) => return Err(refusal.into()),
            Decision::Plan(plan) => self.heed_siblings(plan, request.is_some(), now)?,
        })
    }

    /// The nodes of a host are their own canary: one tries, the others wait for what it finds out.
    pub(super) fn heed_siblings(&self, plan: Plan, forced: bool, now: Timestamp) -> Result<Found, UpgradeError> {
        let at_once = self.settings.trial.siblings_at_once;
        if let Some(lease) = self.install.lease_in_the_way(&self.node, &plan.version, at_once) {
            let until = now.saturating_add(SignedDuration::from_millis(500)).unwrap_or(now);
            return Ok(Found::Waiting { version: plan.version, until, because: Wait::SiblingTries(lease.owner) });
        }
        if forced {
            return Ok(Found::Plan(plan));
        }
        let believed = self.settings.trial.sibling_verdict;
        if let Some((node, at)) = self.install.failed_at_sibling(&self.node, &plan.version, now, believed)? {
            let span = SignedDuration::try_from(believed).unwrap_or(SignedDuration::from_hours(24));
            let until = at.saturating_add(span).unwrap_or(now);
            return Ok(Found::Waiting { version: plan.version, until, because: Wait::SiblingFailed(node) });
        }
        let pause = self.settings.trial.longest_probation.max(self.settings.poll.interval);
        let records = self.install.nodes()?;
        if let Some((until, node)) = left_alone(&records, &plan.version, now, pause) {
            return Ok(Found::Waiting { version: plan.version, until, because: Wait::Unclear(node.clone()) });
        }
        Ok(Found::Plan(plan))
    }

    /// The whole way: find, stage, probe, and ask the launcher for a trial.
    pub async fn run(
        self: &Arc<Self>,
        work: Work,
        now: Timestamp,
        launcher: &impl Ask,
        observer: &Observer,
    ) -> Result<Done, UpgradeError> {
        self.require_ledger()?;
        let freshness = match work {
            Work::Upgrade(_) | Work::UpgradeFrom { .. } => Freshness::Unconditional,
            _ => Freshness::Shared,
        };
        let mut carried = None;
        let (request, trial) = match work {
            Work::GoBack(version) => return self.go_back(version, None, now, launcher, observer).await,
            Work::Resume(trial) if trial.purpose == Purpose::Rollback => {
                let version = Some(trial.candidate.version.clone());
                return self.go_back(version, Some(*trial), now, launcher, observer).await;
            }
            Work::Poll => (None, None),
            Work::Upgrade(request) => (Some(request), None),
            Work::UpgradeFrom { request, from } => {
                carried = Some(from);
                (Some(request), None)
            }
            Work::Resume(trial) => {
                let version = Some(trial.candidate.version.clone());
                let allow_downgrade = trial.purpose == Purpose::Downgrade;
                (Some(Request { version, allow_downgrade, resumes: true }), Some(*trial))
            }
        };
        let offer = match trial.as_ref() {
            Some(trial) => Offer::again(self, trial, freshness, now, observer).await?,
            None => Offer::ask(self, carried.as_ref(), freshness, now, observer).await?,
        };
        let plan = match self.judge(&offer, request.as_ref(), now)? {
            Found::Plan(plan) => plan,
            Found::Waiting { version, because: Wait::SiblingTries(by), .. }
                if freshness == Freshness::Unconditional =>
            {
                return Err(UpgradeError::SiblingTries { by, version });
            }
            found => return Ok(Done::Nothing(found)),
        };
        if let Some(reason) = self.install.why_detached() {
            return Err(UpgradeError::Unsupported { version: plan.version, reason: reason.to_owned() });
        }
        self.install.refuse_if_replaced()?;
        self.require_state().await?;
        let purpose = match plan.direction {
            Direction::Up => Purpose::Upgrade,
            Direction::Down => Purpose::Downgrade,
        };
        let attempt = self.begin(&plan.version, purpose, trial.as_ref(), now)?;
        if let Some(bundle) = carried.as_ref().and_then(|carried| carried.bundle.to_str()) {
            self.ledger.event(attempt, BUNDLE_EVENT, bundle, now)?;
        }
        // Somebody who named a version, or asked for an older one, may also want the state that fits it.
        let named = request.as_ref().is_some_and(|request| request.version.is_some());
        let outcome =
            self.prepare(&offer, &plan.version, named || purpose != Purpose::Upgrade, attempt, observer).await;
        let asked = match outcome {
            Ok((candidate, claim, overlap, state)) => {
                let id = trial.map_or_else(|| trial_id(attempt), |trial| trial.id);
                let request = TryRequest { id, candidate, purpose, asked_for: request.is_some(), overlap, state };
                let asked = self.hand_over(attempt, request, launcher, observer).await;
                // Whoever accepts it has it in the node's record by now.
                drop(claim);
                asked
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &asked
            && error.spoils_download()
            && let Some(offered) = offer.fingerprint(self, &plan.version)
        {
            self.ledger.note_unverified(attempt, &offered, now)?;
        }
        self.note_failure(attempt, &plan.version, asked, now)
    }

    /// Steps 4 to 7: the release becomes a probed candidate among the versions, and it is known what it does to
    /// the job's state.
    async fn prepare(
        self: &Arc<Self>,
        offer: &Offer,
        version: &Version,
        asked: bool,
        attempt: AttemptId,
        observer: &Observer,
    ) -> Result<(Installed, Claim, Overlap, Option<StateChange>), UpgradeError> {
        let Staged { installed, claim, origin } = stage(self, offer, version, attempt, observer).await?;
        self.ledger.event(attempt, "staged", &format!("{installed}, {origin}"), Timestamp::now())?;
        observer(Step::Probing { version: installed.version.clone() });
        let (engine, candidate) = (self.clone(), installed.clone());
        let probed = blocking(move || {
            let binary = engine.install.open_version(&candidate)?;
            let id = engine.release(&candidate.version);
            probe(&binary, &id, &engine.options, engine.files.as_deref(), engine.settings.trial.probe)
                .map_err(|source| UpgradeError::Probe { id: Box::new(id), source })
        })
        .await;
        let probed = match probed {
            Ok(probed) => {
                let change = self.change_of_state(version, probed.state, asked).await;
                change.map(|change| (probed.overlap, change))
            }
            Err(error) => Err(error),
        };
        match probed {
            Ok((overlap, change)) => Ok((installed, claim, overlap, change)),
            Err(error) => {
                drop(claim);
                if let Err(error) = self.install.prune() {
                    tracing::warn!(event = "prune_failed", %error);
                }
                Err(error)
            }
        }
    }

    /// Step 8: the launcher decides. From here on, what happens is in the node's record.
    async fn hand_over(
        &self,
        attempt: AttemptId,
        request: TryRequest,
        launcher: &impl Ask,
        observer: &Observer,
    ) -> Result<Done, UpgradeError> {
        let (candidate, purpose) = (request.candidate.clone(), request.purpose);
        let version = candidate.version.clone();
        observer(Step::Handing { version: version.clone() });
        if let Some(change) = &request.state {
            self.ledger.event(attempt, "state", &change.to_string(), Timestamp::now())?;
        }
        self.ledger.event(attempt, "trial-asked", &request.id, Timestamp::now())?;
        if purpose != Purpose::Upgrade {
            // Before the trial: the version gone back to must not look for a newer one at once.
            self.install.change_policy(|policy| policy.pin_for_trial(version.clone(), self.node.clone()))?;
        }
        let reply = launcher.ask(request).await;
        if purpose != Purpose::Upgrade && !matches!(reply, TryReply::Accepted { .. }) {
            self.install.change_policy(|policy| policy.settle_pin_for_trial(&self.node, &self.running.version))?;
        }
        match reply {
            TryReply::Accepted { .. } => Ok(Done::OnTrial { attempt, candidate }),
            TryReply::Wait { by, .. } => {
                let until = Timestamp::now();
                Ok(Done::Nothing(Found::Waiting { version, until, because: Wait::SiblingTries(by) }))
            }
            TryReply::Busy { .. } => {
                Err(UpgradeError::Launcher { version, reason: "a trial is under way already".to_owned() })
            }
            TryReply::Refused { reason, .. } => Err(UpgradeError::Launcher { version, reason }),
        }
    }

    /// Back to a version that this node ran before: it lies among the versions still.
    async fn go_back(
        self: &Arc<Self>,
        version: Option<Version>,
        trial: Option<Trial>,
        now: Timestamp,
        launcher: &impl Ask,
        observer: &Observer,
    ) -> Result<Done, UpgradeError> {
        let record = self.install.node(&self.node)?;
        let known = record.and_then(|record| record.previous);
        let candidate = trial.as_ref().map(|trial| trial.candidate.clone()).or(known);
        let wanted = |candidate: &Installed| version.as_ref().is_none_or(|version| *version == candidate.version);
        let Some(candidate) = candidate.filter(wanted) else {
            return Err(UpgradeError::NothingToGoBackTo { version });
        };
        if candidate == self.running {
            return Ok(Done::Nothing(Found::UpToDate));
        }
        self.install.refuse_if_replaced()?;
        let (engine, asked) = (self.clone(), candidate.clone());
        let probed = blocking(move || {
            let binary = engine.install.open_version(&asked)?;
            let id = engine.release(&asked.version);
            describe(&binary, &id, engine.settings.trial.probe)
                .map_err(|source| UpgradeError::Probe { id: Box::new(id), source })
        })
        .await?;
        let state = self.change_of_state(&candidate.version, probed.state, true).await?;
        self.install.carry_capabilities(&candidate)?;
        let attempt = self.begin(&candidate.version, Purpose::Rollback, trial.as_ref(), now)?;
        let version = candidate.version.clone();
        let id = trial.map_or_else(|| trial_id(attempt), |trial| trial.id);
        let (purpose, overlap) = (Purpose::Rollback, probed.overlap);
        let request = TryRequest { id, candidate, purpose, asked_for: true, overlap, state };
        let asked = self.hand_over(attempt, request, launcher, observer).await;
        self.note_failure(attempt, &version, asked, now)
    }

    fn begin(
        &self,
        version: &Version,
        purpose: Purpose,
        trial: Option<&Trial>,
        now: Timestamp,
    ) -> Result<AttemptId, UpgradeError> {
        if let Some(attempt) = trial.and_then(|trial| super::verdicts::attempt_of(&trial.id)) {
            self.ledger.event(attempt, "resumed", "", now)?;
            return Ok(attempt);
        }
        let attempt = NewAttempt { kind: kind(purpose), from: &self.running.version, to: version, digest: None };
        Ok(self.ledger.begin_attempt(&attempt, now)?)
    }

    /// Notes in the history how an attempt ended that did not reach its trial, and vetoes a release
    /// that is itself at fault.
    fn note_failure(
        &self,
        attempt: AttemptId,
        version: &Version,
        asked: Result<Done, UpgradeError>,
        now: Timestamp,
    ) -> Result<Done, UpgradeError> {
        let (outcome, reason) = match &asked {
            Ok(Done::OnTrial { .. }) => return asked,
            Ok(Done::Nothing(_)) => (Outcome::Waiting, "a sibling tries a version just now".to_owned()),
            Err(error) if error.is_verification() => (Outcome::Refused, error.to_string()),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        if let Err(error) = &asked
            && error.blames_release()
        {
            self.ledger.veto(&NewVeto::after_failure(version, None, &reason, now), now)?;
        }
        let ending = Ending { outcome, reason: Some(&reason), digest: None, output: None };
        self.ledger.finish(attempt, &ending, Timestamp::now())?;
        asked
    }
}
