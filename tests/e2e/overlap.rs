//! Versions that must not run beside each other do not, also when that goes wrong.

use crate::support::{Host, PATIENCE, wait_for};

#[test]
fn a_candidate_that_must_be_alone_and_never_gets_ready_leaves_the_version_before_serving() {
    let host = Host::new();
    let node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    host.releases().publish_bad("1.1.0", "alone-never-ready");
    // Asked while nobody serves: it waits, and the version before answers.
    wait_for(
        || format!("the old worker makes room\n{}", node.log()),
        || node.log().contains("worker_makes_room").then_some(()),
    );
    let (code, _) = node.get_within("/healthz", PATIENCE).expect("nobody is refused");
    assert_eq!(code, 200);

    let attempt = node.wait_for_outcome("1.1.0");
    assert_eq!(attempt["outcome"], "rolled-back", "{attempt:#?}");
    let reason = attempt["reason"].as_str().unwrap();
    assert!(reason.starts_with("not-ready"), "{reason}");
    assert!(reason.contains("1.0.0 had left to make room for it, and is started again"), "{reason}");
    node.wait_until_it_runs("1.0.0");
    host.assert_committed("1.0.0");
    host.assert_clean(&["1.0.0"], &[&node]);

    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
}

#[test]
fn a_candidate_that_must_be_alone_is_upgraded_to_and_from() {
    let host = Host::new();
    let node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    host.releases().publish_bad("1.1.0", "alone-healthy");
    node.wait_until_it_runs("1.1.0");
    // The version that runs says so of itself, whatever the next one says.
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    assert_eq!(node.log().matches("worker_makes_room").count(), 2, "{}", node.log());
    host.assert_clean(&["1.1.0", "1.2.0"], &[&node]);
}

#[test]
fn l1_a_kill_while_the_old_worker_makes_room_leaves_a_trial_that_begins_again() {
    let mut host = Host::new();
    host.set("trial.start", "\"20s\"");
    let mut node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    host.releases().publish_bad("1.1.0", "alone-never-ready");
    wait_for(
        || format!("the old worker makes room\n{}", node.log()),
        || node.log().contains("worker_makes_room").then_some(()),
    );
    node.kill_launcher();
    host.assert_committed("1.0.0");
    host.releases().withdraw("1.1.0");
    node.start();
    node.wait_until_it_runs("1.0.0");
    host.assert_clean(&["1.0.0"], &[&node]);
}
