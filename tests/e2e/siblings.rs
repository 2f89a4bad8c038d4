//! Many nodes on one host: one download, one of them tries a release first, and none tries what
//! another found to be bad.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Host, Node, wait_for};

const NAMES: [&str; 10] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"];

fn asset(version: &str, suffix: &str) -> String {
    format!("/{version}/exuvia-{}.tar.zst{suffix}", exuvia::types::Target::of_this_build())
}

fn record(node: &Node) -> Value {
    node.record().unwrap_or_default()
}

/// When each trial of that version began and ended, on whichever node, in order.
fn trials(nodes: &[Node], version: &str) -> Vec<(Timestamp, Timestamp, String)> {
    let time = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    let mut trials = Vec::new();
    for node in nodes {
        for verdict in record(node)["verdicts"].as_array().unwrap() {
            if verdict["candidate"]["version"] == version {
                trials.push((
                    time(&verdict["since"]),
                    time(&verdict["at"]),
                    format!("{} {}", node.name(), verdict["kind"]),
                ));
            }
        }
    }
    trials.sort();
    trials
}

#[track_caller]
fn assert_one_after_another(trials: &[(Timestamp, Timestamp, String)]) {
    for pair in trials.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two at once: {pair:?}");
    }
}

#[test]
fn ten_nodes_ask_once_download_once_try_one_at_a_time_and_all_upgrade_but_never_to_a_bad_release() {
    const TTL: Duration = Duration::from_secs(2);
    let mut host = Host::new();
    for (key, value) in [
        ("poll.interval", "\"2s\""),
        ("poll.listing_ttl", "\"2s\""),
        ("trial.start", "\"20s\""),
        ("trial.watchdog", "\"10s\""),
        ("trial.sibling_probation", "\"200ms\""),
        ("trial.handoff", "\"200ms\""),
    ] {
        host.set(key, value);
    }
    let begun = Instant::now();
    let mut nodes: Vec<Node> = NAMES.iter().map(|name| host.node(name)).collect();
    nodes.iter_mut().for_each(Node::start);
    nodes.iter().for_each(Node::wait_until_it_serves);

    host.releases().publish("1.1.0");
    for node in &nodes {
        node.wait_until_it_runs("1.1.0");
    }
    assert_eq!(host.server().count(&asset("1.1.0", "")), 1, "one download for all");
    assert_eq!(host.server().count(&asset("1.1.0", ".sig")), 1);
    let first = trials(&nodes, "1.1.0");
    assert_eq!(first.len(), 10, "{first:?}");
    assert_one_after_another(&first);

    host.releases().publish_bad("1.1.5", "exits 3");
    for node in &nodes {
        wait_for(
            || format!("{} learns of the bad release\n{}", node.name(), node.log()),
            || {
                let tried = !trials(std::slice::from_ref(node), "1.1.5").is_empty();
                let waits = || {
                    let status = node.status()?;
                    let detail = status["last_check"]["detail"].as_str()?.to_owned();
                    (detail.contains("1.1.5") && detail.contains("failed")).then_some(())
                };
                if tried { Some(()) } else { waits() }
            },
        );
    }
    let bad = trials(&nodes, "1.1.5");
    assert_eq!(bad.len(), 1, "one is enough: {bad:?}");
    assert!(bad[0].2.contains("bad"));
    host.assert_committed("1.1.0");

    host.releases().publish("1.2.0");
    for node in &nodes {
        node.wait_until_it_runs("1.2.0");
    }
    assert_eq!(trials(&nodes, "1.1.5").len(), 1);
    assert_one_after_another(&trials(&nodes, "1.2.0"));
    assert_eq!(host.server().count(&asset("1.2.0", "")), 1);
    let (asked, at_most) = (host.server().count("/releases.json"), begun.elapsed().as_secs() / TTL.as_secs() + 1);
    assert!(asked as u64 <= at_most, "{asked} requests in {:?}", begun.elapsed());
    host.assert_committed("1.2.0");
    host.assert_clean(&["1.1.0", "1.2.0"], &nodes.iter().collect::<Vec<_>>());
}

/// Two nodes, and the one of them that tries first.
fn two(host: &Host) -> (Node, Node) {
    let nodes = [host.start("a"), host.start("b")];
    host.releases().publish("1.1.0");
    let tries = |node: &Node| record(node)["trial"]["progress"] == "probation";
    let first = wait_for(
        || format!("one of two tries\n{}\n{}", nodes[0].log(), nodes[1].log()),
        || nodes.iter().position(tries),
    );
    let [a, b] = nodes;
    if first == 0 { (a, b) } else { (b, a) }
}

#[test]
fn a_stopped_node_loses_its_lease_by_the_deadline_and_may_not_commit_when_it_wakes_up() {
    let mut host = Host::new();
    host.set("trial.start", "\"3s\"");
    host.set("trial.drain", "\"500ms\"");
    let (stopped, other) = two(&host);
    let launcher = Pid::from_raw(stopped.launcher_pid()).unwrap();
    kill_process(launcher, Signal::STOP).unwrap();
    // What the sleeper would commit is older by then.
    host.releases().publish("1.2.0");
    let epoch = lease_epoch(&host).unwrap();
    other.wait_until_it_runs("1.2.0");
    host.assert_committed("1.2.0");

    kill_process(launcher, Signal::CONT).unwrap();
    stopped.wait_until_it_runs("1.2.0");
    host.assert_committed("1.2.0");
    let verdicts = record(&stopped)["verdicts"].clone();
    let lost = &verdicts[0];
    assert_eq!((&lost["kind"], &lost["reason"]), (&"inconclusive".into(), &"lease-lost".into()), "{verdicts:#}");
    let install: Value = serde_json::from_slice(&fs::read(host.path("bin/.exuvia/install.json")).unwrap()).unwrap();
    assert!(install["epoch"].as_u64().unwrap() > epoch);
    host.assert_clean(&["1.0.0", "1.2.0"], &[&stopped, &other]);
}

