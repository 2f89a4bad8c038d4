//! Workers that take what they can get: memory, processes, time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Host, Node, wait_for};

fn number(pid: i32, file: &str) -> i32 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"));
    text.unwrap_or_else(|error| panic!("{pid} {file}: {error}")).trim().parse().unwrap()
}

/// The kernel's own order: whoever has the highest score is killed first.
#[track_caller]
fn assert_workers_come_first(node: &Node) {
    let launcher = node.launcher_pid();
    for worker in node.worker_pids() {
        let scores = (number(worker, "oom_score"), number(launcher, "oom_score"));
        assert!(scores.0 > scores.1, "worker and launcher: {scores:?}");
    }
}

#[test]
fn x7_the_kernel_takes_workers_and_candidates_before_their_launcher() {
    let mut host = Host::new();
    host.set("trial.probation", "\"3s\"");
    let node = host.start("one");
    let own = number(std::process::id().cast_signed(), "oom_score_adj");
    assert_eq!(number(node.launcher_pid(), "oom_score_adj"), own, "the launcher is what it was started as");
    assert_workers_come_first(&node);
    host.releases().publish("1.1.0");
    node.wait_for("on trial", |status| status["activity"]["activity"] == "on-trial");
    assert_workers_come_first(&node);
    node.wait_until_it_runs("1.1.0");
    assert_eq!(number(node.launcher_pid(), "oom_score_adj"), own);
    assert_workers_come_first(&node);
}

/// A group of processes with little memory, where the machine lets us make one.
struct LittleMemory(PathBuf);

impl LittleMemory {
    fn new(bytes: u64) -> Option<Self> {
        let name = format!("exuvia-test-{}", std::process::id());
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let below = |controller: &str| {
            own.lines()
                .find_map(|line| line.split_once(controller))
                .map(|(_, path)| path.trim_start_matches('/').to_owned())
        };
        let places = [
            (Path::new("/sys/fs/cgroup/memory").join(below(":memory:").unwrap_or_default()), "memory.limit_in_bytes"),
            (Path::new("/sys/fs/cgroup/memory").to_owned(), "memory.limit_in_bytes"),
            (Path::new("/sys/fs/cgroup").join(below("0::").unwrap_or_default()), "memory.max"),
        ];
        places.into_iter().find_map(|(place, limit)| {
            let group = place.join(&name);
            fs::create_dir(&group).ok()?;
            let group = Self(group);
            fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            // Without swap the end comes at once.
            fs::write(group.0.join("memory.swap.max"), "0").ok();
            Some(group)
        })
    }

    fn add(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for LittleMemory {
    fn drop(&mut self) {
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Where no group can be made, the test before shows whom the kernel would take.
#[test]
fn x7_a_candidate_that_eats_memory_is_killed_alone_and_rolled_back() {
    let Some(group) = LittleMemory::new(400 << 20) else {
        println!("this machine does not let its tests make a memory cgroup: not played");
        return;
    };
    let host = Host::new();
    let node = host.start("one");
    let launcher = node.launcher_pid();
    for pid in node.pids() {
        group.add(pid);
    }
    host.releases().publish_bad("1.1.0", "eats 200");
    let attempt = node.wait_for_outcome("1.1.0");
    assert_eq!(attempt["outcome"], "rolled-back", "{attempt}");
    let reason = attempt["reason"].as_str().unwrap();
    assert!(reason.starts_with("tries-exhausted: ") && reason.contains("SIGKILL"), "{reason}");
    node.wait_until_it_runs("1.0.0");
    assert_eq!(node.launcher_pid(), launcher);
    assert!(Path::new(&format!("/proc/{launcher}")).exists());
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    drop((node, host));
    drop(group);
}

#[test]
fn x7_a_worker_that_heeds_neither_sigterm_nor_the_word_to_leave_is_gone_after_the_drain_time() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "stubborn");
    node.wait_until_it_runs("1.1.0");
    let worker = node.worker_pids()[0];
    kill_process(Pid::from_raw(worker).unwrap(), Signal::TERM).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(node.worker_pids(), [worker], "it ignores that");
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    assert!(!node.worker_pids().contains(&worker));

    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.1.0");
    let begun = Instant::now();
    assert!(node.stop().success());
    // The drain time is a second; a busy machine takes its own.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    wait_for(|| format!("{:?}", node.pids()), || node.pids().is_empty().then_some(()));
}

#[test]
fn x7_what_forks_away_into_a_session_of_its_own_without_its_environment_ends_with_its_worker() {
    let host = Host::new();
    let node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    host.releases().publish_bad("1.1.0", "leaves-a-naked-stray 300");
    assert_eq!(node.wait_for_outcome("1.1.0")["outcome"], "rolled-back");
    node.wait_until_it_runs("1.0.0");
    // Finds no process that is not the node's.
    host.assert_clean(&["1.0.0"], &[&node]);
}
