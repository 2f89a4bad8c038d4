//! Launchers and workers of different age: what one adds, the other passes over; what one would misread is
//! refused before anything is tried.

use crate::support::Host;

fn offered(fault: &str) -> (Host, crate::support::Node) {
    let host = Host::new();
    let node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    host.releases().publish_bad("1.1.0", fault);
    (host, node)
}

#[test]
fn a_newer_worker_that_says_more_is_understood_by_an_older_launcher() {
    let (host, node) = offered("speaks 2 1");
    node.wait_until_it_runs("1.1.0");
    host.releases().publish("1.2.0");
    // The newer worker asks, the launcher answers.
    node.wait_until_it_runs("1.2.0");
    host.assert_clean(&["1.1.0", "1.2.0"], &[&node]);
}

#[test]
fn a_newer_launcher_that_says_more_is_understood_by_an_older_worker() {
    let (host, node) = offered("hears 2 1");
    node.wait_until_it_runs("1.1.0");
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    host.assert_clean(&["1.1.0", "1.2.0"], &[&node]);
}

#[test]
fn a_release_that_the_running_launcher_would_misread_is_refused_at_its_probe() {
    let (host, node) = offered("speaks 3 2");
    let attempt = node.wait_for_outcome("1.1.0");
    assert_eq!(attempt["outcome"], "refused", "{attempt}");
    let reason = attempt["reason"].as_str().unwrap();
    assert!(reason.contains("speaks launcher protocol 2 to 3") && reason.contains("in between"), "{reason}");
    node.wait_until_it_runs("1.0.0");
    host.assert_committed("1.0.0");
    host.assert_clean(&["1.0.0"], &[&node]);
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
}

#[test]
fn a_worker_that_would_misread_its_launcher_does_not_start_and_says_why() {
    let (host, node) = offered("hears 3 2");
    let attempt = node.wait_for_outcome("1.1.0");
    assert_eq!(attempt["outcome"], "rolled-back", "{attempt}");
    let output = attempt["output"].as_str().unwrap();
    assert!(output.contains("speaks launcher protocol 1") && output.contains("speaks 2 to 3"), "{output}");
    node.wait_until_it_runs("1.0.0");
    host.assert_clean(&["1.0.0"], &[&node]);
}
