//! The launcher becomes another version of itself: pid, worker, listeners and lock stay, and nothing that
//! happens in between is lost, wherever it happens.

use std::fs;
use std::time::Duration;

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid as Traced;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::host::digest;
use crate::support::{Host, Node, builds, wait_for};

fn quick() -> Host {
    let mut host = Host::new();
    for (key, value) in [("trial.probation", "\"700ms\""), ("trial.handoff", "\"300ms\""), ("trial.start", "\"20s\"")] {
        host.set(key, value);
    }
    host
}

fn trial(node: &Node) -> Value {
    node.record().map_or(Value::Null, |record| record["trial"].clone())
}

fn reach(node: &Node, state: &str) {
    wait_for(|| format!("{state}\n{}", node.log()), || (trial(node)["progress"] == state).then_some(()));
}

/// The inodes of the sockets that a process listens on, or talks over.
fn sockets(pid: i32) -> Vec<String> {
    let mut found: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string()))
        .filter(|target| target.starts_with("socket:"))
        .collect();
    found.sort();
    found
}

#[test]
fn the_launchers_exec_keeps_its_pid_its_worker_its_lock_and_every_socket() {
    let host = quick();
    let node = host.start("one");
    let launcher = node.launcher_pid();
    host.releases().publish("1.1.0");
    reach(&node, "probation");
    wait_for(|| "the old worker leaves".to_owned(), || (node.worker_pids().len() == 1).then_some(()));
    let (worker, before) = (node.worker_pids(), sockets(launcher));
    node.wait_until_it_runs("1.1.0");
    assert_eq!(node.launcher_pid(), launcher);
    assert_eq!(node.worker_pids(), worker, "adopted, and not started again");
    let after = sockets(launcher);
    let kept = before.iter().filter(|socket| after.contains(socket)).count();
    // Its listeners, and its end of the worker's channel.
    assert!(kept >= 3, "{before:?} {after:?}");
    assert_eq!(
        fs::read_link(format!("/proc/{launcher}/exe")).unwrap().to_str().map(|path| path.contains("1.1.0-")),
        Some(true)
    );
    node.cli(&["run"]).exits(8).says("running already");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

/// Follows the launcher from the record of its handoff, system call by system call. At the `point`th call that
/// differs from the one before, `act` is done, and the launcher let go. Returns how many such points there
/// were until then, or until the commit.
fn step(node: &Node, point: Option<usize>, act: &dyn Fn()) -> usize {
    let pid = Traced::from_raw(node.launcher_pid());
    ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC).unwrap();
    ptrace::interrupt(pid).unwrap();
    let (mut points, mut last, mut entering, mut begun) = (0, String::new(), true, false);
    loop {
        let signal = match waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::PtraceSyscall(_) => {
                entering = !entering;
                if !begun {
                    begun = trial(node)["progress"] == "handoff";
                } else if !entering {
                    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
                    let call = call.split(' ').next().unwrap_or_default().to_owned();
                    let differs = call != last;
                    last = call;
                    if differs {
                        if point == Some(points) {
                            act();
                            break;
                        }
                        points += 1;
                        if point.is_none() && trial(node).is_null() {
                            break;
                        }
                    }
                }
                None
            }
            // Between entry and exit of the call.
            WaitStatus::PtraceEvent(_, _, event) if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 => None,
            WaitStatus::PtraceEvent(..) => {
                entering = true;
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            other => panic!("{other:?}\n{}", node.log()),
        };
        ptrace::syscall(pid, signal).unwrap();
    }
    ptrace::detach(pid, None).unwrap();
    points
}

/// Does `act` at points spread over the whole handoff, each time on a host of its own. `HANDOFF_POINTS` makes it
/// more of them.
fn at_many_points(act: impl Fn(&Node), and_then: impl Fn(&Host, Node)) {
    let wanted = std::env::var("HANDOFF_POINTS").map_or(3, |text| text.parse::<usize>().unwrap());
    let begin = || {
        let host = quick();
        let node = host.start("one");
        host.releases().publish("1.1.0");
        reach(&node, "probation");
        wait_for(|| "the old worker leaves".to_owned(), || (node.worker_pids().len() == 1).then_some(()));
        (host, node)
    };
    let (host, node) = begin();
    let all = step(&node, None, &|| ());
    node.wait_until_it_runs("1.1.0");
    drop((node, host));
    assert!(all > 50, "a handoff takes more than {all} different calls");
    for n in 0..wanted {
        // Not at the same distance: another set of calls in each run.
        let point = (all * n + usize::try_from(getrandom::u32().unwrap()).unwrap() % all) / wanted;
        println!("point {point} of {all}");
        let (host, node) = begin();
        step(&node, Some(point), &|| act(&node));
        and_then(&host, node);
    }
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).ok();
}

#[test]
fn x6_a_stop_in_the_middle_of_a_handoff_is_heeded_wherever_it_comes() {
    let act = |node: &Node| signal(node.launcher_pid(), Signal::TERM);
    at_many_points(act, |host, mut node| {
        assert_eq!(node.wait_until_it_ends().code(), Some(0), "{}", node.log());
        wait_for(|| "its workers leave".to_owned(), || node.pids().is_empty().then_some(()));
        let left = trial(&node);
        if left.is_null() {
            assert_ne!(host.committed(), digest(&builds::exuvia("1.0.0")));
        } else {
            host.assert_committed("1.0.0");
            assert_eq!((&left["progress"], &left["tries_left"]), (&json!("pending"), &json!(3)), "{left}");
        }
        node.start();
        node.wait_until_it_runs("1.1.0");
        host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    });
}

#[test]
fn x6_a_reload_in_the_middle_of_a_handoff_is_heeded_wherever_it_comes() {
    let act = |node: &Node| signal(node.launcher_pid(), Signal::HUP);
    at_many_points(act, |host, node| {
        let launcher = node.launcher_pid();
        wait_for(|| node.log(), || node.log().contains("reload").then_some(()));
        node.wait_until_it_runs("1.1.0");
        assert_eq!(node.launcher_pid(), launcher);
        host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    });
}

#[test]
fn x6_a_worker_that_ends_in_the_middle_of_a_handoff_is_noticed_wherever_it_ends() {
    let act = |node: &Node| {
        for worker in node.worker_pids() {
            signal(worker, Signal::KILL);
        }
    };
    at_many_points(act, |host, node| {
        // It is tried again, unless it had been committed already.
        node.wait_until_it_runs("1.1.0");
        assert_eq!(node.worker_pids().len(), 1);
        assert_eq!(node.wait_for_outcome("1.1.0")["outcome"], "upgraded");
        std::thread::sleep(Duration::from_millis(200));
        host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    });
}
