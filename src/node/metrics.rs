//! Prometheus text format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::state::{Activity, State};
use crate::ledger::Outcome;
use crate::upgrade::Engine;

/// Attempts that are counted: more than a node ever makes.
const HISTORY: u32 = 10_000;

/// A name with its type and help, then one line a label set.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("writing to a String cannot fail");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "{name}{labels} {value}").expect("writing to a String cannot fail");
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub(super) fn page(engine: &Engine, state: &State) -> String {
    let mut page = Page(String::new());
    page.family("exuvia_build_info", "gauge", "What runs; the value is always 1.");
    let version = engine.running.version.to_string();
    page.sample("exuvia_build_info", &[("version", &version), ("target", engine.target.as_str())], 1);

    let activity = state.activity();
    page.family("exuvia_upgrade_state", "gauge", "1 for what the node does now, 0 for the rest.");
    for (name, now) in [
        ("standby", matches!(activity, Activity::Standby)),
        ("idle", matches!(activity, Activity::Idle)),
        ("upgrading", matches!(activity, Activity::Upgrading(_))),
        ("on-trial", matches!(activity, Activity::OnTrial)),
        ("draining", matches!(activity, Activity::Draining)),
    ] {
        page.sample("exuvia_upgrade_state", &[("state", name)], u8::from(now));
    }
    if let Some(last) = &state.checks().last {
        page.family("exuvia_upgrade_last_check_timestamp_seconds", "gauge", "When the node last looked for releases.");
        page.sample("exuvia_upgrade_last_check_timestamp_seconds", &[], last.at.as_second());
    }

    let counted = state.counters.all();
    let mut family = |name: &str, label: &str, help: &str, always: bool| {
        page.family(name, "counter", help);
        let samples: Vec<_> = counted.iter().filter(|((counter, _), _)| *counter == name).collect();
        for ((_, value), count) in &samples {
            let labels: &[(&str, &str)] = if label.is_empty() { &[] } else { &[(label, value)] };
            page.sample(name, labels, count);
        }
        if samples.is_empty() && always {
            page.sample(name, &[], 0);
        }
    };
    family("exuvia_upgrade_checks_total", "", "Looks for releases since the worker started.", true);
    family("exuvia_upgrade_check_errors_total", "kind", "Looks that failed, by kind of error.", false);
    family("exuvia_upgrade_signature_failures_total", "where", "Archives that did not verify.", false);
    family("exuvia_upgrade_cache_requests_total", "result", "Looks into the shared cache.", false);

    // From the history, so that they survive the change of worker that every upgrade is.
    let (mut attempts, mut rollbacks) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    for attempt in engine.ledger.attempts(HISTORY).unwrap_or_default() {
        let Some(outcome) = attempt.outcome else { continue };
        *attempts.entry(outcome.to_string()).or_default() += 1;
        if outcome == Outcome::RolledBack {
            let reason = attempt.reason.unwrap_or_default();
            let word = reason.split_once(':').map_or("unknown", |(word, _)| word).to_owned();
            *rollbacks.entry(word).or_default() += 1;
        }
    }
    page.family("exuvia_upgrade_attempts_total", "counter", "Upgrade attempts in the history, by result.");
    for (result, count) in attempts {
        page.sample("exuvia_upgrade_attempts_total", &[("result", &result)], count);
    }
    page.family("exuvia_upgrade_rollbacks_total", "counter", "Failed trials in the history, by reason.");
    for (reason, count) in rollbacks {
        page.sample("exuvia_upgrade_rollbacks_total", &[("reason", &reason)], count);
    }
    page.0
}
