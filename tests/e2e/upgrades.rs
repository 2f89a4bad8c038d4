//! Upgrades that go well, by themselves and at an operator's word.

use crate::support::Host;

#[test]
fn an_idle_node_upgrades_itself_and_keeps_its_process() {
    let host = Host::new();
    let node = host.start("one");
    let launcher = node.launcher_pid();
    node.wait_until_it_runs("1.0.0");

    host.releases().publish("1.1.0");
    let status = node.wait_until_it_runs("1.1.0");
    assert_eq!(status["previous"]["version"], "1.0.0");
    assert_eq!(node.launcher_pid(), launcher);
    assert!(node.serves());
    let attempt = node.wait_for_outcome("1.1.0");
    assert_eq!((&attempt["outcome"], &attempt["from"]), (&"upgraded".into(), &"1.0.0".into()));
    host.assert_committed("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);

    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    assert_eq!(node.launcher_pid(), launcher, "a launcher that came by an upgrade upgrades itself as well");
    host.assert_committed("1.2.0");
    host.assert_clean(&["1.1.0", "1.2.0"], &[&node]);
}

#[test]
fn a_restarted_node_runs_what_it_upgraded_to() {
    let host = Host::new();
    host.releases().publish("1.1.0");
    let mut node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    assert!(node.stop().success());
    assert!(!node.serves());
    node.start();
    node.wait_until_it_runs("1.1.0");
    assert_eq!(node.history().len(), 1);
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn an_operator_upgrades_a_node_and_sees_how_it_ends() {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    node.cli(&["upgrade", "check"]).exits(0).says("up to date");
    node.cli(&["upgrade"]).exits(0).says("up to date");

    host.releases().publish("1.1.0");
    host.releases().publish("1.2.0");
    node.cli(&["upgrade", "check"]).exits(100).says("1.0.0 -> 1.2.0");
    node.cli(&["upgrade", "--dry-run"]).exits(0).says("1.0.0 -> 1.2.0");
    node.cli(&["upgrade", "--dry-run", "--version", "1.1.0"]).exits(0).says("1.0.0 -> 1.1.0");
    assert!(node.history().is_empty(), "looking is no attempt");

    node.cli(&["upgrade", "--version", "1.1.0"]).exits(0).says("runs 1.1.0 (before: 1.0.0)");
    node.wait_until_it_runs("1.1.0");
    let told = node.cli(&["upgrade", "--json"]).exits(0);
    let last: serde_json::Value = serde_json::from_str(told.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["result"], &last["to"]), (&"upgraded".into(), &"1.2.0".into()));
    node.wait_until_it_runs("1.2.0");
    node.cli(&["upgrade", "check"]).exits(0);
    host.assert_clean(&["1.1.0", "1.2.0"], &[&node]);
}

#[test]
fn an_operator_may_go_down_and_the_node_stays_there_until_it_is_unpinned() {
    let host = Host::new();
    host.releases().publish("1.0.0");
    host.releases().publish("1.1.0");
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");

    node.cli_when_idle(&["upgrade", "--version", "1.0.0"]).exits(5).says("--allow-downgrade");
    node.wait_until_it_runs("1.1.0");

    node.cli_when_idle(&["upgrade", "--version", "1.0.0", "--allow-downgrade"]).exits(0).says("runs 1.0.0");
    let status = node.wait_until_it_runs("1.0.0");
    assert_eq!(status["policy"]["pin"], "1.0.0");
    node.wait_for_polls(3);
    node.wait_until_it_runs("1.0.0");
    host.assert_committed("1.0.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);

    node.cli(&["unpin"]).exits(0).says("not pinned");
    node.wait_until_it_runs("1.1.0");
}

#[test]
fn a_rollback_goes_to_the_version_before_and_stays_there() {
    let host = Host::new();
    let node = host.start("one");
    node.cli_when_idle(&["rollback"]).exits(2).says("go back to");
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");

    node.cli_when_idle(&["rollback"]).exits(0).says("runs 1.0.0");
    node.wait_for_polls(3);
    let status = node.wait_until_it_runs("1.0.0");
    assert_eq!(status["policy"]["pin"], "1.0.0");
    let attempt = node.wait_for_outcome("1.0.0");
    assert_eq!((&attempt["kind"], &attempt["outcome"]), (&"rollback".into(), &"upgraded".into()));
    host.assert_committed("1.0.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);

    node.cli(&["unpin"]).exits(0);
    node.wait_until_it_runs("1.1.0");
}

#[test]
fn what_policy_forbids_is_refused_by_name_until_it_is_lifted() {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    host.releases().publish("1.1.0");

    node.cli(&["pin", "1.0.0"]).exits(0).says("pinned to 1.0.0");
    node.cli(&["upgrade"]).exits(5).says("unpin");
    node.cli(&["upgrade", "--version", "1.1.0"]).exits(5).says("unpin");
    node.cli(&["unpin"]).exits(0);

    node.cli(&["pause", "--for", "2h"]).exits(0).says("paused until");
    node.cli(&["upgrade"]).exits(5).says("resume");
    node.cli(&["upgrade", "--version", "1.1.0"]).exits(5).says("resume");
    node.cli(&["resume"]).exits(0).says("not paused");

    node.cli(&["upgrade", "--version", "1.1.1"]).exits(5).says("the nearest that it offers is 1.1.0");
    assert!(node.history().is_empty());
    node.wait_until_it_runs("1.0.0");
    node.cli(&["upgrade"]).exits(0);
    node.wait_until_it_runs("1.1.0");
}

#[test]
fn a_pin_and_a_pause_hold_an_idle_node() {
    let host = Host::new();
    let node = host.start("one");
    node.cli(&["pause"]).exits(0);
    host.releases().publish("1.1.0");
    node.wait_for_polls(3);
    node.wait_until_it_runs("1.0.0");
    node.cli(&["pin", "1.1.0"]).exits(0);
    host.releases().publish("1.2.0");
    node.cli(&["resume"]).exits(0);
    node.wait_until_it_runs("1.1.0");
    node.wait_for_polls(3);
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn where_no_node_runs_an_upgrade_is_prepared_and_tried_at_the_next_start() {
    let host = Host::new();
    let mut node = host.start("one");
    assert!(node.stop().success());
    host.releases().publish("1.1.0");

    node.cli(&["upgrade", "check"]).exits(100);
    node.cli(&["upgrade"]).exits(0).says("tried at the next `run`").says("Still installed: 1.0.0");
    host.assert_committed("1.0.0");
    let record = node.record().unwrap();
    assert_eq!(record["trial"]["progress"], "pending");
    node.cli(&["status"]).exits(0).says("not running").says("1.1.0");

    node.start();
    node.wait_until_it_runs("1.1.0");
    let history = node.history();
    assert_eq!(history.len(), 1, "{history:#?}");
    assert_eq!(history[0]["outcome"], "upgraded");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a_fresh_install_can_be_upgraded_before_its_first_start() {
    let host = Host::new();
    let mut node = host.node("one");
    host.releases().publish("1.1.0");
    node.cli(&["upgrade"]).exits(0).says("tried at the next `run`");
    node.start();
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a_binary_that_an_operator_installs_is_adopted() {
    let host = Host::new();
    let mut node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    node.stop();
    host.install("1.2.0");
    node.start();
    let status = node.wait_until_it_runs("1.2.0");
    assert_eq!(status["previous"]["version"], "1.0.0");
    assert!(node.history().is_empty(), "an operator's install is no attempt of the node");
    host.assert_clean(&["1.0.0", "1.2.0"], &[&node]);
}
