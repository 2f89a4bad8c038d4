//! Prometheus text format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::state::{Activity, State};
use crate::launcher::Reloads;
use crate::ledger::Outcome;
use crate::sys::{own_descriptors, resident_memory};
use crate::types::Health;
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
    page.family("exuvia_upgrade_source_usable", "gauge", "1 if a source of releases is configured and can be used.");
    page.sample("exuvia_upgrade_source_usable", &[], u8::from(matches!(engine.source, Ok(Some(_)))));
    page.family("exuvia_ledger_usable", "gauge", "1 if the node's history is open; without it there are no upgrades.");
    page.sample("exuvia_ledger_usable", &[], u8::from(engine.ledger.stands_in_for().is_none()));
    if let Some(standing) = engine.source.as_ref().ok().and_then(|source| source.as_ref()?.standing()) {
        let help = "From when on the release metadata does not count any more that this node trusts, by role.";
        page.family("exuvia_upgrade_metadata_expires_timestamp_seconds", "gauge", help);
        for role in standing.roles {
            let at = role.expires.as_second();
            page.sample("exuvia_upgrade_metadata_expires_timestamp_seconds", &[("role", &role.role)], at);
        }
    }
    if let Some(last) = &state.checks().last {
        page.family("exuvia_upgrade_last_check_timestamp_seconds", "gauge", "When the node last looked for releases.");
        page.sample("exuvia_upgrade_last_check_timestamp_seconds", &[], last.at.as_second());
    }

    if engine.install.why_detached().is_none() {
        let rescue = engine.install.rescue_state();
        page.family("exuvia_rescue_state", "gauge", "1 for what the rescue binary does now, 0 for the rest.");
        for (name, now) in [
            ("none", rescue.binary.is_none()),
            ("ready", rescue.binary.is_some() && rescue.guards_against.is_none()),
            ("guards", rescue.guards_against.is_some()),
        ] {
            page.sample("exuvia_rescue_state", &[("state", name)], u8::from(now));
        }
        if let Some(last) = rescue.last {
            let help = "When the rescue last put a version back.";
            page.family("exuvia_rescue_last_timestamp_seconds", "gauge", help);
            page.sample("exuvia_rescue_last_timestamp_seconds", &[], last.at.as_second());
        }
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
    family("exuvia_upgrade_patches_total", "result", "Releases for which patches were offered that begin here.", false);
    family("exuvia_upgrade_neighbour_files_total", "result", "Files that neighbours sent.", false);
    family("exuvia_mirror_requests_total", "result", "Questions and requests of other hosts.", false);
    family("exuvia_mirror_sent_bytes_total", "", "Bytes of files that were sent to other hosts.", false);
    family(
        "exuvia_siblings_doubted_total",
        "reason",
        "Things said of siblings of this host that were not believed.",
        false,
    );

    page.family(
        "exuvia_reloads_total",
        "counter",
        "Reloads of the configuration since the launcher started, by result.",
    );
    let Reloads { applied, refused, failed } = state.reloads();
    for (result, count) in [("applied", applied), ("refused", refused), ("failed", failed)] {
        page.sample("exuvia_reloads_total", &[("result", result)], count);
    }

    let (served, failed) = state.report.requests();
    page.family("exuvia_job_requests_total", "counter", "Requests of the node's job, by result.");
    for (result, count) in [("served", served), ("failed", failed)] {
        page.sample("exuvia_job_requests_total", &[("result", result)], count);
    }
    if let Some(said) = state.report.said() {
        page.family("exuvia_job_health", "gauge", "1 for what the job says of itself, 0 for the rest.");
        for health in [Health::Healthy, Health::Inconclusive, Health::Unhealthy] {
            page.sample("exuvia_job_health", &[("health", health.as_str())], u8::from(health == said));
        }
    }
    // Under the names that every exporter uses.
    if let Some(memory) = resident_memory(std::process::id().cast_signed()) {
        page.family("process_resident_memory_bytes", "gauge", "Resident memory of the worker.");
        page.sample("process_resident_memory_bytes", &[], memory);
    }
    if let Some(descriptors) = own_descriptors() {
        page.family("process_open_fds", "gauge", "Descriptors that the worker has open.");
        page.sample("process_open_fds", &[], descriptors);
    }

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

#[cfg(test)]
#[path = "../../tests/support/prometheus.rs"]
mod prometheus;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up files")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::config::{Input, Strictness, load};
    use crate::install::Installed;
    use crate::ledger::{AttemptKind, Ending, NewAttempt};
    use crate::node::{App, LastCheck, engine, idle};
    use crate::types::Sha256Digest;
    use crate::upgrade::Step;

    const KEYS: &[&str] =
        &[include_str!("../../tests/keys/release/a.pem"), include_str!("../../tests/keys/release/b.pem")];
    const APP: App = App::new("exuvia", "1.0.0", KEYS, idle);

    fn a_node(dir: &tempfile::TempDir) -> Engine {
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("bin")).unwrap();
        std::fs::write(path("bin/exuvia"), "a program").unwrap();
        let flag = |name: &str, at: &str| (name.to_owned(), path(at).display().to_string());
        let input = Input {
            product: "exuvia".parse().unwrap(),
            root: false,
            files: Vec::new(),
            env: BTreeMap::new(),
            flags: vec![flag("data_dir", "data"), flag("cache_dir", "cache")],
        };
        let settings = load(&input, Strictness::Strict).unwrap().settings;
        let digest: Sha256Digest = "00".repeat(32).parse().unwrap();
        let running = Installed { version: "1.0.0".parse().unwrap(), digest };
        engine(&APP, settings, Vec::new(), &path("bin/exuvia"), Some(running)).unwrap()
    }

    fn value(families: &BTreeMap<String, prometheus::Family>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        families.get(name)?.samples.get(&labels).copied()
    }

    /// Prometheus' own checker, where there is one.
    fn judged_by_prometheus(page: &str) {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let mut checker = Command::new("promtool");
        let child = checker.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = child else { return };
        child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}\n{page}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn the_page_of_a_fresh_node_is_well_formed() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, state) = (a_node(&dir), State::new("1.0.0".parse().unwrap(), Reloads::default(), Arc::default()));
        let page = prometheus::parse(&page(&engine, &state)).unwrap();
        let info = [("version", "1.0.0"), ("target", engine.target.as_str())];
        assert_eq!(value(&page, "exuvia_build_info", &info), Some(1.0));
        assert_eq!(value(&page, "exuvia_upgrade_checks_total", &[]), Some(0.0));
        assert_eq!(value(&page, "exuvia_upgrade_state", &[("state", "standby")]), Some(1.0));
        assert!(!page.contains_key("exuvia_upgrade_last_check_timestamp_seconds"), "it has not looked yet");
        assert!(!page.contains_key("exuvia_job_health"), "its job has not said anything");
        assert!(value(&page, "process_resident_memory_bytes", &[]) > Some(1e6));
        assert!(value(&page, "process_open_fds", &[]) > Some(3.0));
    }

    #[test]
    fn the_page_of_a_node_with_a_past_is_well_formed_and_true() {
        let dir = tempfile::tempdir().unwrap();
        let reloads = Reloads { applied: 2, refused: 1, failed: 0 };
        let (engine, state) = (a_node(&dir), State::new("1.0.0".parse().unwrap(), reloads, Arc::default()));
        state.counters.add("exuvia_upgrade_checks_total", "");
        state.report.say(Health::Inconclusive, "the disk is away");
        for failed in [false, true, false] {
            state.report.count(failed);
        }
        state.counters.add("exuvia_upgrade_check_errors_total", "signature");
        state.counters.add("exuvia_upgrade_signature_failures_total", "archive");
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let (result, detail) = ("up-to-date".to_owned(), String::new());
        state.checks().last = Some(LastCheck { at, result, detail });
        state.set(Activity::Upgrading(Step::Checking));
        let (from, to) = ("1.0.0".parse().unwrap(), "1.1.0".parse().unwrap());
        // What a candidate says of itself may hold anything.
        let reasons = ["exited: \"\n\\", "not-ready: late", "exited: again", "no word"];
        for (outcome, reason) in reasons
            .map(|reason| (Outcome::RolledBack, reason))
            .into_iter()
            .chain([(Outcome::Upgraded, ""), (Outcome::Other("a\"b\\c\nd".to_owned()), "")])
        {
            let attempt = NewAttempt { kind: AttemptKind::Upgrade, from: &from, to: &to, digest: None };
            let id = engine.ledger.begin_attempt(&attempt, at).unwrap();
            let ending = Ending { outcome, reason: Some(reason), digest: None, output: None };
            assert!(engine.ledger.finish(id, &ending, at).unwrap());
        }

        let text = page(&engine, &state);
        judged_by_prometheus(&text);
        let page = prometheus::parse(&text).unwrap();
        let read = |name: &str, labels: &[(&str, &str)]| value(&page, name, labels);
        assert_eq!(read("exuvia_upgrade_last_check_timestamp_seconds", &[]), Some(1_800_000_000.0));
        assert_eq!(read("exuvia_upgrade_checks_total", &[]), Some(1.0));
        assert_eq!(read("exuvia_job_health", &[("health", "inconclusive")]), Some(1.0));
        assert_eq!(read("exuvia_job_health", &[("health", "healthy")]), Some(0.0));
        let requests = ["served", "failed"].map(|result| read("exuvia_job_requests_total", &[("result", result)]));
        assert_eq!(requests, [Some(2.0), Some(1.0)]);
        assert_eq!(read("exuvia_upgrade_check_errors_total", &[("kind", "signature")]), Some(1.0));
        assert_eq!(read("exuvia_upgrade_signature_failures_total", &[("where", "archive")]), Some(1.0));
        assert_eq!(read("exuvia_reloads_total", &[("result", "applied")]), Some(2.0));
        let now = page["exuvia_upgrade_state"].samples.values().filter(|value| **value > 0.5).count();
        assert_eq!(now, 1, "one state at a time");
        assert_eq!(read("exuvia_upgrade_state", &[("state", "upgrading")]), Some(1.0));
        assert_eq!(read("exuvia_upgrade_attempts_total", &[("result", "rolled-back")]), Some(4.0));
        assert_eq!(read("exuvia_upgrade_attempts_total", &[("result", "a\"b\\c\nd")]), Some(1.0));
        for (reason, count) in [("exited", 2.0), ("not-ready", 1.0), ("unknown", 1.0)] {
            assert_eq!(read("exuvia_upgrade_rollbacks_total", &[("reason", reason)]), Some(count));
        }
    }
}
