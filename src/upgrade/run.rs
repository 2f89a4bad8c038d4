//! The story of one upgrade, top to bottom.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::engine::{Engine, Observer, Step};
use super::error::UpgradeError;
use super::probe::probe;
use super::stage::{blocking, source, stage};
use super::verdicts::{kind, trial_id};
use crate::fetch::{Freshness, Listing, Release};
use crate::install::{Installed, Purpose, Trial, VerdictKind};
use crate::launcher::{TryReply, TryRequest};
use crate::ledger::{AttemptId, Ending, NewAttempt, NewVeto, Outcome};
use crate::rollout::{self, Decision, Direction, Gate, Plan, Request};
use crate::sys::{BootClock, BootId};
use crate::types::{NodeName, Version};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Look for a release, as the node does by itself.
    Poll,
    /// An operator asks for an upgrade.
    Upgrade(Request),
    /// An operator wants a version back that this node ran before; `None`: the previous one.
    GoBack(Option<Version>),
    /// A trial was cut short: begin it again, at the archive.
    Resume(Trial),
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

/// In words.
impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(gate) => gate.fmt(f),
            Self::SiblingTries(node) => write!(f, "node {node} of this host tries a version first"),
            Self::SiblingFailed(node) => write!(f, "node {node} of this host tried it, and it failed there"),
        }
    }
}

/// Asks the launcher to try a candidate.
pub trait Ask: Send + Sync {
    /// The launcher's answer.
    fn ask(&self, request: TryRequest) -> impl Future<Output = TryReply> + Send;
}

impl Engine {
    /// Steps 1 to 3: what the source offers, and what policy makes of it.
    pub async fn find(
        self: &Arc<Self>,
        request: Option<&Request>,
        freshness: Freshness,
        now: Timestamp,
        observer: &Observer,
    ) -> Result<(Found, Listing), UpgradeError> {
        observer(Step::Checking);
        let listing = source(self)?.releases(freshness, now).await?;
        let facts = self.facts(&listing, now)?;
        let found = match rollout::decide(&facts.question(self, request)) {
            Decision::UpToDate => Found::UpToDate,
            Decision::Waiting { version, until, because } => {
                Found::Waiting { version, until, because: Wait::Gate(because) }
            }
            Decision::Refused(refusal) => return Err(refusal.into()),
            Decision::Plan(plan) => self.heed_siblings(plan, request.is_some(), now)?,
        };
        Ok((found, listing))
    }

