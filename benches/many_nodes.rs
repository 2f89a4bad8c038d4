//! Thirty-two nodes of one host and one release: what they ask for, and how long it takes until the last of them
//! runs it. See `scripts/bench-many-nodes`.

#![allow(clippy::disallowed_methods, reason = "it sets up a host, and reads what machine this is")]
#![allow(unreachable_pub, reason = "shared with the end-to-end tests")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[path = "../tests/support/http_server.rs"]
mod http_server;
#[path = "machine.rs"]
mod machine;
#[path = "../tests/support/port.rs"]
mod port;
#[path = "../tests/support/program.rs"]
mod program;
#[path = "../tests/e2e/support/mod.rs"]
mod support;

use support::{Host, Node, wait_within};

const NODES: u16 = 32;
const INTERVAL: Duration = Duration::from_secs(30);
const PROBATION: Duration = Duration::from_secs(10);
/// More than the goal allows: a miss is told with its number.
const PATIENCE: Duration = Duration::from_mins(30);

fn main() -> ExitCode {
    let mut host = Host::new();
    for (key, value) in [
        ("poll.interval", format!("\"{}s\"", INTERVAL.as_secs())),
        ("poll.listing_ttl", format!("\"{}s\"", INTERVAL.as_secs())),
        ("trial.start", "\"60s\"".to_owned()),
        ("trial.probe", "\"60s\"".to_owned()),
        ("trial.watchdog", "\"20s\"".to_owned()),
        ("trial.probation", "\"10s\"".to_owned()),
        ("trial.handoff", "\"5s\"".to_owned()),
        ("trial.sibling_probation", format!("\"{}s\"", PROBATION.as_secs())),
        ("trial.siblings_at_once", "1".to_owned()),
    ] {
        host.set(key, &value);
    }
    let mut nodes: Vec<Node> = (0..NODES).map(|n| host.node(&format!("n{n:02}"))).collect();
    nodes.iter_mut().for_each(Node::start);
    for node in &nodes {
        wait_within(PATIENCE, || format!("{} serves", node.name()), || node.serves().then_some(()));
    }
    println!("{NODES} nodes serve; a release is published");

    let before = host.server().count("/releases.json");
    let published = Instant::now();
    host.releases().publish("1.1.0");
    let stop = AtomicBool::new(false);
    let (first, last, missing) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| most_missing(&nodes, &stop));
        let (mut first, mut seen) = (None, 0);
        while seen < nodes.len() && published.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(200));
            let through = nodes.iter().filter(|node| has_committed(node)).count();
            if through > seen {
                (first, seen) = (first.or(Some(published.elapsed())), through);
                println!("{:>6.1} s: {through} of {NODES}", published.elapsed().as_secs_f64());
            }
        }
        let last = published.elapsed();
        stop.store(true, Ordering::SeqCst);
        (first.unwrap_or(last), last, watch.join().expect("the watch ends"))
    });

    let intervals = last.as_secs_f64() / INTERVAL.as_secs_f64();
    let listings = host.server().count("/releases.json") - before;
    let asset = format!("/1.1.0/exuvia-{}.tar.zst", exuvia::types::Target::of_this_build());
    let downloads = host.server().count(&asset);
    let rest = last.saturating_sub(first).as_secs_f64();
    let probations = PROBATION.as_secs_f64() * f64::from(NODES - 1);
    let (each, ratio) = (listings as f64 / intervals, rest / probations);
    println!("\nlisting requests in each interval         {each:.2} (goal: 1)");
    println!("archive downloads                         {downloads} (goal: 1)");
    println!("most nodes that did not serve at once     {missing} (goal: at most 1)");
    println!(
        "from the first to the last, of what {} sibling probations of {} s take: {ratio:.2} (goal: at most 1.2)",
        NODES - 1,
        PROBATION.as_secs()
    );
    println!("{}", machine::machine());
    // The first and the last interval are not whole.
    let holds = each <= 1.0 + 1.0 / intervals && downloads == 1 && missing <= 1 && ratio <= 1.2;
    if holds || !std::env::args().any(|word| word == "--check") { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn has_committed(node: &Node) -> bool {
    node.record().is_some_and(|record| record["running"]["version"] == "1.1.0" && record["trial"].is_null())
}

/// Asks all nodes again and again until `stop`, and returns the most that were missing in one round.
fn most_missing(nodes: &[Node], stop: &AtomicBool) -> usize {
    let mut most = 0;
    while !stop.load(Ordering::SeqCst) {
        most = most.max(nodes.iter().filter(|node| !node.serves()).count());
        std::thread::sleep(Duration::from_millis(100));
    }
    most
}
