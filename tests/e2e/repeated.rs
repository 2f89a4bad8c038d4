//! Row X5: bad releases again and again, and lists that lead back.

use crate::support::Host;

#[test]
fn x5_bad_releases_one_after_another_cost_one_trial_each_and_a_good_one_ends_it() {
    let host = Host::new();
    let node = host.start("one");
    let launcher = node.launcher_pid();
    for version in ["1.1.1", "1.1.2", "1.1.3"] {
        host.releases().publish_bad(version, "exits");
        assert_eq!(node.wait_for_outcome(version)["outcome"], "rolled-back");
        node.wait_until_it_runs("1.0.0");
        host.assert_committed("1.0.0");
    }
    // All of them are still listed: none is tried again, however often the node looks.
    node.wait_for_polls(3);
    assert_eq!(node.history().len(), 3, "{:#?}", node.history());
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    host.assert_committed("1.2.0");
    assert_eq!(node.history().len(), 4);
    assert_eq!(node.launcher_pid(), launcher);
    host.assert_clean(&["1.0.0", "1.2.0"], &[&node]);
}

#[test]
fn x5_a_bad_release_that_is_taken_back_and_listed_again_is_not_tried_again() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "dies");
    assert_eq!(node.wait_for_outcome("1.1.0")["outcome"], "rolled-back");
    host.releases().withdraw("1.1.0");
    node.wait_for_polls(2);
    // The same version with another content, as if it had been repaired in place.
    host.releases().publish_bad("1.1.0", "exits");
    node.wait_for_polls(2);
    node.stop();
    node.start();
    node.wait_until_it_serves();
    node.wait_for_polls(2);
    assert_eq!(node.history().len(), 1, "a veto outlives withdrawal and restart: {:#?}", node.history());
    host.assert_committed("1.0.0");
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn x5_a_list_that_only_leads_back_moves_nobody() {
    let host = Host::new();
    host.releases().publish("1.0.0");
    let node = host.start("one");
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    for withdrawn in ["1.1.0", "1.0.0"] {
        host.releases().withdraw(withdrawn);
        node.wait_for_polls(2);
        assert_eq!(node.status().unwrap()["running"]["version"], "1.1.0");
    }
    host.releases().publish("1.0.0");
    node.wait_for_polls(2);
    assert_eq!(node.history().len(), 1, "{:#?}", node.history());
    host.assert_committed("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}
