//! What the answers about a candidate mean, beside those about the version before. Pure: what it is
//! told comes in as arguments.

use super::checkup::{Answer, Check};
use super::protocol::Reported;
use crate::types::Health;

/// What is known of a candidate's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing speaks against it.
    Sound,
    /// Further answers are needed.
    Open(String),
    /// Nobody can tell whether it is its own fault.
    Unclear(String),
    /// It is sick, by its own fault.
    Sick(String),
}

/// The checks of one trial.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Unhealthy answers in a row after which a candidate is sick.
    failures: u8,
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    check: Check,
    /// What it said of the version before.
    before: Health,
    in_a_row: u8,
    last: Option<Answer>,
}

impl Judge {
    /// A judge who has heard these answers about the version before.
    pub(super) fn new(failures: u8, before: &[Answer]) -> Self {
        let watched =
            before.iter().map(|answer| Watched { check: answer.check, before: answer.health, in_a_row: 0, last: None });
        Self { failures, watched: watched.collect() }
    }

    /// Hears an answer about the candidate.
    pub(super) fn hear(&mut self, answer: Answer) {
        let Some(watched) = self.watched.iter_mut().find(|watched| watched.check == answer.check) else { return };
        watched.in_a_row = match answer.health {
            Health::Unhealthy => watched.in_a_row.saturating_add(1),
            Health::Healthy | Health::Inconclusive => 0,
        };
        watched.last = Some(answer);
    }

    /// The worst last answer about the candidate.
    pub(super) fn worst(&self) -> Option<Health> {
        self.watched.iter().filter_map(|watched| watched.last.as_ref()).map(|answer| answer.health).max()
    }

    /// What all answers together mean.
    pub(super) fn judgement(&self) -> Judgement {
        self.watched.iter().map(|watched| self.of(watched)).fold(Judgement::Sound, Judgement::or)
    }

    fn of(&self, watched: &Watched) -> Judgement {
        let Some(Answer { health, detail, .. }) = &watched.last else {
            return Judgement::Open(format!("{} has not answered yet", watched.check));
        };
        match (health, watched.before) {
            (Health::Healthy, _) => Judgement::Sound,
            (Health::Inconclusive, _) => Judgement::Unclear(detail.clone()),
            (Health::Unhealthy, Health::Healthy) if watched.in_a_row >= self.failures => {
                Judgement::Sick(detail.clone())
            }
            (Health::Unhealthy, Health::Healthy) => Judgement::Open(detail.clone()),
            (Health::Unhealthy, before) => Judgement::Unclear(format!("{detail}; before the trial it was {before}")),
        }
    }
}

/// What a candidate's job says of itself, beside what the job of the version before said.
pub(super) fn of_job(before: Option<Health>, said: &Reported) -> Judgement {
    let because = format!("the job says of itself: {}", said.because);
    match (said.health, before) {
        (None | Some(Health::Healthy), _) => Judgement::Sound,
        (Some(Health::Inconclusive), _) => Judgement::Unclear(because),
        (Some(Health::Unhealthy), None | Some(Health::Healthy)) => Judgement::Sick(because),
        (Some(Health::Unhealthy), Some(before)) => {
            Judgement::Unclear(format!("{because}; before the trial it was {before}"))
        }
    }
}

impl Judgement {
    /// The worse of two; of equal ones the first.
    pub(super) fn or(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Sound => 0,
            Self::Open(_) => 1,
            Self::Unclear(_) => 2,
            Self::Sick(_) => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(check: Check, health: Health) -> Answer {
        Answer { check, health, detail: format!("{check} is {health}") }
    }

    fn judge(before: Health) -> Judge {
        Judge::new(2, &[answer(Check::Url, before)])
    }

    #[test]
    fn a_candidate_is_sick_after_as_many_unhealthy_answers_in_a_row_as_are_allowed() {
        let mut judge = judge(Health::Healthy);
        assert!(matches!(judge.judgement(), Judgement::Open(_)), "nobody has asked yet");
        for (said, wanted) in [
            (Health::Unhealthy, Judgement::Open("health.url is unhealthy".to_owned())),
            (Health::Healthy, Judgement::Sound),
            (Health::Unhealthy, Judgement::Open("health.url is unhealthy".to_owned())),
            (Health::Inconclusive, Judgement::Unclear("health.url is inconclusive".to_owned())),
            (Health::Unhealthy, Judgement::Open("health.url is unhealthy".to_owned())),
            (Health::Unhealthy, Judgement::Sick("health.url is unhealthy".to_owned())),
        ] {
            judge.hear(answer(Check::Url, said));
            assert_eq!(judge.judgement(), wanted);
            assert_eq!(judge.worst(), Some(said));
        }
    }

    #[test]
    fn what_was_failing_before_the_trial_is_not_the_candidates_fault_and_may_be_its_merit() {
        for before in [Health::Unhealthy, Health::Inconclusive] {
            let mut judge = judge(before);
            for _ in 0..5 {
                judge.hear(answer(Check::Url, Health::Unhealthy));
                assert!(matches!(judge.judgement(), Judgement::Unclear(why) if why.contains(before.as_str())));
            }
            judge.hear(answer(Check::Url, Health::Healthy));
            assert_eq!(judge.judgement(), Judgement::Sound);
        }
    }

    #[test]
    fn of_several_checks_the_worst_counts_and_each_is_compared_with_itself() {
        let before = [answer(Check::Command, Health::Unhealthy), answer(Check::Url, Health::Healthy)];
        let mut judge = Judge::new(1, &before);
        judge.hear(answer(Check::Url, Health::Healthy));
        assert!(matches!(judge.judgement(), Judgement::Open(_)));
        judge.hear(answer(Check::Command, Health::Unhealthy));
        assert!(matches!(judge.judgement(), Judgement::Unclear(_)));
        judge.hear(answer(Check::Url, Health::Unhealthy));
        assert!(matches!(judge.judgement(), Judgement::Sick(_)));
    }

    #[test]
    fn without_checks_nothing_speaks_against_a_candidate() {
        assert_eq!(Judge::default().judgement(), Judgement::Sound);
    }

    #[test]
    fn a_job_is_believed_unless_the_one_before_was_no_better() {
        let said = |health| Reported { health, because: "no disk".to_owned(), ..Reported::default() };
        for before in [None, Some(Health::Healthy), Some(Health::Inconclusive), Some(Health::Unhealthy)] {
            assert_eq!(of_job(before, &said(None)), Judgement::Sound);
            assert_eq!(of_job(before, &said(Some(Health::Healthy))), Judgement::Sound);
            assert!(matches!(of_job(before, &said(Some(Health::Inconclusive))), Judgement::Unclear(_)));
            let sick = matches!(of_job(before, &said(Some(Health::Unhealthy))), Judgement::Sick(_));
            assert_eq!(sick, before.is_none_or(|before| before == Health::Healthy), "{before:?}");
        }
    }
}
