//! Launchers that are broken, each at another moment: the version before is what runs in the end, without an
//! operator, and whatever the new one can or cannot do.

use std::fs;
use std::time::Duration;

use exuvia::install::START_TRIES;
use serde_json::Value;

use crate::program::copy_program;
use crate::support::host::{digest, names};
use crate::support::{Host, Node, builds, wait_for};

/// A node that was upgraded to a bad 1.1.0 and stopped since: its next start is a cold one.
fn upgraded_to(host: &Host, fault: &str) -> Node {
    let mut node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    host.releases().publish_bad("1.1.0", fault);
    node.wait_until_it_runs("1.1.0");
    let status = node.status().unwrap();
    assert_eq!(status["rescue"]["binary"]["version"], "1.0.0");
    assert_eq!(status["rescue"]["guards_against"]["version"], "1.1.0");
    node.cli(&["status"]).exits(0).says("until 1.1.0").says("has come up from a cold start");
    node.wait_for("told its verdict", |status| status["activity"]["activity"] == "idle");
    assert!(node.stop().success());
    node
}

/// Starts it as the units do: the check first.
#[track_caller]
fn checked_start(node: &mut Node) -> String {
    let said = node.rescue(&[], &[]).expect("a rescue").exits(0).stdout;
    node.start();
    said
}

#[track_caller]
fn assert_put_back(host: &Host, node: &mut Node) {
    let said = checked_start(node);
    assert!(said.contains("is committed again") && said.contains("1.1.0"), "{said}");
    host.assert_committed("1.0.0");
    node.wait_until_it_runs("1.0.0");
    let attempt = wait_for(
        || format!("the deed is in the history\n{}", node.log()),
        || node.history().into_iter().find(|attempt| attempt["outcome"] == "rolled-back"),
    );
    assert!(attempt["reason"].as_str().unwrap().starts_with("cold-start: "), "{attempt}");
    let status = node.status().unwrap();
    assert_eq!(status["rescue"]["last"]["failed"]["version"], "1.1.0", "{status:#}");
    assert_eq!(status["rescue"]["guards_against"], Value::Null);
    node.cli(&["status"]).exits(0).says("rescued");
    let page = node.get("/metrics").unwrap().1;
    assert!(page.contains("exuvia_upgrade_rollbacks_total{reason=\"cold-start\"} 1"), "{page}");
    assert!(page.contains("exuvia_rescue_last_timestamp_seconds"), "{page}");
    node.cli(&["upgrade", "--version", "1.1.0"]).exits(5).says("cold-start");
    node.wait_for_polls(2);
    host.assert_committed("1.0.0");

    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    host.assert_clean(&["1.0.0", "1.2.0"], &[node]);
}

#[test]
fn x6_a_launcher_that_fails_only_at_a_cold_start_is_put_back_by_the_one_before() {
    let host = Host::new();
    let mut node = upgraded_to(&host, "cold-exits 1");
    for start in 1..=START_TRIES {
        let said = checked_start(&mut node);
        assert!(said.contains(&format!("start {start} of {START_TRIES}")), "{said}");
        assert_eq!(node.wait_until_it_ends().code(), Some(1));
        let ended = [("SERVICE_RESULT", "exit-code"), ("EXIT_CODE", "exited"), ("EXIT_STATUS", "1")];
        node.rescue(&["--ended"], &ended).unwrap().exits(0);
        assert_eq!(host.committed(), digest(&host.path("bin/.exuvia/versions").join(version(&host)).join("exuvia")));
    }
    assert_put_back(&host, &mut node);
}

fn version(host: &Host) -> String {
    host.versions().into_iter().find(|name| name.starts_with("1.1.0-")).unwrap()
}

#[test]
fn x6_a_launcher_that_hangs_at_a_cold_start_is_put_back_by_the_one_before() {
    let host = Host::new();
    let mut node = upgraded_to(&host, "cold-hangs");
    for _ in 0..START_TRIES {
        checked_start(&mut node);
        std::thread::sleep(Duration::from_millis(100));
        // Too late for the service manager.
        node.kill_launcher();
        let ended = [("SERVICE_RESULT", "timeout"), ("EXIT_CODE", "killed"), ("EXIT_STATUS", "KILL")];
        node.rescue(&["--ended"], &ended).unwrap().exits(0);
    }
    assert_put_back(&host, &mut node);
}

