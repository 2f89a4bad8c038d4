//! Candidates that are ready and sick, and those that cannot be blamed: what they say of themselves,
//! what configured checks say of them, and what is merely seen.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::http_server::{Server, raw};
use crate::support::{Host, Node, wait_for};

#[track_caller]
fn verdict(node: &Node) -> Value {
    node.record().unwrap()["verdicts"].as_array().unwrap().last().cloned().unwrap_or_default()
}

#[track_caller]
fn reach(node: &Node, progress: &str) {
    let there = || node.record().filter(|record| record["trial"]["progress"] == progress).map(drop);
    wait_for(|| format!("{progress}\n{}", node.log()), there);
}

/// The trial of 1.1.0 failed for its health, and that is the end of 1.1.0 on this node.
#[track_caller]
fn assert_sick(host: &Host, node: &Node, words: &[&str]) {
    let attempt = node.wait_for_outcome("1.1.0");
    let reason = attempt["reason"].as_str().unwrap();
    assert_eq!(attempt["outcome"], "rolled-back", "{attempt:#?}");
    assert!(reason.starts_with("unhealthy: "), "{reason}");
    assert!(words.iter().all(|word| reason.contains(word)), "{words:?}: {reason}");
    node.wait_until_it_runs("1.0.0");
    node.wait_for_polls(2);
    assert_eq!(node.history().len(), 1);
    node.cli(&["upgrade", "--version", "1.1.0"]).exits(5).says("--lift-veto");
    host.assert_committed("1.0.0");
    host.assert_clean(&["1.0.0"], &[node]);
}

/// The trial of 1.1.0 ended, and nobody is blamed: the old version serves, and there is no veto.
#[track_caller]
fn assert_unclear(host: &Host, node: &Node, words: &[&str]) {
    let attempt = node.wait_for_outcome("1.1.0");
    let reason = attempt["reason"].as_str().unwrap();
    assert_eq!(attempt["outcome"], "inconclusive", "{attempt:#?}");
    assert!(reason.starts_with("health: "), "{reason}");
    assert!(words.iter().all(|word| reason.contains(word)), "{words:?}: {reason}");
    node.wait_until_it_runs("1.0.0");
    let history = node.cli(&["history"]).exits(0);
    assert!(!history.stdout.contains("veto"), "{history:#?}");
    host.assert_committed("1.0.0");
}

#[test]
fn x3_a_candidate_that_says_it_is_sick_is_rolled_back_and_its_numbers_are_kept_beside_those_before() {
    let host = Host::new();
    let node = host.start("one");
    for _ in 0..3 {
        node.get("/healthz").unwrap();
    }
    host.releases().publish_bad("1.1.0", "says-unhealthy 300");
    assert_sick(&host, &node, &["the job says of itself: the queue is stuck"]);
    let verdict = verdict(&node);
    let (before, after) = (&verdict["before"], &verdict["after"]);
    assert_eq!((&before["ready"], &before["restarts"], &before["says"]), (&json!(true), &json!(0), &json!(null)));
    assert_eq!((&after["ready"], &after["says"]), (&json!(true), &json!("unhealthy")));
    assert!(before["memory"].as_u64() > Some(1 << 20) && after["memory"].as_u64() > Some(1 << 20), "{verdict:#}");
    let told = node.cli(&["history", "1"]).exits(0);
    assert!(
        told.stdout.contains("before ready") && told.stdout.contains("candidate ready, says unhealthy"),
        "{told:#?}"
    );
    assert!(node.log().contains("vitals_before_trial") && node.log().contains("candidate_vitals"), "{}", node.log());
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
}

#[test]
fn x3_a_candidate_that_never_becomes_ready_and_knows_why_is_not_waited_for() {
    let mut host = Host::new();
    host.set("trial.start", "\"50s\"");
    let node = host.start("one");
    let worker = node.worker_pids();
    host.releases().publish_bad("1.1.0", "sick-from-the-start");
    assert_sick(&host, &node, &["no license"]);
    assert_eq!(node.worker_pids(), worker, "the worker that serves was not disturbed");
}

