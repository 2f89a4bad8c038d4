//! A host full of nodes: one tries, the others wait for a bounded time and follow, a few at once.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Host, Node, wait_for, wait_within};

const NODES: usize = 32;
const AT_ONCE: usize = 4;
/// For all of them: each change of version costs a start, and two cores are few.
const PATIENCE: Duration = Duration::from_mins(8);

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// When the trial of that version began and ended on each node, in order.
fn trials(nodes: &[Node], version: &str) -> Vec<(Timestamp, Timestamp)> {
    let verdicts = nodes.iter().flat_map(|node| node.record().unwrap()["verdicts"].as_array().unwrap().clone());
    let of_version = verdicts.filter(|verdict| verdict["candidate"]["version"] == version);
    let mut trials: Vec<_> = of_version.map(|verdict| (time(&verdict["since"]), time(&verdict["at"]))).collect();
    trials.sort();
    trials
}

/// Asks all nodes again and again until `stop`, and returns the most that were missing in one round.
fn most_missing(nodes: &[Node], stop: &AtomicBool) -> usize {
    let mut most = 0;
    while !stop.load(Ordering::SeqCst) {
        most = most.max(nodes.iter().filter(|node| !node.serves()).count());
        std::thread::sleep(Duration::from_millis(50));
    }
    most
}

#[test]
fn of_thirty_two_nodes_one_tries_and_the_others_follow_a_few_at_a_time_while_the_rest_serve() {
    let mut host = Host::new();
    for (key, value) in [
        ("poll.interval", "\"3s\""),
        ("poll.listing_ttl", "\"2s\""),
        ("trial.start", "\"60s\""),
        ("trial.probe", "\"60s\""),
        ("trial.drain", "\"5s\""),
        ("trial.watchdog", "\"20s\""),
        ("trial.probation", "\"300ms\""),
        ("trial.sibling_probation", "\"200ms\""),
        ("trial.handoff", "\"100ms\""),
        ("trial.siblings_at_once", "4"),
    ] {
        host.set(key, value);
    }
    let mut nodes: Vec<Node> = (0..NODES).map(|n| host.node(&format!("n{n:02}"))).collect();
    nodes.iter_mut().for_each(Node::start);
    for node in &nodes {
        wait_within(PATIENCE, || format!("{} serves\n{}", node.name(), node.log()), || node.serves().then_some(()));
    }

    host.releases().publish("1.1.0");
    let stop = AtomicBool::new(false);
    let missing = std::thread::scope(|scope| {
        let watch = scope.spawn(|| most_missing(&nodes, &stop));
        // The guard ends the watch when waiting fails, too.
        let _guard = Raise(&stop);
        for node in &nodes {
            let what = || format!("{} follows\n{}", node.name(), node.log());
            let runs = || node.record().filter(|record| record["running"]["version"] == "1.1.0").map(drop);
            wait_within(PATIENCE, what, runs);
        }
        stop.store(true, Ordering::SeqCst);
        watch.join().unwrap()
    });
    assert!(missing <= AT_ONCE, "{missing} of {NODES} did not serve at once");

    let trials = trials(&nodes, "1.1.0");
    assert_eq!(trials.len(), NODES);
    let (_, proved) = trials[0];
    assert!(trials[1..].iter().all(|(begun, _)| *begun >= proved), "nobody begins before the first one is through");
    let most = trials.iter().map(|(begun, _)| trials.iter().filter(|(a, b)| a <= begun && begun < b).count()).max();
    assert!((2..=AT_ONCE).contains(&most.unwrap()), "{most:?} at once: {trials:?}");
    let asset = format!("/1.1.0/exuvia-{}.tar.zst", exuvia::types::Target::of_this_build());
    assert_eq!(host.server().count(&asset), 1, "one download for all");
    host.assert_committed("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &nodes.iter().collect::<Vec<_>>());
}

/// Sets its flag when it goes.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_node_that_was_killed_for_good_holds_its_siblings_up_until_its_lease_ends() {
    let mut host = Host::new();
    host.set("trial.start", "\"4s\"");
    host.set("trial.drain", "\"500ms\"");
    let mut nodes = [host.start("a"), host.start("b")];
    host.releases().publish("1.1.0");
    let tries = |node: &Node| node.record().is_some_and(|record| record["trial"]["progress"] == "probation");
    let first = wait_for(|| "one of two tries".to_owned(), || nodes.iter().position(tries));
    nodes[first].kill_launcher();
    let lease = |host: &Host| -> Value {
        serde_json::from_slice(&fs::read(host.path("bin/.exuvia/lease.json")).unwrap_or_default()).unwrap_or_default()
    };
    let epoch = lease(&host)["epoch"].as_u64().expect("nobody gave it back");

    let other = &nodes[1 - first];
    other.wait_until_it_runs("1.1.0");
    host.assert_committed("1.1.0");
    assert!(other.log().contains("lease_taken_over"), "{}", other.log());
    let install: Value = serde_json::from_slice(&fs::read(host.path("bin/.exuvia/install.json")).unwrap()).unwrap();
    assert!(install["epoch"].as_u64().unwrap() > epoch);

    nodes[first].start();
    nodes[first].wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&nodes[0], &nodes[1]]);
}