#[test]
fn x6_where_nobody_says_how_a_start_ended_it_counts_until_one_succeeds() {
    let host = Host::new();
    let mut node = upgraded_to(&host, "cold-exits 1");
    for _ in 0..START_TRIES {
        checked_start(&mut node);
        node.wait_until_it_ends();
    }
    assert_put_back(&host, &mut node);
}

#[test]
fn starts_that_an_operator_ends_or_misconfigures_never_put_a_version_back() {
    let host = Host::new();
    let mut node = upgraded_to(&host, "cold-exits 2");
    let one = host.committed();
    for (result, status) in
        [("exit-code", "2"), ("success", "0"), ("signal", "KILL"), ("signal", "TERM"), ("exit-code", "8")]
    {
        for invocation in ["a", "b"] {
            let id = ("INVOCATION_ID", invocation);
            let said = node.rescue(&[], &[id]).unwrap().exits(0).stdout;
            assert!(said.contains("start 1 of"), "{said}");
            node.start();
            node.wait_until_it_ends();
            node.rescue(&["--ended"], &[id, ("SERVICE_RESULT", result), ("EXIT_STATUS", status)]).unwrap().exits(0);
        }
    }
    assert_eq!(host.committed(), one);
    assert_eq!(node.record().unwrap()["running"]["version"], "1.1.0");
}

