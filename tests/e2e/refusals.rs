//! What is not signed for exactly this product, version and target by a pinned key is neither
//! staged nor executed.

use std::fs;
use std::path::PathBuf;

use crate::support::{Host, Node, SignedAs, builds};

/// A host whose releases leave a trace when they are executed.
struct Bait {
    host: Host,
    node: Node,
    binary: PathBuf,
}

fn bait() -> Bait {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    let binary = host.path("bait");
    builds::bad_node("1.1.0", &format!("leaves-a-trace {}", host.path("executed").display()), &binary);
    Bait { host, node, binary }
}

impl Bait {
    #[track_caller]
    fn must_be_refused(self, version: &str) {
        let Self { host, node, .. } = self;
        let told = node.cli(&["upgrade"]).exits(4);
        assert!(told.stderr.contains(version), "{told:#?}");
        node.wait_until_it_runs("1.0.0");
        assert!(node.serves());
        assert!(!host.path("executed").exists(), "it was executed");
        host.assert_committed("1.0.0");
        host.assert_clean(&["1.0.0"], &[&node]);
        node.cli(&["cache", "ls"]).exits(0).says("holds no archive");
        let history = node.history();
        assert_eq!((history.len(), &history[0]["outcome"]), (1, &"refused".into()), "{history:#?}");
        // It was the release, and not the node: an honest one is taken.
        host.releases().withdraw(version);
        host.releases().publish("1.2.0");
        node.cli(&["upgrade"]).exits(0).says("runs 1.2.0");
    }
}

#[test]
fn what_is_signed_as_it_should_be_is_executed() {
    let Bait { host, node, binary } = bait();
    host.releases().publish_binary(&SignedAs::release("1.1.0"), &binary);
    node.cli(&["upgrade"]).exits(0).says("runs 1.1.0");
    assert!(host.path("executed").exists(), "the trace tells, so its absence elsewhere does too");
}

#[test]
fn a_release_signed_by_a_stranger_must_be_refused() {
    let bait = bait();
    let signed_as = SignedAs { key: "stranger.key", ..SignedAs::release("1.1.0") };
    bait.host.releases().publish_binary(&signed_as, &bait.binary);
    bait.must_be_refused("1.1.0");
}

#[test]
fn a_release_of_another_product_must_be_refused() {
    let bait = bait();
    let signed_as = SignedAs { product: "other", ..SignedAs::release("1.1.0") };
    bait.host.releases().forge("1.1.0", &signed_as, &bait.binary);
    bait.must_be_refused("1.1.0");
}

#[test]
fn a_release_for_another_target_must_be_refused() {
    let bait = bait();
    let signed_as = SignedAs { target: "riscv64gc-unknown-linux-gnu".to_owned(), ..SignedAs::release("1.1.0") };
    bait.host.releases().forge("1.1.0", &signed_as, &bait.binary);
    bait.must_be_refused("1.1.0");
}

#[test]
fn an_older_archive_under_a_newer_name_must_be_refused() {
    let bait = bait();
    bait.host.releases().forge("9.9.9", &SignedAs::release("1.1.0"), &bait.binary);
    bait.must_be_refused("9.9.9");
}

#[test]
fn an_archive_that_was_changed_on_its_way_must_be_refused() {
    let bait = bait();
    bait.host.releases().publish_binary(&SignedAs::release("1.1.0"), &bait.binary);
    let archive = bait.host.releases().archive("1.1.0");
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    bait.must_be_refused("1.1.0");
}

#[test]
fn an_idle_node_refuses_a_stranger_and_serves_on() {
    let host = Host::new();
    let node = host.start("one");
    let worker = node.worker_pids();
    let signed_as = SignedAs { key: "stranger.key", ..SignedAs::release("1.1.0") };
    host.releases().publish_binary(&signed_as, &host.binary());
    let attempt = node.wait_for_outcome("1.1.0");
    assert_eq!(attempt["outcome"], "refused");
    node.wait_for_polls(2);
    node.wait_until_it_runs("1.0.0");
    assert_eq!(node.worker_pids(), worker);
    let (_, metrics) = node.get("/metrics").unwrap();
    assert!(metrics.contains("exuvia_upgrade_signature_failures_total{where=\"archive\"}"), "{metrics}");
    host.releases().withdraw("1.1.0");
    host.assert_clean(&["1.0.0"], &[&node]);
}
