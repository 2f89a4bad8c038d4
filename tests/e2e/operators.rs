//! Slips of operators: each has its exit code, a sentence that helps, and no other effect.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Host;
use crate::support::host::names;

#[test]
fn a_node_that_never_ran_here_is_not_made_by_a_slip() {
    let host = Host::new();
    let node = host.start("edge-1");
    node.wait_until_it_runs("1.0.0");
    let typo = host.node("edge-2");
    for args in [&["status"][..], &["history"], &["upgrade"], &["upgrade", "check"], &["rollback"]] {
        typo.cli(args).exits(2).says("no node edge-2 has run from this install, only edge-1");
    }
    assert_eq!(names(&host.path("data")), ["edge-1"]);
    assert_eq!(names(&host.path("bin/.exuvia/nodes")), ["edge-1.json"]);
    node.cli(&["status", "--node", "no/name"]).exits(2);
}

#[test]
fn a_misspelt_setting_names_the_one_that_was_meant() {
    let host = Host::new();
    let node = host.node("one");
    node.cli(&["--set", "trial.probatoin=1s", "status"]).exits(2).says("trial.probation");
    node.cli(&["--set", "trial.probation=soon", "status"]).exits(2).says("trial.probation");
    let file = host.path("one.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}pol.interval = \"1s\"\n")).unwrap();
    node.cli(&["status"]).exits(2).says("pol.interval").says("poll.interval");
    assert!(!host.path("data/one").exists());
}

#[test]
fn a_misspelt_setting_does_not_stop_a_node() {
    let host = Host::new();
    let mut node = host.node("one");
    let file = host.path("one.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + "from.the.future = 1\n").unwrap();
    node.start();
    node.wait_until_it_runs("1.0.0");
    assert!(node.log().contains("setting_unknown"), "{}", node.log());
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
}

#[test]
fn a_node_runs_once() {
    let host = Host::new();
    let node = host.start("one");
    node.cli(&["run"]).exits(8).says("running already");
    assert!(node.serves());
    node.wait_until_it_runs("1.0.0");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let host = Host::new();
    let node = host.start("one");
    let other = host.node("two");
    let address = fs::read_to_string(host.path("one.toml")).unwrap();
    let address = address.lines().find_map(|line| line.strip_prefix("listen = ")).unwrap().trim_matches('"').to_owned();
    other.cli(&["--set", &format!("listen={address}"), "run"]).exits(1).says(&address).says("Set `listen`");
    assert!(node.serves());
}

#[test]
fn an_archive_is_verified_by_hand_as_the_node_does() {
    let host = Host::new();
    let node = host.node("one");
    host.releases().publish("1.1.0");
    let archive = host.releases().archive("1.1.0");
    let path = archive.to_str().unwrap();
    node.cli(&["verify", path, "--version", "1.1.0"]).exits(0).says("signed by");
    assert_eq!(node.cli(&["verify", path, "--version", "1.1.0", "--json"]).exits(0).json()["verified"], true);
    node.cli(&["verify", path, "--version", "1.2.0"]).exits(4).says("Do not install it");
    let target = "riscv64gc-unknown-linux-gnu";
    node.cli(&["verify", path, "--version", "1.1.0", "--target", target]).exits(4);
    let mut bytes = fs::read(&archive).unwrap();
    bytes[1000] ^= 1;
    fs::write(&archive, bytes).unwrap();
    node.cli(&["verify", path, "--version", "1.1.0"]).exits(4);
    node.cli(&["verify", "/nonexistent", "--version", "1.1.0"]).exits(9);
    node.cli(&["verify", path]).exits(2);
}

#[test]
fn a_tampered_archive_in_the_cache_is_found_and_removed() {
    let host = Host::new();
    host.releases().publish("1.1.0");
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    node.cli(&["cache", "ls"]).exits(0).says("1.1.0");
    node.cli(&["cache", "verify"]).exits(0).says("good");
    let blob = largest(&host.path("cache"));
    let mut bytes = fs::read(&blob).unwrap();
    bytes[5000] ^= 1;
    fs::write(&blob, bytes).unwrap();
    node.cli(&["cache", "verify"]).exits(4).says("removed");
    assert!(!blob.exists());
    node.cli(&["cache", "verify"]).exits(0);
    node.cli(&["cache", "ls"]).exits(0).says("holds no archive");
    node.wait_until_it_runs("1.1.0");
}

#[test]
fn scripts_can_read_what_a_node_tells() {
    let host = Host::new();
    host.releases().publish("1.1.0");
    let mut node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    let status = node.cli(&["status", "--json"]).exits(0).json();
    assert_eq!((&status["running"]["version"], &status["node"]), (&"1.1.0".into(), &"one".into()));
    let history = node.cli(&["history", "--json"]).exits(0).json();
    let attempt = history["attempts"][0].clone();
    assert_eq!((&attempt["to"], &attempt["outcome"]), (&"1.1.0".into(), &"upgraded".into()));
    let one = node.cli(&["history", "1", "--json"]).exits(0).json();
    assert_eq!(one["attempt"], attempt);
    assert!(!one["events"].as_array().unwrap().is_empty());
    node.cli(&["history", "77"]).exits(2).says("no attempt 77");
    node.cli(&["status"]).exits(0).says("version    1.1.0").says("not pinned; not paused");
    assert_eq!(node.cli(&["pin", "1.1.0", "--json"]).exits(0).json()["pin"], "1.1.0");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(node.get(path).unwrap().0, 200, "{path}");
    }
    assert!(node.get("/metrics").unwrap().1.contains("exuvia_build_info{version=\"1.1.0\""));

    node.stop();
    let status = node.cli(&["status", "--json"]).exits(0).json();
    assert_eq!(status["activity"]["activity"], "stopped");
    assert_eq!(status["record"]["running"]["version"], "1.1.0");
    assert_eq!(node.cli(&["history", "--json"]).exits(0).json()["attempts"][0], attempt);
}