#[test]
fn a_version_that_comes_up_from_a_cold_start_is_the_rescue_from_then_on() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    assert_eq!(digest(&host.path("bin/.exuvia/rescue")), digest(&builds::exuvia("1.0.0")));
    node.stop();
    let said = checked_start(&mut node);
    assert!(said.contains("start 1 of"), "{said}");
    node.wait_until_it_runs("1.1.0");
    wait_until_the_rescue_is(&host, &node, "1.1.0");
    assert!(node.log().contains("rescue_renewed"), "{}", node.log());
    for _ in 0..=START_TRIES {
        node.kill_launcher();
        let said = checked_start(&mut node);
        assert!(said.contains("has come up before"), "{said}");
        node.wait_until_it_serves();
    }
    host.assert_committed("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

/// The worker serves a moment before its launcher has noted that it came up.
#[track_caller]
fn wait_until_the_rescue_is(host: &Host, node: &Node, version: &str) {
    let (rescue, wanted) = (host.path("bin/.exuvia/rescue"), digest(&builds::exuvia(version)));
    wait_for(
        || format!("{version} is the rescue\n{}", node.log()),
        || (rescue.exists() && digest(&rescue) == wanted).then_some(()),
    );
}

/// The handoff: the committed binary is the old one until the new launcher has proved itself.
#[test]
fn x6_a_launcher_that_dies_before_its_commit_is_out_after_its_tries_and_never_committed() {
    for fault in ["launcher-exits", "launcher-dies 200"] {
        let host = Host::new();
        let mut node = host.start("one");
        node.wait_until_it_runs("1.0.0");
        host.releases().publish_bad("1.1.0", fault);
        for _ in 0..3 {
            assert_eq!(node.wait_until_it_ends().code(), Some(1));
            host.assert_committed("1.0.0");
            let said = checked_start(&mut node);
            assert!(said.contains("has come up before"), "{said}");
            node.wait_until_it_serves();
        }
        let attempt = node.wait_for_outcome("1.1.0");
        assert!(attempt["reason"].as_str().unwrap().starts_with("tries-exhausted: "), "{attempt}");
        node.wait_until_it_runs("1.0.0");
        host.assert_committed("1.0.0");
        host.assert_clean(&["1.0.0"], &[&node]);
    }
}

#[test]
fn x6_a_launcher_that_dies_right_after_its_commit_comes_up_again_or_is_put_back() {
    let host = Host::new();
    let mut node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    host.releases().publish_bad("1.1.0", "launcher-dies-committed");
    assert_eq!(node.wait_until_it_ends().code(), Some(1));
    assert_ne!(host.committed(), digest(&builds::exuvia("1.0.0")));
    let said = checked_start(&mut node);
    assert!(said.contains("start 1 of"), "{said}");
    // Its cold start is good.
    node.wait_until_it_runs("1.1.0");
    assert_eq!(node.wait_for_outcome("1.1.0")["outcome"], "upgraded");
    let said = node.rescue(&[], &[]).unwrap().exits(0).stdout;
    assert!(said.contains("has come up before"), "{said}");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a13_a_rescue_that_is_another_program_changes_nothing_and_is_made_again() {
    let host = Host::new();
    let mut node = upgraded_to(&host, "cold-exits 1");
    let (one, rescue) = (host.committed(), host.path("bin/.exuvia/rescue"));
    for _ in 0..START_TRIES {
        checked_start(&mut node);
        node.wait_until_it_ends();
    }
    // Of ours, and yet not the recorded one.
    let kept = host.path("kept");
    fs::rename(&rescue, &kept).unwrap();
    copy_program(&builds::exuvia("1.2.0"), &rescue);
    for flags in [&[][..], &["--now"]] {
        let refused = node.rescue(flags, &[]).unwrap().exits(9);
        assert!(refused.stderr.contains("digest") && refused.stderr.contains("rescue"), "{refused:#?}");
    }
    assert_eq!(host.committed(), one);
    fs::rename(&kept, &rescue).unwrap();
    assert_put_back(&host, &mut node);
}

#[test]
fn a13_a_rescue_that_is_missing_or_cannot_run_stops_no_start() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    let rescue = host.path("bin/.exuvia/rescue");
    for damage in ["missing", "no program"] {
        node.stop();
        fs::remove_file(&rescue).unwrap();
        if damage == "no program" {
            fs::write(&rescue, "neither a program nor a script\n").unwrap();
        }
        assert!(node.rescue(&[], &[]).is_none(), "it cannot be executed");
        node.start();
        node.wait_until_it_runs("1.1.0");
        assert!(node.log().contains("rescue_repaired"), "{}", node.log());
        wait_until_the_rescue_is(&host, &node, "1.1.0");
    }
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a_node_whose_new_binary_fails_takes_only_itself_back_and_its_siblings_serve_on() {
    let host = Host::new();
    let mut one = host.start("one");
    let two = host.start("two");
    host.releases().publish_bad("1.1.0", "cold-exits 1");
    for node in [&one, &two] {
        node.wait_until_it_runs("1.1.0");
    }
    one.stop();
    for _ in 0..START_TRIES {
        checked_start(&mut one);
        one.wait_until_it_ends();
    }
    checked_start(&mut one);
    one.wait_until_it_runs("1.0.0");
    host.assert_committed("1.0.0");
    assert!(two.serves());
    assert_eq!(two.status().unwrap()["running"]["version"], "1.1.0");
    host.releases().publish("1.2.0");
    for node in [&one, &two] {
        node.wait_until_it_runs("1.2.0");
    }
}

#[test]
fn an_untried_commit_is_guarded_by_the_rescue_from_its_first_start() {
    let host = Host::new();
    let mut node = host.node("one");
    host.releases().publish_bad("1.1.0", "cold-exits 1");
    node.cli(&["upgrade", "--commit-untried"]).exits(0).says("committed, untried").says("1.0.0");
    assert_ne!(host.committed(), digest(&builds::exuvia("1.0.0")));
    assert_eq!(digest(&host.path("bin/.exuvia/rescue")), digest(&builds::exuvia("1.0.0")));
    assert!(!host.path("bin/.exuvia/lease.json").exists());
    for _ in 0..START_TRIES {
        checked_start(&mut node);
        node.wait_until_it_ends();
    }
    assert_put_back(&host, &mut node);
}

#[test]
fn an_untried_commit_verifies_and_probes_like_any_other_and_not_where_the_node_runs() {
    let host = Host::new();
    let mut node = host.node("one");
    host.releases().publish_bad("1.1.0", "claims 9.9.9");
    node.cli(&["upgrade", "--commit-untried"]).exits(4).says("says that it is");
    host.assert_committed("1.0.0");
    host.assert_clean(&["1.0.0"], &[]);
    assert_eq!(names(&host.path("bin")), [".exuvia", "exuvia"]);

    host.releases().publish("1.2.0");
    node.cli(&["upgrade", "--commit-untried"]).exits(0).says("1.2.0");
    host.assert_committed("1.2.0");
    assert_eq!(node.history()[0]["outcome"], "upgraded");
    assert!(node.history()[0]["reason"].as_str().unwrap().contains("untried"));
    node.start();
    node.wait_until_it_runs("1.2.0");
    node.cli(&["upgrade", "--commit-untried"]).exits(8).says("node one is running");
    node.stop();
    let said = node.rescue(&[], &[]).unwrap().exits(0).stdout;
    assert!(said.contains("has come up before"), "{said}");
    host.assert_clean(&["1.0.0", "1.2.0"], &[]);
}
