//! When the source is away, or does not answer what it should: the node serves on, and goes on.

use crate::support::Host;
use crate::support::host::quoted;

#[test]
fn a_node_starts_without_its_source_and_upgrades_when_it_is_back() {
    let mut host = Host::new();
    // Longer than all attempts at a look take, so that the node has time for an operator in between.
    host.set("poll.interval", "\"12s\"");
    host.releases().publish("1.1.0");
    host.stop_server();
    let node = host.start("one");
    let status = node.wait_for("done with a look", |status| !status["last_check"].is_null());
    assert_eq!(status["running"]["version"], "1.0.0");
    assert_ne!(status["last_check"]["result"], "up-to-date");
    node.cli_when_idle(&["upgrade"]).exits(6);
    node.cli_when_idle(&["upgrade", "check"]).exits(6);
    assert!(node.serves());
    host.start_server();
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a_page_where_a_listing_should_be_is_no_listing() {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    for page in
        [&b"<!doctype html><title>Sign in to the guest network</title>"[..], b"{\"message\":\"rate limit\"}", b""]
    {
        host.releases().publish_listing(page);
        node.cli(&["upgrade"]).exits(6);
        node.cli(&["upgrade", "check"]).exits(6);
        assert!(node.serves());
    }
    node.wait_until_it_runs("1.0.0");
    host.releases().publish("1.1.0");
    node.cli(&["upgrade"]).exits(0);
    node.wait_until_it_runs("1.1.0");
}

#[test]
fn a_release_without_an_archive_for_this_target_is_passed_over() {
    let host = Host::new();
    let node = host.start("one");
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    host.releases().publish_listing(
        br#"[{"tag_name":"v1.2.0","assets":[{"name":"exuvia-vax.tar.gz","size":3,"browser_download_url":"x"}]}]"#,
    );
    node.wait_for_polls(2);
    node.wait_until_it_runs("1.1.0");
    node.cli_when_idle(&["upgrade", "check"]).exits(0);
}

#[test]
fn a_node_without_a_source_serves_and_says_what_to_set() {
    let mut host = Host::new();
    host.set("source.listing", "");
    let node = host.start_quiet("one");
    node.cli(&["upgrade"]).exits(2).says("source.listing");
    assert!(node.serves());
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn a_folder_that_is_not_there_is_a_source_that_is_away() {
    let mut host = Host::new();
    let folder = host.path("later");
    host.set("source.listing", &quoted(&folder));
    let node = host.start("one");
    node.cli_when_idle(&["upgrade"]).exits(6);
    assert!(node.serves());
    host.releases().publish("1.1.0");
    std::fs::rename(host.releases().tree(), &folder).unwrap();
    node.wait_until_it_runs("1.1.0");
}

#[test]
fn a_folder_is_a_source_as_well() {
    let mut host = Host::new();
    let folder = quoted(host.releases().tree());
    host.set("source.listing", &folder);
    host.releases().publish("1.1.0");
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}
