use jiff::Timestamp;
use maud::{Markup, html};

use super::super::state::Activity;
use super::super::status::Status;
use super::View;
use super::words::{bytes, relative, sentence};
use crate::install::{Progress, Trial};
use crate::ledger::Outcome;
use crate::upgrade::Step;

/// The node's state at a glance.
pub(super) fn pill(status: &Status) -> (&'static str, &'static str) {
    match (&status.activity, &status.trial) {
        (Activity::Standby, _) => ("plain", "starts"),
        (Activity::Draining, _) => ("plain", "leaves"),
        (Activity::OnTrial, _) | (_, Some(_)) => ("busy", "on trial"),
        (Activity::Upgrading(Step::Checking) | Activity::Idle, None) => ("good", "serves"),
        (Activity::Upgrading(_), None) => ("busy", "upgrades"),
    }
}

/// What an operator should know before reading on.
pub(super) fn notices(view: &View) -> Markup {
    let notices = gather(view);
    html! {
        @if !notices.is_empty() {
            ul.notices role="status" aria-label="Notices" {
                @for (mood, what, more) in notices {
                    li.(mood) { strong { (what) } @if !more.is_empty() { " " span { (sentence(&more)) } } }
                }
            }
        }
    }
}

type Notice = (&'static str, String, String);

fn gather(View { status, attempts, now, .. }: &View) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut note = |mood, what: String, more: String| notices.push((mood, what, more));
    if let Some(problem) = &status.source_problem {
        note("bad", "No releases are looked for:".to_owned(), problem.clone());
    }
    if let Some(problem) = &status.ledger_problem {
        let more = format!("It serves, and upgrades to nothing until it can be opened: {problem}");
        note("bad", "The node has no history now.".to_owned(), more);
    }
    if !status.can_upgrade {
        let more = "The node runs, and only tells of releases; `doctor` says why.".to_owned();
        note("warn", "This install cannot upgrade itself.".to_owned(), more);
    }
    if let Some(last) = attempts.first().filter(|last| last.outcome == Some(Outcome::RolledBack)) {
        let reason = last.reason.clone().unwrap_or_default();
        let more = format!("{} serves. Reason: {reason}", status.running.version);
        note("bad", format!("{} did not prove itself, and was rolled back.", last.to), more);
    }
    if let Some(policy) = &status.policy {
        if let Some(pause) = policy.pause.as_ref().filter(|pause| pause.until.is_none_or(|until| *now < until)) {
            let until = pause.until.map_or_else(String::new, |until| format!(", which ends {}", relative(until, *now)));
            note("warn", "Upgrades are frozen".to_owned(), format!("by a pause{until}; `resume` ends it."));
        }
        if let Some(pin) = &policy.pin {
            note("warn", format!("Pinned to {pin};"), "`unpin` lets the node follow releases again.".to_owned());
        }
    }
    if let Some(role) = status.metadata.as_ref().and_then(|standing| standing.expired(*now)) {
        let more = format!(
            "the release metadata ({} {}) expired {}, {:.0}. The node serves on, and goes to no release until newer metadata comes.",
            role.role,
            role.version,
            relative(role.expires, *now),
            role.expires
        );
        note("bad", "Upgrades are frozen:".to_owned(), more);
    }
    if let Some(check) = status.last_check.as_ref().filter(|check| check.failed() && status.source_problem.is_none()) {
        let more = if check.detail.is_empty() { check.result.clone() } else { check.detail.clone() };
        note("warn", "The last look for releases failed:".to_owned(), more);
    }
    if let Some(committed) = status.committed.as_ref().filter(|committed| **committed != status.running) {
        let more = "Another node of this host went ahead; this one follows by its own trial.".to_owned();
        note("plain", format!("{} is committed.", committed.version), more);
    }
    notices
}

/// What it does just now.
pub(super) fn section(view: &View) -> Markup {
    let View { status, now, .. } = view;
    html! {
        section.wide aria-labelledby="now" {
            h2 #now { "Now" }
            @match (&status.trial, &status.activity) {
                (Some(trial), _) => {
                    p {
                        strong { (trial.candidate.version) } " is on trial; asked for " (relative(trial.since, *now))
                        ". Nothing is committed before its launcher has proved itself."
                    }
                    (steps(trial))
                    p.soft { "Tries left: " (trial.tries_left) }
                }
                (None, Activity::Upgrading(step)) if *step != Step::Checking => { (upgrading(step)) }
                (None, activity) => { p { (capital(&activity.to_string())) ". " (plans(status, *now)) } }
            }
        }
    }
}

fn plans(status: &Status, now: Timestamp) -> String {
    let last = match &status.last_check {
        Some(check) if check.failed() => "The last look failed".to_owned(),
        Some(check) if check.result == "up-to-date" => "Up to date".to_owned(),
        Some(check) if check.result == "waiting" => "A release waits for its gates".to_owned(),
        Some(check) => capital(&check.result),
        None => "Has not looked for releases yet".to_owned(),
    };
    let next = status.next_check.filter(|next| *next > now && status.source.is_some());
    next.map_or_else(|| format!("{last}."), |next| format!("{last}; looks again {}.", relative(next, now)))
}

fn upgrading(step: &Step) -> Markup {
    html! {
        p { (capital(&step.to_string())) "." }
        @match step {
            Step::Downloading { done, total: Some(total), .. } => {
                progress aria-label="Download" max=(total) value=(done) {}
                p.soft { (bytes(*done)) " of " (bytes(*total)) }
            }
            Step::Downloading { done, total: None, .. }
            | Step::WaitingForDownload { done, .. }
            | Step::WaitingForNeighbour { done, .. }
            | Step::Extracting { done, .. } => {
                progress aria-label="Progress" {}
                p.soft { (bytes(*done)) " so far" }
            }
            _ => { progress aria-label="Progress" {} }
        }
    }
}

fn steps(trial: &Trial) -> Markup {
    let names = ["due", "starts", "on probation", "launcher proves itself", "commit"];
    let current = match trial.progress {
        Progress::Pending => 0,
        Progress::Starting => 1,
        Progress::Probation => 2,
        Progress::Handoff => 3,
    };
    html! {
        ol.steps aria-label="Steps of the trial" {
            @for (n, name) in names.into_iter().enumerate() {
                li.done[n < current] aria-current=[(n == current).then_some("step")] { (name) }
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The colour and the word of an attempt's end.
pub(super) fn outcome(outcome: Option<&Outcome>) -> (&'static str, &str) {
    let mood = match outcome {
        None => "busy",
        Some(Outcome::Upgraded) => "good",
        Some(Outcome::RolledBack | Outcome::Refused) => "bad",
        Some(Outcome::Failed) => "warn",
        Some(_) => "plain",
    };
    (mood, outcome.map_or("under way", Outcome::as_str))
}
