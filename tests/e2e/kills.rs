//! SIGKILL, and power cuts as far as a process can see them, in each recorded state of a trial: what
//! is started then is old or new, and ends upgraded or vetoed, with nothing left over.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::http_server::{Request, raw, serve_file};
use crate::support::host::processes;
use crate::support::{Host, Node, PATIENCE, builds, wait_for};

/// The node's record as it lies on disk; null while there is none.
fn record(host: &Host, node: &Node) -> Value {
    let path = host.path("bin/.exuvia/nodes").join(format!("{}.json", node.name()));
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Waits, closely, until the trial's record is as wanted, and returns the trial.
#[track_caller]
fn reach(host: &Host, node: &Node, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let trial = record(host, node)["trial"].clone();
        if wanted(&trial) {
            return trial;
        }
        assert!(Instant::now() < deadline, "{what} in vain, {trial}\n{}", node.log());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn reach_state(host: &Host, node: &Node, state: &str) -> Value {
    reach(host, node, state, |trial| trial["progress"] == state)
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).ok();
}

/// The worker of that version.
fn worker(host: &Host, node: &Node, version: &str) -> i32 {
    let (config, place) = (format!("/{}.toml", node.name()), format!("/versions/{version}-"));
    let is_it = |command: &str| {
        command.trim_end().ends_with(" worker") && command.contains(&config) && command.contains(&place)
    };
    let mut found = processes(&host.path("")).into_iter().filter(|(_, command)| is_it(command));
    found.next().unwrap_or_else(|| panic!("no worker of {version}: {:?}", processes(&host.path("")))).0
}

/// The last verdict in the record.
fn verdict(host: &Host, node: &Node) -> Value {
    record(host, node)["verdicts"].as_array().and_then(|all| all.last().cloned()).unwrap_or_default()
}

#[track_caller]
fn assert_upgraded(host: &Host, node: &Node) {
    node.wait_until_it_runs("1.1.0");
    assert_eq!(verdict(host, node)["kind"], "good", "{}", node.log());
    assert_eq!(node.wait_for_outcome("1.1.0")["outcome"], "upgraded");
    host.assert_committed("1.1.0");
    assert_eq!(node.worker_pids().len(), 1);
    host.assert_clean(&["1.0.0", "1.1.0"], &[node]);
}

fn launcher_killed_in(state: &str) {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish("1.1.0");
    assert_eq!(reach_state(&host, &node, state)["tries_left"], 2);
    node.kill_launcher();
    host.assert_committed("1.0.0");
    assert_eq!(record(&host, &node)["trial"]["progress"], state, "the kill came too late for this test");

    node.start();
    reach(&host, &node, "a second try", |trial| trial["tries_left"] == 1);
    assert_upgraded(&host, &node);
    let history = node.history();
    assert_eq!(
        history.iter().filter(|attempt| attempt["to"] == "1.1.0").count(),
        1,
        "one attempt, resumed: {history:?}"
    );
}

#[test]
fn a_launcher_killed_while_its_candidate_starts_tries_again() {
    launcher_killed_in("starting");
}

#[test]
fn a_launcher_killed_in_probation_tries_again() {
    launcher_killed_in("probation");
}

#[test]
fn a_launcher_killed_in_its_handoff_leaves_the_old_binary_which_tries_again() {
    launcher_killed_in("handoff");
}

#[test]
fn a_launcher_killed_right_after_the_commit_is_upgraded() {
    let host = Host::new();
    let mut node = host.start("one");
    let inode = || fs::metadata(host.binary()).unwrap().ino();
    let before = inode();
    host.releases().publish("1.1.0");
    let deadline = Instant::now() + PATIENCE;
    while inode() == before {
        assert!(Instant::now() < deadline, "{}", node.log());
        std::thread::sleep(Duration::from_micros(200));
    }
    node.kill_launcher();
    host.assert_committed("1.1.0");
    node.start();
    assert_upgraded(&host, &node);
}

fn candidate_killed_in(state: &str) {
    let host = Host::new();
    let node = host.start("one");
    let launcher = node.launcher_pid();
    host.releases().publish("1.1.0");
    reach_state(&host, &node, state);
    signal(worker(&host, &node, "1.1.0"), Signal::KILL);
    reach(&host, &node, "a second try", |trial| trial["tries_left"] == 1);
    assert_upgraded(&host, &node);
    assert_eq!(node.launcher_pid(), launcher);
}

#[test]
fn a_candidate_killed_in_probation_is_tried_again() {
    candidate_killed_in("probation");
}

#[test]
fn a_candidate_killed_in_the_handoff_is_tried_again_under_the_old_launcher() {
    candidate_killed_in("handoff");
}

/// The node does not poll in time: the launcher itself has the trial begun again.
#[test]
fn a_candidate_killed_while_it_starts_is_tried_again_at_once_until_the_tries_run_out() {
    let mut host = Host::new();
    host.set("trial.start", "\"60s\"");
    let node = host.start_quiet("one");
    let first = worker(&host, &node, "1.0.0");
    host.releases().publish_bad("1.1.0", "never-ready");
    let operator = node.spawn_cli(&["upgrade"]);
    for tries_left in [2, 1, 0] {
        reach(&host, &node, "the next try", |trial| {
            trial["tries_left"] == tries_left && trial["progress"] == "starting"
        });
        let candidate = wait_for(|| "a candidate".to_owned(), || find_worker(&host, &node, "1.1.0"));
        signal(candidate, Signal::KILL);
    }
    let output = operator.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let verdict = verdict(&host, &node);
    assert_eq!((&verdict["kind"], &verdict["reason"]), (&json!("bad"), &json!("tries-exhausted")));
    assert_eq!(worker(&host, &node, "1.0.0"), first, "the old worker served all the time");
    assert_vetoed(&host, &node);
}

fn find_worker(host: &Host, node: &Node, version: &str) -> Option<i32> {
    let place = format!("/versions/{version}-");
    let workers = node.worker_pids();
    let mut found = processes(&host.path("")).into_iter();
    found.find(|(pid, command)| workers.contains(pid) && command.contains(&place)).map(|(pid, _)| pid)
}

#[track_caller]
fn assert_vetoed(host: &Host, node: &Node) {
    assert_eq!(node.wait_for_outcome("1.1.0")["outcome"], "rolled-back");
    node.wait_until_it_runs("1.0.0");
    host.assert_committed("1.0.0");
    node.cli(&["upgrade", "--version", "1.1.0"]).exits(5).says("1.1.0");
    host.assert_clean(&["1.0.0"], &[node]);
}

#[test]
fn an_old_worker_killed_beside_its_candidate_does_not_come_back_after_it() {
    let host = Host::new();
    let node = host.start("one");
    let old = worker(&host, &node, "1.0.0");
    host.releases().publish("1.1.0");
    reach_state(&host, &node, "starting");
    signal(old, Signal::KILL);
    reach_state(&host, &node, "probation");
    let until = Instant::now() + Duration::from_millis(900);
    while Instant::now() < until && record(&host, &node)["trial"]["progress"] == "probation" {
        assert_eq!(find_worker(&host, &node, "1.0.0").filter(|pid| *pid != old), None, "{}", node.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_upgraded(&host, &node);
    assert_eq!(record(&host, &node)["verdicts"].as_array().unwrap().len(), 1);
}

#[test]
fn each_kill_of_the_launcher_spends_a_try_and_a_stop_none_and_then_the_verdict_falls() {
    let mut host = Host::new();
    host.set("trial.start", "\"60s\"");
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "never-ready");
    let next = |node: &Node, tries_left: u32| {
        reach(&host, node, "the next try", |trial| {
            trial["progress"] == "starting" && trial["tries_left"] == tries_left
        });
    };
    next(&node, 2);
    assert!(node.stop().success());
    let trial = record(&host, &node)["trial"].clone();
    assert_eq!((&trial["progress"], &trial["tries_left"]), (&json!("pending"), &json!(3)));
    assert!(!host.path("bin/.exuvia/lease.json").exists());
    for tries_left in [2, 1, 0] {
        node.start();
        next(&node, tries_left);
        node.kill_launcher();
        assert!(record(&host, &node)["verdicts"].as_array().unwrap().is_empty(), "a kill is no verdict");
    }
    node.start();
    wait_for(|| node.log(), || (verdict(&host, &node)["reason"] == "tries-exhausted").then_some(()));
    assert_vetoed(&host, &node);
}

fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_candidate_that_hangs_does_not_outlive_its_killed_launcher() {
    let mut host = Host::new();
    host.set("trial.probation", "\"30s\"");
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "starves 200");
    reach_state(&host, &node, "probation");
    let candidate = worker(&host, &node, "1.1.0");
    wait_for(|| "the candidate hangs".to_owned(), || node.log().contains("thinks very hard").then_some(()));
    node.kill_launcher();
    std::thread::sleep(Duration::from_millis(300));
    assert!(alive(candidate), "it does not leave");

    node.start();
    node.wait_until_it_serves();
    assert!(!alive(candidate), "{}", node.log());
    // It hangs again, and now somebody watches.
    wait_for(|| node.log(), || (verdict(&host, &node)["reason"] == "watchdog").then_some(()));
    assert_vetoed(&host, &node);
}

/// A web server that holds back the second half of archives while the gate is closed, and counts how often.
fn hold_archives(host: &mut Host) -> (Arc<AtomicBool>, Arc<AtomicU32>) {
    let (closed, holding) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let (gate, count) = (closed.clone(), holding.clone());
    host.serve(move |root: &Path, request: &Request, stream: &mut TcpStream| {
        if !request.path.ends_with(".tar.zst") || !gate.load(Ordering::SeqCst) {
            return serve_file(root, request, stream);
        }
        let body = fs::read(root.join(&request.path[1..])).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        raw(stream, head.as_bytes());
        raw(stream, &body[..body.len() / 2]);
        count.fetch_add(1, Ordering::SeqCst);
        while gate.load(Ordering::SeqCst) && raw(stream, b"") && peer_is_there(stream) {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    (closed, holding)
}

fn peer_is_there(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).ok();
    let there = !matches!(stream.peek(&mut [0]), Ok(0)) && stream.take_error().ok().flatten().is_none();
    stream.set_nonblocking(false).ok();
    there
}

fn downloads(node: &Node, holding: &AtomicU32, times: u32) {
    wait_for(
        || format!("download {times} is under way\n{}", node.log()),
        || (holding.load(Ordering::SeqCst) >= times).then_some(()),
    );
}

#[test]
fn launcher_worker_and_command_line_killed_in_a_download_cost_only_the_download() {
    let mut host = Host::new();
    let (closed, holding) = hold_archives(&mut host);
    host.releases().publish("1.1.0");
    // No node runs: the command line downloads by itself.
    let mut node = host.node("one");
    let mut operator = node.spawn_cli(&["upgrade"]);
    downloads(&node, &holding, 1);
    operator.kill().unwrap();
    operator.wait().unwrap();

    node.start();
    downloads(&node, &holding, 2);
    node.kill_launcher();
    node.start();
    downloads(&node, &holding, 3);
    let mut operator = node.spawn_cli(&["upgrade"]);
    std::thread::sleep(Duration::from_millis(100));
    operator.kill().unwrap();
    operator.wait().unwrap();
    signal(worker(&host, &node, "1.0.0"), Signal::KILL);
    downloads(&node, &holding, 4);
    assert!(record(&host, &node)["trial"].is_null());
    host.assert_committed("1.0.0");
    closed.store(false, Ordering::SeqCst);
    assert_upgraded(&host, &node);
    let outcomes: Vec<_> = node.history().iter().map(|attempt| attempt["outcome"].clone()).collect();
    assert_eq!(outcomes[0], "upgraded");
    assert!(outcomes.contains(&json!("interrupted")), "{outcomes:?}");
}

#[test]
fn a_launcher_killed_between_staging_and_trial_leaves_nothing_that_stays() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish("1.1.0");
    let deadline = Instant::now() + PATIENCE;
    while !host.versions().iter().any(|name| name.starts_with("1.1.0-")) {
        assert!(Instant::now() < deadline, "{}", node.log());
        std::thread::sleep(Duration::from_millis(1));
    }
    node.kill_launcher();
    node.start();
    assert_upgraded(&host, &node);
}

#[track_caller]
fn due(host: &Host, node: &Node) {
    let trial = record(host, node)["trial"].clone();
    assert_eq!((&trial["progress"], &trial["tries_left"]), (&json!("pending"), &json!(3)), "{}", node.log());
}

#[test]
fn a_trial_that_is_due_outlives_every_kill_and_costs_no_try_while_the_source_is_down() {
    let mut host = Host::new();
    host.releases().publish("1.1.0");
    let mut node = host.node("one");
    node.cli(&["upgrade"]).exits(0).says("tried at the next");
    due(&host, &node);
    host.assert_committed("1.0.0");
    host.stop_server();
    node.start();
    node.wait_until_it_serves();
    due(&host, &node);
    node.kill_launcher();
    node.start();
    node.wait_until_it_serves();
    signal(worker(&host, &node, "1.0.0"), Signal::KILL);
    node.wait_until_it_serves();
    due(&host, &node);
    assert!(node.stop().success());
    due(&host, &node);
    host.start_server();
    node.start();
    assert_upgraded(&host, &node);
}

#[test]
fn a_command_line_that_is_killed_while_it_waits_changes_nothing() {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    for (version, state) in [("1.1.0", "probation"), ("1.2.0", "handoff")] {
        host.releases().publish(version);
        let mut operator = node.spawn_cli(&["upgrade"]);
        assert_eq!(reach_state(&host, &node, state)["tries_left"], 2);
        operator.kill().unwrap();
        operator.wait().unwrap();
        node.wait_until_it_runs(version);
        assert_eq!(node.wait_for_outcome(version)["outcome"], "upgraded");
    }
    host.assert_committed("1.2.0");
    host.assert_clean(&["1.1.0", "1.2.0"], &[&node]);
}

/// The files of a node that lost power in its handoff, to be made what a later moment would leave.
fn cut_in_handoff(host: &Host) -> Node {
    let mut node = host.start("one");
    host.releases().publish("1.1.0");
    reach_state(host, &node, "handoff");
    node.kill_launcher();
    wait_for(|| "its workers leave".to_owned(), || node.pids().is_empty().then_some(()));
    host.assert_committed("1.0.0");
    let state = host.path("bin/.exuvia/install.json");
    let mut install: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    install["next"] = record(host, &node)["trial"]["candidate"].clone();
    fs::write(state, install.to_string()).unwrap();
    let version = host.versions().into_iter().find(|name| name.starts_with("1.1.0-")).unwrap();
    let temporary = host.path("bin/.exuvia.exuvia-new");
    fs::hard_link(host.path("bin/.exuvia/versions").join(version).join("exuvia"), temporary).unwrap();
    node
}

#[test]
fn a_power_cut_after_the_rename_and_before_its_note_settles_as_upgraded() {
    let host = Host::new();
    let mut node = cut_in_handoff(&host);
    fs::rename(host.path("bin/.exuvia.exuvia-new"), host.binary()).unwrap();
    host.assert_committed("1.1.0");
    let before = node.log().matches("trial_requested").count();
    node.start();
    assert_upgraded(&host, &node);
    assert_eq!(node.log().matches("trial_requested").count(), before, "nothing had to be tried again");
    let state = fs::read_to_string(host.path("bin/.exuvia/install.json")).unwrap();
    assert!(serde_json::from_str::<Value>(&state).unwrap()["next"].is_null());
}

#[test]
fn a_power_cut_after_the_announcement_and_before_the_rename_settles_as_not_upgraded_yet() {
    let host = Host::new();
    let mut node = cut_in_handoff(&host);
    node.start();
    node.wait_until_it_serves();
    assert!(!host.path("bin/.exuvia.exuvia-new").exists());
    reach(&host, &node, "a second try", |trial| trial["tries_left"] == 1);
    assert_upgraded(&host, &node);
}

/// `KILL_ROUNDS` and `KILL_SEED` make it longer, or the same again.
#[test]
fn kills_at_any_moment_of_an_upgrade_end_in_the_upgrade() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (rounds, seed) = (number("KILL_ROUNDS").unwrap_or(12), number("KILL_SEED"));
    let seed = seed.unwrap_or_else(|| getrandom::u64().unwrap());
    println!("KILL_SEED={seed} KILL_ROUNDS={rounds}");
    builds::exuvia("1.1.0");
    let round = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let round = u64::from(round.fetch_add(1, Ordering::SeqCst));
                    if round >= rounds {
                        return;
                    }
                    kill_round(seed.wrapping_add(round));
                }
            });
        }
    });
}

fn kill_round(seed: u64) {
    let mut random = Random(seed);
    let mut host = Host::new();
    for (key, value) in [
        ("poll.interval", "\"100ms\""),
        ("trial.probation", "\"300ms\""),
        ("trial.handoff", "\"200ms\""),
        ("trial.tries", "10"),
    ] {
        host.set(key, value);
    }
    host.releases().publish("1.1.0");
    let mut node = host.node("one");
    node.start();
    for _ in 0..=random.below(2) {
        std::thread::sleep(Duration::from_millis(random.below(2000)));
        let workers = node.worker_pids();
        let victim = random.below(4);
        println!("seed {seed}: kills {}", if victim == 0 && !workers.is_empty() { "a worker" } else { "the launcher" });
        if victim == 0 && !workers.is_empty() {
            let index = usize::try_from(random.below(workers.len() as u64)).unwrap();
            signal(workers[index], Signal::KILL);
            continue;
        }
        node.kill_launcher();
        let committed = host.committed();
        assert!(
            ["1.0.0", "1.1.0"]
                .iter()
                .any(|version| committed == crate::support::host::digest(&builds::exuvia(version)))
        );
        node.start();
    }
    assert_upgraded(&host, &node);
}

/// splitmix64: the same rounds again from the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