fn lease_epoch(host: &Host) -> Option<u64> {
    let lease: Value = serde_json::from_slice(&fs::read(host.path("bin/.exuvia/lease.json")).ok()?).ok()?;
    lease["epoch"].as_u64()
}

#[test]
fn a_killed_node_gives_its_lease_back_when_it_starts_again() {
    let mut host = Host::new();
    // Its deadline is far away.
    host.set("trial.start", "\"5m\"");
    let (mut killed, other) = two(&host);
    killed.kill_launcher();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(other.status().unwrap()["running"]["version"], "1.0.0", "it waits");
    assert!(lease_epoch(&host).is_some());

    killed.start();
    killed.wait_until_it_runs("1.1.0");
    other.wait_until_it_runs("1.1.0");
    let nodes = [killed, other];
    let trials = trials(&nodes, "1.1.0");
    assert_eq!(trials.len(), 2, "{trials:?}");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&nodes[0], &nodes[1]]);
}

#[test]
fn a13_a_node_whose_version_was_exchanged_runs_the_committed_one_and_says_so() {
    let host = Host::new();
    let mut behind = host.start("behind");
    behind.stop();
    let ahead = host.start("ahead");
    host.releases().publish("1.1.0");
    ahead.wait_until_it_runs("1.1.0");

    let folder = host.versions().into_iter().find(|name| name.starts_with("1.0.0-")).unwrap();
    let version = host.path("bin/.exuvia/versions").join(folder).join("exuvia");
    fs::remove_file(&version).unwrap();
    fs::write(&version, "#!/bin/sh\ntouch \"$(dirname \"$0\")/../../../it-ran\"\n").unwrap();
    fs::set_permissions(&version, fs::Permissions::from_mode(0o755)).unwrap();
    behind.start();
    behind.wait_for("at the committed version", |status| status["running"]["version"] == "1.1.0");
    let log = behind.log();
    assert!(log.contains("version_unusable") && log.contains("runs the committed binary instead"), "{log}");
    assert!(!host.path("bin/it-ran").exists());
    host.assert_committed("1.1.0");
}

/// A node that has staged 1.1.0 and waits for its answer, a sibling, and what makes the answer come.
fn one_that_prepares(host: &mut Host) -> (Node, Node, std::process::Child, std::path::PathBuf) {
    host.set("trial.probe", "\"60s\"");
    let (prepares, cleans) = (host.start_quiet("prepares"), host.start_quiet("cleans"));
    let answer = host.path("answer");
    host.releases().publish_bad("1.1.0", &format!("describes-late {}", answer.display()));
    let asked = prepares.spawn_cli(&["upgrade"]);
    let staged = || host.versions().iter().any(|name| name.starts_with("1.1.0-")).then_some(());
    wait_for(|| format!("1.1.0 is staged\n{}", prepares.log()), staged);
    prepares.wait_for("asks it who it is", |status| status["activity"]["step"] == "probing");
    (prepares, cleans, asked, answer)
}

/// Starts the worker of a node anew, which removes what no node needs.
fn clean_up(node: &Node) {
    let old = node.worker_pids();
    node.kill_worker();
    wait_for(
        || format!("a new worker\n{}", node.log()),
        || (node.serves() && node.worker_pids() != old && !node.worker_pids().is_empty()).then_some(()),
    );
}

#[test]
fn a_siblings_clean_up_between_staging_and_trial_takes_nothing_away() {
    let mut host = Host::new();
    let (prepares, cleans, mut asked, answer) = one_that_prepares(&mut host);
    clean_up(&cleans);
    std::thread::sleep(Duration::from_millis(500));
    assert!(host.versions().iter().any(|name| name.starts_with("1.1.0-")), "{}", cleans.log());
    fs::write(answer, "").unwrap();
    assert!(asked.wait().unwrap().success(), "{}", prepares.log());
    prepares.wait_until_it_runs("1.1.0");
    cleans.cli_when_idle(&["upgrade"]).exits(0);
    host.assert_clean(&["1.0.0", "1.1.0"], &[&prepares, &cleans]);
}

#[test]
fn what_a_killed_node_had_staged_is_removed_by_its_siblings() {
    let mut host = Host::new();
    let (mut prepares, cleans, mut asked, _) = one_that_prepares(&mut host);
    let worker = prepares.worker_pids();
    prepares.kill_launcher();
    for pid in worker {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).ok();
    }
    asked.wait().unwrap();
    clean_up(&cleans);
    wait_for(
        || format!("{:?}\n{}", host.versions(), cleans.log()),
        || host.versions().iter().all(|name| !name.starts_with("1.1.0-")).then_some(()),
    );
    host.assert_committed("1.0.0");
    prepares.start();
    prepares.wait_until_it_serves();
    host.assert_clean(&["1.0.0"], &[&prepares, &cleans]);
}