#[test]
fn x3_what_nobody_can_tell_makes_probation_longer_and_then_keeps_the_old_version_without_a_veto() {
    let mut host = Host::new();
    host.set("trial.longest_probation", "\"3s\"");
    let (node, sibling) = (host.start_quiet("one"), host.start_quiet("two"));
    host.releases().publish_bad("1.1.0", "cannot-tell");
    let output = node.cli(&["upgrade"]).exits(8);
    assert!(
        output.stderr.contains("without a verdict") && output.stderr.contains("the database is away"),
        "{output:#?}"
    );
    assert!(node.log().contains("probation_extended"), "{}", node.log());
    assert_unclear(&host, &node, &["the database is away"]);
    host.assert_clean(&["1.0.0"], &[&node, &sibling]);
    // By itself no node of the host tries it again at once; an operator may.
    for node in [&node, &sibling] {
        node.cli(&["why"]).exits(0).says("nobody could tell its health when node one tried it");
    }
    node.cli(&["upgrade"]).exits(8);
    assert_eq!(node.history().len(), 2);

    host.releases().publish("1.2.0");
    node.cli(&["upgrade"]).exits(0);
    node.wait_until_it_runs("1.2.0");
}

#[test]
fn x3_a_candidate_that_recovers_while_nobody_could_tell_is_committed() {
    let mut host = Host::new();
    host.set("trial.longest_probation", "\"50s\"");
    let node = host.start("one");
    host.releases().publish_bad("1.1.0", "recovers 2500");
    node.wait_until_it_runs("1.1.0");
    assert_eq!(verdict(&node)["kind"], "good");
    assert!(node.log().contains("probation_extended"), "{}", node.log());
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

/// A host whose nodes ask a script how they do.
fn with_script(body: &str) -> Host {
    let mut host = Host::new();
    fs::write(host.path("check"), body.replace("DIR", &host.path("").display().to_string())).unwrap();
    let command = format!("[\"/bin/sh\", \"{}\"]", host.path("check").display());
    for (key, value) in [
        ("health.command", command.as_str()),
        ("health.every", "\"200ms\""),
        ("health.timeout", "\"5s\""),
        ("health.failures", "2"),
        ("trial.longest_probation", "\"3s\""),
    ] {
        host.set(key, value);
    }
    host
}

#[test]
fn x3_a_check_that_fails_with_the_candidate_and_not_before_fails_it() {
    let host = with_script("test ! -e DIR/spoilt || { echo the index is spoilt; exit 4; }\n");
    let node = host.start("one");
    host.releases().publish_bad("1.1.0", &format!("touches {}", host.path("spoilt").display()));
    assert_sick(&host, &node, &["health.command ended with exit code 4: the index is spoilt"]);
    assert_eq!(
        (&verdict(&node)["before"]["checked"], &verdict(&node)["after"]["checked"]),
        (&json!("healthy"), &json!("unhealthy"))
    );
    fs::remove_file(host.path("spoilt")).unwrap();
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    assert_eq!(verdict(&node)["after"]["checked"], "healthy");
}

#[test]
fn x3_a_check_that_failed_before_the_trial_blames_nobody_until_it_is_mended() {
    let mut host = with_script("test -e DIR/database || { echo no database; exit 1; }\n");
    let node = host.start_quiet("one");
    host.releases().publish("1.1.0");
    node.cli(&["upgrade"]).exits(8).says("without a verdict");
    assert_unclear(&host, &node, &["no database", "before the trial it was unhealthy"]);
    host.assert_clean(&["1.0.0"], &[&node]);
    fs::write(host.path("database"), "").unwrap();
    node.cli(&["upgrade"]).exits(0);
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn x3_a_release_that_mends_what_failed_before_it_is_committed() {
    let host = with_script("test -e DIR/mended || exit 1\n");
    let node = host.start("one");
    host.releases().publish_bad("1.1.0", &format!("touches {}", host.path("mended").display()));
    node.wait_until_it_runs("1.1.0");
    assert_eq!(verdict(&node)["before"]["checked"], "unhealthy");
}

#[test]
fn x3_a_check_that_hangs_or_cannot_be_started_blames_nobody_and_leaves_no_process() {
    let mut host = with_script("sleep 1000\n");
    host.set("health.timeout", "\"300ms\"");
    let mut node = host.start_quiet("one");
    host.releases().publish("1.1.0");
    node.cli(&["upgrade"]).exits(8);
    assert_unclear(&host, &node, &["health.command gave no answer within 300ms", "before the trial"]);
    host.assert_clean(&["1.0.0"], &[&node]);

    // An operator who stops meanwhile waits for no check, and it is not counted.
    let upgrade = node.spawn_cli(&["upgrade"]);
    reach(&node, "probation");
    assert!(node.stop().success());
    upgrade.wait_with_output().unwrap();
    let trial = node.record().unwrap()["trial"].clone();
    assert_eq!((&trial["progress"], &trial["tries_left"]), (&json!("pending"), &json!(3)));

    host.set("health.command", "[\"/no/such/check\"]");
    let mut node = host.node("one");
    node.start();
    let ended = || (node.history()[0]["outcome"] == "inconclusive" && node.history().len() == 2).then_some(());
    wait_for(|| node.log(), ended);
    assert_unclear(&host, &node, &["health.command cannot be started"]);
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn x3_the_version_before_cannot_answer_for_the_candidate() {
    let host = with_script("exit 0\n");
    let node = host.start("one");
    host.releases().publish_bad("1.1.0", "will-not-leave");
    node.wait_until_it_runs("1.1.0");
    let before = node.log().len();
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    let log = node.log().split_off(before);
    let at = |words: &str| log.find(words).unwrap_or_else(|| panic!("{words} is not in\n{log}"));
    assert!(at("about=\"running\"") < at("candidate_ready"), "{log}");
    assert!(at("candidate_ready") < at("it did not leave in time"), "{log}");
    assert!(at("it did not leave in time") < at("about=\"candidate\""), "{log}");
}

#[test]
fn x3_an_address_of_the_host_is_asked_by_a_process_of_its_own_and_its_status_counts() {
    let status = Arc::new(AtomicU16::new(200));
    let asked = Arc::new(AtomicU32::new(0));
    let (now, count) = (status.clone(), asked.clone());
    let server = Server::start(move |request, stream| {
        assert_eq!(request.path, "/deep?x=1");
        count.fetch_add(1, Ordering::SeqCst);
        let status = now.load(Ordering::SeqCst);
        raw(stream, format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
    });
    let mut host = Host::new();
    host.set("health.url", &format!("\"http://{}/deep?x=1\"", server.addr()));
    host.set("health.every", "\"200ms\"");
    host.set("health.failures", "2");
    host.set("trial.probation", "\"3s\"");
    let node = host.start("one");
    host.releases().publish("1.1.0");
    reach(&node, "probation");
    assert!(asked.load(Ordering::SeqCst) >= 1, "before the trial");
    status.store(500, Ordering::SeqCst);
    assert_sick(&host, &node, &["health.url", "answered 500"]);
    let quiet = asked.load(Ordering::SeqCst);
    node.wait_for_polls(2);
    assert_eq!(asked.load(Ordering::SeqCst), quiet, "nobody is asked outside of trials");

    status.store(200, Ordering::SeqCst);
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
}

#[test]
fn x3_a_candidate_that_leaks_is_named_and_not_judged_by_it() {
    let mut host = Host::new();
    host.set("trial.probation", "\"4s\"");
    let node = host.start("one");
    host.releases().publish_bad("1.1.0", "leaks");
    node.wait_until_it_runs("1.1.0");
    let log = node.log();
    assert!(log.contains("candidate_grows") && log.contains("decides nothing by itself"), "{log}");
    let (before, after) = (verdict(&node)["before"]["memory"].as_u64(), verdict(&node)["after"]["memory"].as_u64());
    assert!(after.unwrap() > before.unwrap() + (100 << 20), "{before:?} {after:?}");
    assert_eq!(verdict(&node)["kind"], "good");
}

#[test]
fn x3_a_candidate_that_floods_its_launcher_does_not_keep_it_from_its_work() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "floods");
    wait_for(
        || "the commit".to_owned(),
        || node.record().filter(|record| record["running"]["version"] == "1.1.0").map(drop),
    );
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    assert!(node.stop().success());
}

#[test]
fn x3_an_outage_of_the_source_says_nothing_about_the_candidate() {
    let mut host = Host::new();
    host.set("trial.probation", "\"3s\"");
    let node = host.start("one");
    host.releases().publish("1.1.0");
    reach(&node, "probation");
    host.stop_server();
    node.wait_until_it_runs("1.1.0");
    assert_eq!(verdict(&node)["kind"], "good");
    host.assert_committed("1.1.0");
}

#[test]
fn the_numbers_of_a_trial_under_way_are_in_the_status() {
    let mut host = Host::new();
    host.set("trial.probation", "\"5s\"");
    let node = host.start("one");
    host.releases().publish("1.1.0");
    let status = node.wait_for("on trial", |status| status["trial"]["progress"] == "probation");
    assert_eq!(status["trial"]["before"]["ready"], true, "{status:#}");
    assert!(status["vitals"]["memory"].as_u64() > Some(1 << 20), "{status:#}");
    let told = node.cli(&["status"]).exits(0);
    assert!(told.stdout.contains("vitals     ready, ") && told.stdout.contains("before it  ready, "), "{told:#?}");
    node.wait_until_it_runs("1.1.0");
}