#[test]
fn a_node_that_may_not_replace_its_binary_runs_and_only_tells_of_releases() {
    let host = Host::new();
    let mut node = host.node("one").under_user(65534);
    node.start();
    node.wait_until_it_serves();
    host.releases().publish("1.1.0");
    node.cli(&["upgrade", "check"]).exits(100).says("1.0.0 -> 1.1.0");
    node.cli(&["upgrade"]).exits(3).says("1.1.0 is available").says("65534");
    let status = node.cli(&["status", "--json"]).exits(0).json();
    assert_eq!(status["can_upgrade"], false);
    assert_eq!(status["running"]["version"], "1.0.0");
    assert!(node.log().contains("upgrades_unsupported"), "{}", node.log());
    assert!(node.stop().success());

    node.cli(&["upgrade"]).exits(3).says("1.1.0 is available");
    host.assert_committed("1.0.0");
    assert_eq!(names(&host.path("bin")), ["exuvia"]);
    assert_eq!(names(&host.path("data/one/install/versions")), Vec::<String>::new());
    assert_eq!(names(&host.path("data/one/install/staging")), Vec::<String>::new());
}

/// The largest file below a folder.
fn largest(folder: &Path) -> PathBuf {
    let mut open = vec![folder.to_owned()];
    let mut largest = (0, PathBuf::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                open.push(entry.path());
            } else if meta.len() > largest.0 {
                largest = (meta.len(), entry.path());
            }
        }
    }
    largest.1
}

#[test]
fn of_two_operators_who_upgrade_at_once_the_second_hears_that_the_first_is_at_it() {
    let mut host = Host::new();
    host.set("trial.probe", "\"60s\"");
    let node = host.start_quiet("one");
    let answer = host.path("answer");
    host.releases().publish_bad("1.1.0", &format!("describes-late {}", answer.display()));
    let mut first = node.spawn_cli(&["upgrade"]);
    node.wait_for("at work", |status| status["activity"]["step"] == "probing");
    node.cli(&["upgrade"]).exits(8).says("works on an upgrade already");
    node.cli(&["rollback"]).exits(8).says("works on an upgrade already");
    fs::write(answer, "").unwrap();
    assert!(first.wait().unwrap().success(), "{}", node.log());
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}
