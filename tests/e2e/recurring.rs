//! One bad release after another, the same one again, and listings that swing back and forth: a node
//! tries each version once, and goes only where it is newer.

use crate::support::{Host, Node, SignedAs, builds, wait_for};

fn attempts(node: &Node, version: &str) -> Vec<String> {
    let history = node.history().into_iter().filter(|attempt| attempt["to"] == version);
    history.map(|attempt| attempt["outcome"].as_str().unwrap_or("under way").to_owned()).collect()
}

#[test]
fn x5_one_bad_release_after_another_costs_a_trial_each_and_the_good_one_behind_them_is_taken() {
    let host = Host::new();
    let node = host.start("one");
    let launcher = node.launcher_pid();
    let bad = [("1.0.1", "exits 3"), ("1.0.2", "dies 200"), ("1.0.3", "claims 9.9.9"), ("1.0.4", "panics 200")];
    for (version, fault) in bad {
        host.releases().publish_bad(version, fault);
        let outcome = node.wait_for_outcome(version)["outcome"].clone();
        assert!(outcome == "rolled-back" || outcome == "refused", "{version}: {outcome}");
        node.wait_until_it_runs("1.0.0");
    }
    node.wait_for_polls(3);
    assert_eq!(node.history().len(), bad.len(), "each once: {:#?}", node.history());
    let listed = node.cli(&["history"]).exits(0);
    for (version, _) in bad {
        assert!(listed.stdout.contains(&format!("veto  {version} is not tried again")), "{listed:#?}");
    }
    host.assert_committed("1.0.0");
    host.assert_clean(&["1.0.0"], &[&node]);

    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    assert_eq!(node.launcher_pid(), launcher);
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn x5_a_bad_release_stays_out_when_it_comes_again_with_other_bytes_after_restarts_and_beside_older_ones() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "exits 3");
    assert_eq!(node.wait_for_outcome("1.1.0")["outcome"], "rolled-back");
    // Its number is burnt, whatever is published under it.
    host.releases().publish_binary(&SignedAs::release("1.1.0"), &builds::exuvia("1.1.0"));
    node.wait_for_polls(2);
    assert!(node.stop().success());
    node.start();
    node.wait_until_it_serves();
    node.wait_for_polls(2);
    host.releases().withdraw("1.1.0");
    node.wait_for_polls(2);
    host.releases().publish_bad("1.1.0", "exits 4");
    node.wait_for_polls(2);
    // What is older than the bad one, and newer than what runs, is another matter.
    host.releases().publish_bad("1.0.5", "none");
    node.wait_until_it_runs("1.0.5");
    node.wait_for_polls(2);
    assert_eq!(attempts(&node, "1.1.0"), ["rolled-back"]);
    node.cli(&["upgrade", "--version", "1.1.0"]).exits(5).says("--lift-veto");
    host.assert_clean(&["1.0.0", "1.0.5"], &[&node]);
}

#[test]
fn x5_a_listing_that_swings_back_and_forth_moves_a_node_once() {
    let host = Host::new();
    let node = host.start("one");
    host.releases().publish("1.0.0");
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    for _ in 0..3 {
        host.releases().withdraw("1.1.0");
        node.wait_for_polls(2);
        host.releases().publish("1.1.0");
        node.wait_for_polls(2);
    }
    node.wait_until_it_runs("1.1.0");
    assert_eq!(node.history().len(), 1, "{:#?}", node.history());
    node.cli_when_idle(&["upgrade", "--version", "1.0.0"]).exits(5).says("--allow-downgrade");
    host.assert_committed("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn x5_who_went_back_stays_there_until_told_otherwise_and_does_not_swing() {
    let mut host = Host::new();
    let node = host.start("one");
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.0.0");
    node.wait_for_polls(3);
    let moves = || node.history().len();
    assert_eq!(moves(), 2, "there and back: {:#?}", node.history());
    host.releases().publish("1.2.0");
    node.wait_for_polls(2);
    assert_eq!(moves(), 2, "pinned: {:#?}", node.history());
    // And forth again by hand, to the one that it came from: the previous version is a place to go to.
    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.1.0");
    node.wait_for_polls(2);
    assert_eq!(moves(), 3);
    node.cli(&["unpin"]).exits(0);
    node.wait_until_it_runs("1.2.0");
    host.stop_server();
    host.assert_committed("1.2.0");
    host.assert_clean(&["1.1.0", "1.2.0"], &[&node]);
}

#[test]
fn x5_two_nodes_of_a_host_try_each_bad_release_once_between_them() {
    let host = Host::new();
    let nodes = [host.start("a"), host.start("b")];
    for version in ["1.0.1", "1.0.2", "1.0.3"] {
        host.releases().publish_bad(version, "dies 200");
        let tried = |node: &Node| {
            let verdicts = node.record().unwrap()["verdicts"].as_array().unwrap().clone();
            verdicts.iter().any(|verdict| verdict["candidate"]["version"] == version && verdict["kind"] == "bad")
        };
        let first = wait_for(|| format!("{version} is tried"), || nodes.iter().position(tried));
        let other = &nodes[1 - first];
        other.wait_for("waiting for the verdict to age", |status| {
            let detail = status["last_check"]["detail"].as_str().unwrap_or_default();
            detail.contains(version) && detail.contains("failed there")
        });
        other.wait_for_polls(1);
        assert!(!tried(other), "{}", other.log());
        nodes[first].wait_until_it_runs("1.0.0");
    }
    host.assert_committed("1.0.0");
    host.releases().publish("1.1.0");
    for node in &nodes {
        node.wait_until_it_runs("1.1.0");
    }
    host.assert_clean(&["1.0.0", "1.1.0"], &[&nodes[0], &nodes[1]]);
}