/// What somebody who can write there would have a node believe.
struct Forger<'a>(&'a Host);

impl Forger<'_> {
    fn lease(&self, owner: &str, span: u64) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: u64 = uptime.split('.').next().unwrap().parse().unwrap();
        let candidate = json!({ "version": "1.1.0", "digest": "ab".repeat(32) });
        let lease = json!({
            "owner": owner, "candidate": candidate, "boot": boot.trim(), "deadline": uptime + span, "epoch": 7,
        });
        self.put("lease.json", &lease);
    }

    /// A record of a node that there is not, with a verdict on 1.1.0.
    fn verdict(&self, node: &Node, at: Timestamp) {
        let mut record = node.record().unwrap();
        record["verdicts"] = json!([{
            "trial": "1-ab", "candidate": { "version": "1.1.0", "digest": "ab".repeat(32) },
            "from": record["running"], "purpose": "upgrade", "kind": "bad", "reason": "exited", "detail": "",
            "since": at, "at": at, "output": "",
        }]);
        self.put("nodes/ghost.json", &record);
    }

    fn put(&self, name: &str, value: &Value) {
        let path = self.0.path("bin/.exuvia").join(name);
        let new = self.0.path("forged");
        fs::write(&new, value.to_string()).unwrap();
        fs::rename(new, path).unwrap();
    }
}

fn doubted(node: &Node) -> BTreeMap<String, u64> {
    let (_, page) = node.get("/metrics").unwrap_or_default();
    let lines = page.lines().filter_map(|line| line.strip_prefix("exuvia_siblings_doubted_total{reason=\""));
    lines
        .map(|line| {
            let (reason, count) = line.split_once("\"} ").unwrap();
            (reason.to_owned(), count.parse().unwrap())
        })
        .collect()
}

#[test]
fn a11_a_node_says_who_holds_it_up_and_what_it_does_not_believe() {
    let host = Host::new();
    let node = host.start("one");
    let forger = Forger(&host);
    forger.lease("ghost", 600);
    host.releases().publish("1.1.0");
    node.wait_for("held up", |status| {
        status["last_check"]["detail"].as_str().is_some_and(|detail| detail.contains("node ghost of this host tries"))
    });
    node.cli(&["why"]).exits(0).says("node ghost");
    node.cli(&["upgrade"]).exits(8).says("node ghost of this host tries");
    assert!(node.log().contains("sibling_not_believed") && node.log().contains("lease-of-stranger"), "{}", node.log());
    assert_eq!(doubted(&node), BTreeMap::from([("lease-of-stranger".to_owned(), 1)]), "said once");
    host.assert_committed("1.0.0");

    // A verdict on top: from now on that is what the node waits for, and an operator need not.
    forger.verdict(&node, Timestamp::now());
    forger.lease("ghost", 25 * 3600);
    node.wait_for("told of a failure", |status| {
        status["last_check"]["detail"].as_str().is_some_and(|detail| detail.contains("node ghost of this host tried"))
    });
    assert!(node.log().contains("lease-too-long"), "{}", node.log());
    assert_eq!(node.history().iter().filter(|attempt| attempt["outcome"] == "rolled-back").count(), 0);

    forger.verdict(&node, Timestamp::now() + Duration::from_hours(2));
    node.wait_until_it_runs("1.1.0");
    let log = node.log();
    assert!(log.contains("verdict-of-the-future"), "{log}");
    host.assert_committed("1.1.0");
    fs::remove_file(host.path("bin/.exuvia/nodes/ghost.json")).unwrap();
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}
