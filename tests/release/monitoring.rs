//! Alerts and dashboard ask for what nodes tell, and for nothing else.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{Run, read, root, yaml};

#[path = "../support/prometheus.rs"]
#[allow(dead_code, reason = "this test reads no page; it tests the reader")]
mod prometheus;

/// Every name of a metric of ours in `text`.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_');
    words.filter(|word| word.starts_with("exuvia_")).map(str::to_owned).collect()
}

/// What `/metrics` can show: the code without its tests.
fn printed() -> BTreeSet<String> {
    let code = read("src/node/metrics.rs");
    let printed = metrics(code.split("#[cfg(test)]").next().unwrap());
    assert!(printed.len() > 5);
    printed
}

fn rules() -> Vec<Value> {
    let alerts = yaml::parse(&read("release/monitoring/alerts.yml"));
    alerts["groups"][0]["rules"].as_array().unwrap().clone()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("release/monitoring/grafana-dashboard.json")).unwrap()
}

#[test]
fn alerts_and_dashboard_name_only_metrics_that_nodes_print() {
    let printed = printed();
    for file in ["alerts.yml", "grafana-dashboard.json"] {
        let named = metrics(&read(&format!("release/monitoring/{file}")));
        assert!(named.len() >= 5, "{file} was not read");
        let unknown: Vec<_> = named.difference(&printed).collect();
        assert!(unknown.is_empty(), "{file} asks for what no node prints: {unknown:?}");
    }
}

/// Name, type and labels of each row of the manual's table.
fn described() -> Vec<(String, String, Vec<String>)> {
    let page = read("src/manual/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `exuvia_"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        (quoted(cells[0]).remove(0), cells[1].to_owned(), quoted(cells[2]))
    })
    .collect()
}

#[test]
fn the_manual_describes_every_metric_as_it_is_printed() {
    let (described, printed) = (described(), printed());
    let names: BTreeSet<_> = described.iter().map(|(name, ..)| name.clone()).collect();
    assert_eq!(names, printed, "src/manual/metrics.md");
    assert_eq!(names.len(), described.len(), "a metric stands there twice");
    let code = read("src/node/metrics.rs");
    let code: String = code.split("#[cfg(test)]").next().unwrap().split_whitespace().collect();
    for (name, kind, labels) in described {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        for label in labels {
            let printed = [format!("(\"{label}\","), format!("\"{name}\",\"{label}\",")];
            assert!(printed.iter().any(|form| code.contains(form.as_str())), "{name} has no label {label}");
        }
    }
}

#[test]
fn they_name_only_states_that_nodes_print() {
    let code = read("src/node/metrics.rs");
    let all = read("release/monitoring/alerts.yml")
        + &read("release/monitoring/grafana-dashboard.json").replace("\\\"", "\"");
    let mut seen = 0;
    for (at, start) in all.match_indices("state=").map(|(at, word)| (at, at + word.len())) {
        let value = all[start..].trim_start_matches(['~', '"']).split('"').next().unwrap();
        for state in value.split('|') {
            assert!(code.contains(&format!("(\"{state}\", matches!")), "{state} at byte {at} is no state");
            seen += 1;
        }
    }
    assert!(seen >= 4);
}

#[test]
fn every_alert_says_what_happened_and_what_to_do() {
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert!(names.insert(name.to_owned()) && name.starts_with("Exuvia"), "{name}");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        let text = |key: &str| rule["annotations"][key].as_str().unwrap_or_default().to_owned();
        assert!(text("summary").len() > 20 && text("description").len() > 40, "{name}");
        assert!(rule["for"].is_null() || rule["for"].as_str().unwrap().ends_with(['m', 'h', 'd']), "{name}");
        balanced(rule["expr"].as_str().unwrap());
        assert!(rule["expr"].as_str().unwrap().contains("job=\"exuvia\""), "{name} would look at other jobs");
    }
    for wanted in [
        "NoCheck",
        "RolledBack",
        "SignatureFailure",
        "StuckDrainingOrStandby",
        "MixedVersions",
        "NodeDown",
        "NeverChecked",
    ] {
        assert!(names.contains(&format!("Exuvia{wanted}")), "no alert for {wanted}");
    }
}

/// Every event that an alert sends its reader to look for is one that is logged.
#[test]
fn the_events_that_alerts_name_are_in_the_manual() {
    let manual = read("src/manual/events.md");
    for rule in rules() {
        let text = rule["annotations"]["description"].as_str().unwrap().to_owned();
        for word in text.split(|c: char| !c.is_ascii_lowercase() && c != '_') {
            let event = word.contains('_') && !word.starts_with("exuvia_");
            assert!(!event || manual.contains(&format!("| `{word}` |")), "{word} is no event");
        }
    }
}

#[test]
fn the_dashboard_s_panels_lie_beside_each_other_and_ask_the_chosen_nodes() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{}", panel["title"]);
        for (x, y) in (place("x")..place("x") + place("w"))
            .flat_map(|x| (place("y")..place("y") + place("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert((x, y)), "{} covers another panel", panel["title"]);
        }
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            balanced(expr);
            assert!(expr.contains("job=~\"$job\", instance=~\"$instance\""), "{expr}");
        }
    }
    assert!(panels.len() >= 8);
}

/// Brackets and quotes are closed in order.
fn balanced(expr: &str) {
    let (mut open, mut quoted) = (Vec::new(), false);
    for c in expr.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => open.push(c),
            ')' => assert_eq!(open.pop(), Some('('), "{expr}"),
            ']' => assert_eq!(open.pop(), Some('['), "{expr}"),
            '}' => assert_eq!(open.pop(), Some('{'), "{expr}"),
            _ => {}
        }
    }
    assert!(open.is_empty() && !quoted, "{expr}");
}

#[test]
fn prometheus_own_checker_takes_the_rules_where_there_is_one() {
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("skipped: there is no promtool");
        return;
    }
    Run::of(Command::new("promtool").args(["check", "rules"]).arg(root().join("release/monitoring/alerts.yml"))).ok();
}

#[test]
fn the_reader_of_pages_refuses_what_prometheus_would() {
    let head = "# HELP a_total x\n# TYPE a_total counter\n";
    let read = prometheus::parse(&format!("{head}a_total{{b=\"\\\"c\\\\\\n\"}} 1\n")).unwrap();
    assert_eq!(read["a_total"].samples.keys().next().unwrap()["b"], "\"c\\\n");
    for wrong in [
        "a_total 1\n".to_owned(),
        format!("{head}a_total 1"),
        format!("{head}b_total 1\n"),
        format!("{head}a_total 1\na_total 1\n"),
        format!("{head}a_total 1\n{head}"),
        format!("{head}a_total -1\n"),
        format!("{head}a_total  1\n"),
        format!("{head}a_total\n"),
        format!("{head}a_total NaN\n"),
        format!("{head}a_total{{b=\"c\"}}1\n"),
        format!("{head}a_total{{b=\"c}} 1\n"),
        format!("{head}a_total{{b=\"\\x\"}} 1\n"),
        format!("{head}a_total{{b=\"1\",b=\"2\"}} 1\n"),
        format!("{head}a_total{{b=\"1\"}} 1\na_total{{c=\"1\"}} 1\n"),
        format!("{head}\n"),
        "# HELP a x\n# TYPE a counter\na 1\n".to_owned(),
        "# HELP a_total x\n# TYPE a_total gauge\n".to_owned(),
        "# TYPE a gauge\na 1\n".to_owned(),
    ] {
        assert!(prometheus::parse(&wrong).is_err(), "{wrong:?} was read");
    }
}
