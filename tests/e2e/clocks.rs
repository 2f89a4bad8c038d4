//! Row L4: clocks that jump, and reboots in each state of a trial.
//!
//! The clock on the wall is moved under the node's feet by a few lines of C that its processes load; a
//! reboot is another boot id, and a boot clock that begins anew, in namespaces of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::namespace::{mount, with_mounts_of_its_own};
use crate::support::{Host, Node, PATIENCE, wait_for};

const YEAR: i64 = 365 * 24 * 3600;

/// The clock that the nodes of one host see.
struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    fn of(host: &Host) -> Self {
        let clock = Self { library: host.path("wall_clock.so"), file: host.path("wall_clock") };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/wall_clock.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&clock.library).arg(source).status();
        assert!(compiled.expect("this test needs a C compiler, as the build does").success());
        clock.set(0);
        clock
    }

    /// Puts it so many seconds ahead of the real one, or behind.
    fn set(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        fs::write(&new, seconds.to_string()).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn node(&self, host: &Host, name: &str) -> Node {
        let node = host.node(name).with_env("LD_PRELOAD", self.library.clone());
        node.with_env("WALL_CLOCK_IS_AHEAD", self.file.clone())
    }

    fn start(&self, host: &Host, name: &str) -> Node {
        let mut node = self.node(host, name);
        node.start();
        node.wait_until_it_serves();
        node
    }
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("{value} is no time")).parse().unwrap()
}

/// How far ahead a time lies, in days.
fn days_ahead(value: &Value) -> i64 {
    time(value).duration_since(Timestamp::now()).as_hours() / 24
}

/// Waits until the trial in the node's record is as wanted.
#[track_caller]
fn reach(node: &Node, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let trial = node.record().unwrap_or_default()["trial"].clone();
        if wanted(&trial) {
            return trial;
        }
        assert!(Instant::now() < deadline, "{what} in vain, {trial}\n{}", node.log());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn l4_a_clock_that_jumps_during_a_trial_neither_ends_nor_prolongs_it() {
    for jump in [10 * YEAR, -10 * YEAR] {
        let mut host = Host::new();
        host.set("trial.probation", "\"3s\"");
        let clock = WallClock::of(&host);
        let node = clock.start(&host, "one");
        host.releases().publish("1.1.0");
        reach(&node, "probation", |trial| trial["progress"] == "probation");
        clock.set(jump);
        let jumped = Instant::now();
        node.wait_until_it_runs("1.1.0");
        assert!(jumped.elapsed() > Duration::from_secs(2), "the probation was cut short\n{}", node.log());
        assert_eq!(node.history().iter().filter(|attempt| attempt["outcome"] == "upgraded").count(), 1);
        assert!(days_ahead(&node.history()[0]["finished"]).abs() > 3000, "the node saw the jump");
        host.assert_committed("1.1.0");
        host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    }
}

#[test]
fn l4_a_clock_that_jumps_back_stops_no_poll_and_delays_no_release_for_longer_than_its_window() {
    let mut host = Host::new();
    host.set("rollout.window", "\"4s\"");
    let clock = WallClock::of(&host);
    clock.set(10 * YEAR);
    let node = clock.start(&host, "one");
    node.wait_for_polls(1);
    host.releases().publish("1.1.0");
    wait_for(
        || format!("it waits for its moment\n{}", node.log()),
        || node.cli(&["why", "--json"]).stdout.contains("1.1.0").then_some(()),
    );
    clock.set(0);
    node.wait_until_it_runs("1.1.0");
    host.assert_committed("1.1.0");
}

#[test]
fn l4_a_veto_made_by_a_clock_that_was_ahead_keeps_its_length_and_lasts_no_longer() {
    let host = Host::new();
    let clock = WallClock::of(&host);
    clock.set(10 * YEAR);
    let node = clock.start(&host, "one");
    host.releases().publish_bad("1.1.0", "exits");
    assert_eq!(node.wait_for_outcome("1.1.0")["outcome"], "rolled-back");
    let until = |node: &Node| node.cli(&["history", "--json"]).exits(0).json()["vetoes"][0]["until"].clone();
    assert!(days_ahead(&until(&node)) > 3000);
    clock.set(0);
    node.wait_for_polls(1);
    assert!((28..=30).contains(&days_ahead(&until(&node))), "{}", until(&node));
    // And a clock that runs ahead ends it: a veto bounds by time, and time is the clock's to tell.
    clock.set(31 * 24 * 3600);
    wait_for(
        || format!("it is tried once more\n{}", node.log()),
        || (node.history().iter().filter(|attempt| attempt["to"] == "1.1.0").count() >= 2).then_some(()),
    );
    host.assert_committed("1.0.0");
}

#[test]
fn l4_doctor_says_that_a_clock_is_wrong() {
    let host = Host::new();
    let clock = WallClock::of(&host);
    let node = clock.node(&host, "one");
    for (ahead, found) in [(0, false), (-10 * YEAR, true), (30 * YEAR, true)] {
        clock.set(ahead);
        let report = node.cli(&["doctor", "--json"]).exits(0).json();
        let checks = report["findings"].as_array().unwrap().iter();
        assert_eq!(checks.filter(|finding| finding["check"] == "clock").count() == 1, found, "{ahead}: {report}");
    }
}

/// The kernel's name for this boot, as the processes of this test see it.
struct Boot(PathBuf);

impl Boot {
    fn new(host: &Host) -> Self {
        let boot = Self(host.path("boot_id"));
        boot.set("11111111-1111-4111-8111-111111111111");
        mount(&["--bind"], &boot.0, Path::new("/proc/sys/kernel/random/boot_id"));
        boot
    }

    fn set(&self, id: &str) {
        fs::write(&self.0, format!("{id}\n")).unwrap();
    }

    /// Everything is gone at once, and the host comes up again: its clock since boot begins anew.
    fn again(&self, node: &mut Node) {
        let pids = node.pids();
        for pid in pids {
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL)
                .ok();
        }
        node.wait_until_it_ends();
        wait_for(|| format!("{:?} are gone", node.pids()), || node.pids().is_empty().then_some(()));
        self.set("22222222-2222-4222-8222-222222222222");
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let seconds: u64 = uptime.split('.').next().unwrap().parse().unwrap();
        let back = seconds.saturating_sub(5);
        node.through(&["unshare", "--time", "--boottime", &format!("-{back}"), "--monotonic", &format!("-{back}")]);
    }
}

