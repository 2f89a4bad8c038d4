//! Keys that come and go with releases: one that a settled version withdrew is not believed again by a node that
//! goes back, and no release can leave a node without any.

use serde_json::Value;

use crate::support::{Host, Node, SignedAs, builds, wait_for};

/// A release that pins these keys, signed by one of the old ones.
fn publish_pinning(host: &Host, version: &'static str, keys: &str, signer: &'static str) {
    let binary = host.path("pinning");
    builds::bad_node(version, &format!("pins {keys}"), &binary);
    host.releases().publish_binary(&SignedAs { key: signer, ..SignedAs::release(version) }, &binary);
}

/// A real release, signed by that key.
fn publish_signed(host: &Host, version: &'static str, signer: &'static str) {
    let signed_as = SignedAs { key: signer, ..SignedAs::release(version) };
    host.releases().publish_binary(&signed_as, &builds::exuvia(version));
}

fn distrusted(node: &Node) -> Vec<Value> {
    let status = node.status().unwrap();
    status["distrusted_keys"].as_array().unwrap().clone()
}

#[track_caller]
fn wait_until_it_distrusts(node: &Node, keys: usize) {
    node.wait_for("done with its keys", |status| status["distrusted_keys"].as_array().unwrap().len() == keys);
}

/// A node whose first version has settled: what it pins is known from then on.
fn settled(host: &Host) -> Node {
    let node = host.start("one");
    let ledger = host.path("data/one/ledger.db");
    wait_for(
        || format!("1.0.0 settles\n{}", node.log()),
        || {
            let ledger = rusqlite::Connection::open(&ledger).ok()?;
            ledger.query_row("SELECT value FROM meta WHERE key = 'settled_keys'", [], |_| Ok(())).ok()
        },
    );
    node
}

#[test]
fn k5_a_withdrawn_key_does_not_come_back_with_a_state_from_before() {
    let host = Host::new();
    let mut node = settled(&host);
    let taken = node.cli(&["--json", "snapshot", "create"]).exits(0).json();
    publish_pinning(&host, "1.1.0", "bs", "b.key");
    node.wait_until_it_runs("1.1.0");
    wait_until_it_distrusts(&node, 1);
    let before = distrusted(&node);

    assert!(node.stop().success());
    node.cli(&["snapshot", "restore", taken["id"].as_str().unwrap()]).exits(0);
    node.start();
    node.wait_until_it_serves();
    assert_eq!(distrusted(&node), before);
    assert!(node.stop().success());
}

#[test]
fn k5_a_withdrawn_key_does_not_come_back_with_the_version_that_pins_it() {
    let host = Host::new();
    let mut node = settled(&host);
    publish_pinning(&host, "1.1.0", "bs", "b.key");
    node.wait_until_it_runs("1.1.0");
    wait_until_it_distrusts(&node, 1);
    assert_eq!(distrusted(&node)[0]["withdrawn_by"], "1.1.0");
    assert!(node.log().contains("key_distrusted"), "{}", node.log());

    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.0.0");
    host.releases().withdraw("1.1.0");
    node.cli(&["unpin"]).exits(0);
    wait_until_it_distrusts(&node, 1);
    node.cli(&["status"]).exits(0).says("which 1.1.0 withdrew");
    node.cli(&["doctor"]).exits(0).says("[distrusted-key]");
    publish_signed(&host, "1.2.0", "a.key");
    let told = node.cli_when_idle(&["upgrade"]).exits(4);
    assert!(told.stderr.contains("1.2.0"), "{told:#?}");
    let archive = host.releases().archive("1.2.0");
    node.cli(&["verify", archive.to_str().unwrap(), "--version", "1.2.0"]).exits(4);
    host.assert_committed("1.0.0");

    // Also after a restart; and another key of the same build is as good as ever.
    node.stop();
    node.start();
    node.wait_until_it_serves();
    wait_until_it_distrusts(&node, 1);
    node.cli_when_idle(&["upgrade"]).exits(4);
    publish_signed(&host, "1.2.0", "b.key");
    node.wait_until_it_runs("1.2.0");
}

#[test]
fn k5_a_release_that_drops_keys_and_fails_its_trial_withdraws_nothing() {
    let host = Host::new();
    let node = settled(&host);
    publish_pinning(&host, "1.1.0", "s dies", "a.key");
    assert_eq!(node.wait_for_outcome("1.1.0")["outcome"], "rolled-back");
    node.wait_until_it_runs("1.0.0");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(distrusted(&node), Vec::<Value>::new());
    publish_signed(&host, "1.2.0", "a.key");
    node.wait_until_it_runs("1.2.0");
}

#[test]
fn k5_a_node_that_goes_back_across_a_change_of_every_key_is_not_locked_out_and_says_so() {
    let host = Host::new();
    let node = settled(&host);
    publish_pinning(&host, "1.1.0", "s", "a.key");
    node.wait_until_it_runs("1.1.0");
    wait_until_it_distrusts(&node, 2);
    assert_eq!(node.status().unwrap()["distrust_not_applied"], false);
    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.0.0");
    host.releases().withdraw("1.1.0");
    node.cli(&["unpin"]).exits(0);
    node.wait_for("back", |status| status["distrust_not_applied"] == true);
    node.cli(&["status"]).exits(0).says("believes them all the same");
    assert!(node.log().contains("distrust_not_applied"), "{}", node.log());
    publish_signed(&host, "1.2.0", "b.key");
    node.wait_until_it_runs("1.2.0");
}
