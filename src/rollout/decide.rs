use std::cmp::Ordering;

use jiff::Timestamp;

use super::decision::{Decision, Direction, Gate, Plan, Refusal};
use super::delay::delay;
use super::question::{Pause, Question, Request, Retry, Veto};
use super::waves::Turn;
use crate::types::Version;

/// Decides. See the room's guarantees.
///
/// Unattended, a node that waits for its own moment in its window waits for the newest acceptable release
/// alone: one that was superseded meanwhile may have been superseded for a reason. Releases that follow each
/// other faster than the window do not starve a node by that, because it draws a new delay for each. Where
/// the publisher's signed plan keeps the newest one from this install, the one before it is the newest that
/// is meant for it.
#[must_use]
pub fn decide(question: &Question<'_>) -> Decision {
    match question.request {
        Some(request) => question.requested(request),
        None => question.unattended(),
    }
}

impl Question<'_> {
    fn unattended(&self) -> Decision {
        let (version, veto) = match self.candidate() {
            Ok(Some(candidate)) => candidate,
            Ok(None) => return Decision::UpToDate,
            Err(refusal) => return Decision::Refused(refusal),
        };
        if let Some(refusal) = self.barred(version) {
            return Decision::Refused(refusal);
        }
        let wait = |until, because| Decision::Waiting { version: version.clone(), until, because };
        match veto {
            Some(Veto { until: Some(until), .. }) => return wait(*until, Gate::Veto),
            Some(veto) => return Decision::Refused(vetoed(veto)),
            None => {}
        }
        match self.pause() {
            Some(Pause { until: Some(until) }) => return wait(*until, Gate::Pause),
            Some(Pause { until: None }) => return Decision::Refused(Refusal::Paused { until: None }),
            None => {}
        }
        match self.turn(version) {
            Some(Turn::Halted) => return Decision::Refused(Refusal::Halted { version: version.clone(), begins: None }),
            Some(Turn::NotYetIncluded) => return Decision::Refused(Refusal::NotInWave { version: version.clone() }),
            Some(Turn::From(at)) if self.now < at => return wait(at, Gate::Wave),
            Some(Turn::From(_)) | None => {}
        }
        if let Some(due) = self.due(version) {
            return wait(due, Gate::Delay);
        }
        if let Some(opening) = self.maintenance.next_opening(self.now) {
            return wait(opening, Gate::Window);
        }
        match self.retry(version) {
            Some(retry) if self.now < retry.until => wait(retry.until, Gate::Archive),
            _ => self.plan(version),
        }
    }

    fn requested(&self, request: &Request) -> Decision {
        let (version, veto) = match &request.version {
            Some(version) if version == self.running => return Decision::UpToDate,
            Some(version) => match self.named(version) {
                Ok(named) => named,
                Err(refusal) => return Decision::Refused(refusal),
            },
            None => match self.candidate() {
                Ok(Some(candidate)) => candidate,
                Ok(None) => return Decision::UpToDate,
                Err(refusal) => return Decision::Refused(refusal),
            },
        };
        if let Some(refusal) = self.barred(version).or_else(|| self.halted(version, request)) {
            return Decision::Refused(refusal);
        }
        if let Some(veto) = veto {
            return Decision::Refused(vetoed(veto));
        }
        if let Some(pause) = self.pause() {
            return Decision::Refused(Refusal::Paused { until: pause.until });
        }
        if version < self.running && !request.allow_downgrade {
            return Decision::Refused(Refusal::Downgrade { from: self.running.clone(), to: version.clone() });
        }
        self.plan(version)
    }

    /// A halt holds for those who did not name the version, and for a trial that goes on; a rollout that has
    /// not begun holds for the former.
    fn halted(&self, version: &Version, request: &Request) -> Option<Refusal> {
        let begins = match self.terms(version)?.rollout.as_ref()? {
            policy if policy.is_halted() && (request.version.is_none() || request.resumes) => None,
            policy if policy.start() > self.now && request.version.is_none() => Some(policy.start()),
            _ => return None,
        };
        Some(Refusal::Halted { version: version.clone(), begins })
    }

    /// The version that an operator named, past the pin, with the veto that is on it.
    fn named<'a>(&'a self, version: &'a Version) -> Result<(&'a Version, Option<&'a Veto>), Refusal> {
        if !self.offers(version) {
            return Err(self.not_offered(version));
        }
        match self.pin {
            Some(pin) if pin != version => Err(Refusal::Pinned { version: version.clone(), to: pin.clone() }),
            _ => Ok((version, self.veto(version))),
        }
    }

    pub(super) fn offers(&self, version: &Version) -> bool {
        self.available.iter().any(|release| release.version == *version)
    }

    pub(super) fn not_offered(&self, version: &Version) -> Refusal {
        let text = version.to_string();
        let likeness = |other: &Version| strsim::normalized_damerau_levenshtein(&text, &other.to_string());
        let nearest = self
            .available
            .iter()
            .map(|release| &release.version)
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)).then_with(|| a.cmp(b)));
        Refusal::NotOffered { version: version.clone(), nearest: nearest.cloned() }
    }

    /// The veto on `version` that ends last, of those that have not ended.
    pub(super) fn veto(&self, version: &Version) -> Option<&Veto> {
        let active = |veto: &&Veto| veto.version == *version && veto.until.is_none_or(|until| self.now < until);
        self.vetoes.iter().filter(active).max_by_key(|veto| veto.until.unwrap_or(Timestamp::MAX))
    }

    pub(super) fn retry(&self, version: &Version) -> Option<&Retry> {
        self.retries.iter().find(|retry| retry.version == *version)
    }

    pub(super) fn pause(&self) -> Option<&Pause> {
        self.pause.filter(|pause| pause.until.is_none_or(|until| self.now < until))
    }

    /// When this install's moment for `version` comes; `None`: it has come, or the publisher's plan says when.
    pub(super) fn due(&self, version: &Version) -> Option<Timestamp> {
        if self.turn(version).is_some() {
            return None;
        }
        let first_seen = self.first_seen.get(version).copied().unwrap_or(self.now);
        // First seen in the future: the clock was ahead then. Nothing tells how long ago that was, and
        // a delay is a courtesy to others, not a protection: it counts as over.
        if first_seen > self.now {
            return None;
        }
        let due = first_seen.saturating_add(delay(self.position, version, self.window)).unwrap_or(Timestamp::MAX);
        (self.now < due).then_some(due)
    }

    fn plan(&self, version: &Version) -> Decision {
        let direction = match version.cmp(self.running) {
            Ordering::Less => Direction::Down,
            _ => Direction::Up,
        };
        Decision::Plan(Plan { version: version.clone(), direction })
    }
}

fn vetoed(veto: &Veto) -> Refusal {
    Refusal::Vetoed { version: veto.version.clone(), until: veto.until, reason: veto.reason.clone() }
}

#[cfg(test)]
mod tests;