fn rebooted_in(state: &str) {
    let host = Host::new();
    let boot = Boot::new(&host);
    let mut node = host.start("one");
    host.releases().publish("1.1.0");
    assert_eq!(reach(&node, state, |trial| trial["progress"] == state)["tries_left"], 2);
    boot.again(&mut node);
    host.assert_committed("1.0.0");
    assert_eq!(node.record().unwrap()["trial"]["progress"], state, "the reboot came too late for this test");
    node.start();
    reach(&node, "a second try", |trial| trial["tries_left"] == 1);
    node.wait_until_it_runs("1.1.0");
    let history = node.history();
    assert_eq!(
        history.iter().filter(|attempt| attempt["to"] == "1.1.0").count(),
        1,
        "one attempt, resumed: {history:?}"
    );
    host.assert_committed("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn l4_a_reboot_while_the_candidate_starts_spends_one_try() {
    with_mounts_of_its_own("clocks::l4_a_reboot_while_the_candidate_starts_spends_one_try", || rebooted_in("starting"));
}

#[test]
fn l4_a_reboot_in_probation_spends_one_try() {
    with_mounts_of_its_own("clocks::l4_a_reboot_in_probation_spends_one_try", || rebooted_in("probation"));
}

#[test]
fn l4_a_reboot_in_the_handoff_spends_one_try() {
    with_mounts_of_its_own("clocks::l4_a_reboot_in_the_handoff_spends_one_try", || rebooted_in("handoff"));
}

#[test]
fn l4_reboots_that_never_end_spend_every_try_and_then_the_old_version_stays() {
    let name = "clocks::l4_reboots_that_never_end_spend_every_try_and_then_the_old_version_stays";
    with_mounts_of_its_own(name, || {
        let mut host = Host::new();
        host.set("trial.tries", "2");
        host.set("trial.probation", "\"5m\"");
        let boot = Boot::new(&host);
        let mut node = host.start("one");
        host.releases().publish("1.1.0");
        for tries_left in [1, 0] {
            reach(&node, "probation", |trial| trial["progress"] == "probation" && trial["tries_left"] == tries_left);
            boot.again(&mut node);
            node.start();
        }
        assert_eq!(node.wait_for_outcome("1.1.0")["outcome"], "rolled-back");
        let verdicts = node.record().unwrap()["verdicts"].clone();
        assert_eq!((&verdicts[0]["kind"], &verdicts[0]["reason"]), (&json!("bad"), &json!("tries-exhausted")));
        node.wait_until_it_runs("1.0.0");
        host.assert_committed("1.0.0");
        host.assert_clean(&["1.0.0"], &[&node]);
    });
}

#[test]
fn l4_a_siblings_lease_of_before_a_reboot_holds_nobody_up() {
    let name = "clocks::l4_a_siblings_lease_of_before_a_reboot_holds_nobody_up";
    with_mounts_of_its_own(name, || {
        let mut host = Host::new();
        host.set("trial.probation", "\"20m\"");
        let boot = Boot::new(&host);
        let mut first = host.start("one");
        host.releases().publish("1.1.0");
        reach(&first, "probation", |trial| trial["progress"] == "probation");
        boot.again(&mut first);
        let lease = fs::read_to_string(host.path("bin/.exuvia/lease.json")).unwrap();
        assert!(lease.contains("11111111-") && lease.contains("\"one\""), "{lease}");

        // Its deadline lies 20 minutes ahead on a clock that has only just begun again.
        host.set("trial.probation", "\"1s\"");
        let mut second = host.node("two");
        let uptime = Duration::from_secs(5);
        assert!(uptime < Duration::from_mins(20));
        second.start();
        second.wait_until_it_runs("1.1.0");
        host.assert_committed("1.1.0");
    });
}

#[test]
fn l4_times_of_the_future_in_the_nodes_own_records_are_due() {
    let mut host = Host::new();
    host.set("rollout.window", "\"2s\"");
    let mut node = host.start("one");
    node.stop();
    let ahead = |span: i64| Timestamp::now().checked_add(SignedDuration::from_secs(span)).unwrap();
    // As a sibling of a host whose clock was ahead leaves it.
    let record = host.path("bin/.exuvia/nodes/two.json");
    let mut sibling: Value =
        serde_json::from_slice(&fs::read(host.path("bin/.exuvia/nodes/one.json")).unwrap()).unwrap();
    let running = sibling["running"].clone();
    let candidate = json!({ "version": "1.1.0", "digest": running["digest"] });
    sibling["verdicts"] = json!([{
        "trial": "1-ab", "candidate": candidate, "from": running, "purpose": "upgrade", "kind": "bad",
        "reason": "exited", "detail": "", "since": ahead(9 * YEAR), "at": ahead(10 * YEAR), "output": "",
    }]);
    fs::write(&record, sibling.to_string()).unwrap();
    host.releases().publish("1.1.0");
    node.start();
    node.wait_until_it_runs("1.1.0");
    host.assert_committed("1.1.0");
}
