//! A hundred nodes on twenty hosts and one release, with and without neighbours: what the origin sends, and how long
//! it takes until the last node runs it. See `scripts/bench-neighbours`.

#![allow(clippy::disallowed_methods, reason = "it sets up hosts, and reads what machine this is")]
#![allow(unreachable_pub, reason = "shared with the end-to-end tests")]

use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

#[path = "../tests/support/http_server.rs"]
mod http_server;
#[path = "machine.rs"]
mod machine;
#[path = "../tests/support/namespace.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod namespace;
#[path = "../tests/support/port.rs"]
mod port;
#[path = "../tests/support/program.rs"]
mod program;
#[path = "../tests/support/site.rs"]
mod site;
#[path = "../tests/e2e/support/mod.rs"]
mod support;

use http_server::Server;
use port::free_port;
use site::{ALL, ORIGIN, PORT, Site, address};
use support::{Host, Node, wait_within};

const HOSTS: usize = 20;
const NODES_OF_A_HOST: usize = 5;
const PATIENCE: Duration = Duration::from_mins(30);
const INSIDE: &str = "BENCH_HAS_A_NETWORK_OF_ITS_OWN";

/// What one round came to.
struct Round {
    archives: usize,
    bytes: u64,
    took: Duration,
}

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_none() {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--mount", "--propagation", "private"]).arg(std::env::current_exe().expect("a path"));
        let status = unshare.args(std::env::args().skip(1)).env(INSIDE, "1").status().expect("unshare (util-linux)");
        return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    namespace::ip(&["link", "set", "lo", "up"]);
    let site = Site::of(HOSTS);
    let without = round(&site, false);
    let with = round(&site, true);
    println!("\n{} nodes on {HOSTS} hosts, one release", HOSTS * NODES_OF_A_HOST);
    println!(
        "archives from the origin    {} with neighbours, {} without (goal: at most 2)",
        with.archives, without.archives
    );
    let share = with.bytes as f64 / without.bytes as f64;
    println!("bytes of release files      {} and {}: {share:.3} of it", with.bytes, without.bytes);
    let ratio = with.took.as_secs_f64() / without.took.as_secs_f64();
    println!("until the last node runs it {ratio:.2} of the time without");
    println!("{}", machine::machine());
    let holds = with.archives <= 2;
    if holds || !std::env::args().any(|word| word == "--check") { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn round(site: &Site, neighbours: bool) -> Round {
    let hosts: Vec<Host> = (0..HOSTS).map(|_| Host::new()).collect();
    let tree = hosts[0].releases().tree().to_owned();
    let origin = SocketAddr::from((ORIGIN, free_port()));
    let site_tree = tree.clone();
    let server = Server::start_at(origin, move |request, stream| http_server::serve_file(&site_tree, request, stream));
    let mut nodes: Vec<Node> = Vec::new();
    let mut hosts = hosts;
    for (number, host) in hosts.iter_mut().enumerate() {
        for (key, value) in [
            ("source.listing", format!("\"http://{origin}/releases.json\"")),
            ("source.allow_plain_http", format!("[\"{origin}\"]")),
            ("poll.interval", "\"5s\"".to_owned()),
            ("poll.listing_ttl", "\"5s\"".to_owned()),
            ("trial.start", "\"2m\"".to_owned()),
            ("trial.probe", "\"2m\"".to_owned()),
            ("trial.watchdog", "\"60s\"".to_owned()),
            ("trial.probation", "\"300ms\"".to_owned()),
            ("trial.sibling_probation", "\"200ms\"".to_owned()),
            ("trial.handoff", "\"100ms\"".to_owned()),
        ] {
            host.set(key, &value);
        }
        if neighbours {
            host.set("mirror.peers", &format!("[\"{ALL}\"]"));
        }
        for node in 0..NODES_OF_A_HOST {
            // One node of a host serves its cache.
            let is_mirror = neighbours && node == 0;
            host.set(
                "mirror.listen",
                &if is_mirror { format!("\"{}:{PORT}\"", address(number)) } else { "\"off\"".into() },
            );
            let mut node = host.node(&format!("n{node}"));
            node.through(&site.through(number).each_ref().map(String::as_str));
            nodes.push(node);
        }
    }
    nodes.iter_mut().for_each(Node::start);
    wait(&nodes, "1.0.0");
    eprintln!("{} nodes run{}", nodes.len(), if neighbours { ", with neighbours" } else { "" });
    let published = Instant::now();
    hosts[0].releases().publish("1.1.0");
    wait(&nodes, "1.1.0");
    let took = published.elapsed();
    let archive = format!("/1.1.0/exuvia-{}.tar.zst", exuvia::types::Target::of_this_build());
    let requests = server.requests();
    let files = requests.iter().filter(|request| request.method == "GET" && request.path.starts_with("/1.1.0/"));
    let length = |path: &str| std::fs::metadata(tree.join(path.trim_start_matches('/'))).map_or(0, |meta| meta.len());
    let round = Round { archives: server.count(&archive), bytes: files.map(|file| length(&file.path)).sum(), took };
    for node in &mut nodes {
        node.stop();
    }
    round
}

fn wait(nodes: &[Node], version: &str) {
    for node in nodes {
        let runs =
            || node.record().is_some_and(|record| record["running"]["version"] == version && record["trial"].is_null());
        wait_within(PATIENCE, || format!("{} runs {version}\n{}", node.name(), node.log()), || runs().then_some(()));
    }
}