    /// The nodes of a host are their own canary: one tries, the others wait for what it finds out.
    pub(super) fn heed_siblings(&self, plan: Plan, forced: bool, now: Timestamp) -> Result<Found, UpgradeError> {
        if let Some(lease) = self.install.standing_lease() {
            let remaining = BootClock::now().until(lease.deadline);
            if lease.owner != self.node && lease.boot == BootId::current() && !remaining.is_zero() {
                let until = now.saturating_add(SignedDuration::from_millis(500)).unwrap_or(now);
                return Ok(Found::Waiting { version: plan.version, until, because: Wait::SiblingTries(lease.owner) });
            }
        }
        if forced {
            return Ok(Found::Plan(plan));
        }
        let believed = self.settings.trial.sibling_verdict;
        for (node, record) in self.install.nodes()? {
            let failed = record.verdicts.iter().rev().find(|verdict| {
                verdict.kind == VerdictKind::Bad
                    && verdict.candidate.version == plan.version
                    && verdict.is_recent(now, believed)
            });
            if let Some(verdict) = failed
                && node != self.node
            {
                let span = SignedDuration::try_from(believed).unwrap_or(SignedDuration::from_hours(24));
                let until = verdict.at.saturating_add(span).unwrap_or(now);
                return Ok(Found::Waiting { version: plan.version, until, because: Wait::SiblingFailed(node) });
            }
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
        let freshness = match work {
            Work::Upgrade(_) => Freshness::Unconditional,
            _ => Freshness::Shared,
        };
        let (request, trial) = match work {
            Work::GoBack(version) => return self.go_back(version, None, now, launcher, observer).await,
            Work::Resume(trial) if trial.purpose == Purpose::Rollback => {
                let version = Some(trial.candidate.version.clone());
                return self.go_back(version, Some(trial), now, launcher, observer).await;
            }
            Work::Poll => (None, None),
            Work::Upgrade(request) => (Some(request), None),
            Work::Resume(trial) => {
                let version = Some(trial.candidate.version.clone());
                (Some(Request { version, allow_downgrade: trial.purpose == Purpose::Downgrade }), Some(trial))
            }
        };
        let (found, listing) = self.find(request.as_ref(), freshness, now, observer).await?;
        let plan = match found {
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
        let release = listing.releases.iter().find(|release| release.version == plan.version);
        let release = release.expect("a plan is made from the listing");
        let purpose = match plan.direction {
            Direction::Up => Purpose::Upgrade,
            Direction::Down => Purpose::Downgrade,
        };
        let attempt = self.begin(&plan.version, purpose, trial.as_ref(), now)?;
        let outcome = self.prepare(release, attempt, observer).await;
        let asked = match outcome {
            Ok(candidate) => self.hand_over(attempt, trial, candidate, purpose, launcher, observer).await,
            Err(error) => Err(error),
        };
        self.note_failure(attempt, &plan.version, asked, now)
    }

    /// Steps 4 to 7: the release becomes a probed candidate among the versions.
    async fn prepare(
        self: &Arc<Self>,
        release: &Release,
        attempt: AttemptId,
        observer: &Observer,
    ) -> Result<Installed, UpgradeError> {
        let (installed, origin) = stage(self, release, observer).await?;
        self.ledger.event(attempt, "staged", &format!("{installed}, from {origin:?}"), Timestamp::now())?;
        observer(Step::Probing { version: installed.version.clone() });
        let (engine, candidate) = (self.clone(), installed.clone());
        let probed = blocking(move || {
            let binary = engine.install.open_version(&candidate)?;
            let id = engine.release(&candidate.version);
            probe(&binary, &id, &engine.options, engine.settings.trial.probe)
                .map_err(|source| UpgradeError::Probe { id: Box::new(id), source })
        })
        .await;
        if probed.is_err() {
            self.install.prune()?;
        }
        probed.map(|()| installed)
    }

    /// Step 8: the launcher decides. From here on, what happens is in the node's record.
    async fn hand_over(
        &self,
        attempt: AttemptId,
        trial: Option<Trial>,
        candidate: Installed,
        purpose: Purpose,
        launcher: &impl Ask,
        observer: &Observer,
    ) -> Result<Done, UpgradeError> {
        observer(Step::Handing { version: candidate.version.clone() });
        let id = trial.map_or_else(|| trial_id(attempt), |trial| trial.id);
        let version = candidate.version.clone();
        self.ledger.event(attempt, "trial-asked", &id, Timestamp::now())?;
        if purpose != Purpose::Upgrade {
            // Before the trial: the version gone back to must not look for a newer one at once.
            self.install.change_policy(|policy| policy.pin = Some(version.clone()))?;
        }
        let reply = launcher.ask(TryRequest { id, candidate: candidate.clone(), purpose }).await;
        if purpose != Purpose::Upgrade && !matches!(reply, TryReply::Accepted { .. }) {
            self.install.change_policy(|policy| policy.pin = None)?;
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
        self.install.open_version(&candidate)?;
        self.install.carry_capabilities(&candidate)?;
        let attempt = self.begin(&candidate.version, Purpose::Rollback, trial.as_ref(), now)?;
        let version = candidate.version.clone();
        let asked = self.hand_over(attempt, trial, candidate, Purpose::Rollback, launcher, observer).await;
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
