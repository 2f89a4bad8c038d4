//! SIGHUP: a new configuration takes effect, or the old one stays; nobody is refused either way.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::port::free_port;
use crate::support::builds::COUNTER;
use crate::support::{Host, Node, wait_for};

/// Waits for a count of `exuvia_reloads_total`.
#[track_caller]
fn reloads(node: &Node, result: &str, count: u32) {
    let line = format!("exuvia_reloads_total{{result=\"{result}\"}} {count}");
    wait_for(
        || format!("{line}\n{:?}\n{}", node.get("/metrics"), node.log()),
        || node.get("/metrics")?.1.contains(&line).then_some(()),
    );
}

#[test]
fn a_reload_opens_closes_and_applies_what_changed_with_a_new_worker() {
    let mut host = Host::new();
    let mut node = host.start_quiet("one");
    let (launcher, workers) = (node.launcher_pid(), node.worker_pids());
    let (before, after) = (node.port(), free_port());
    node.configure("listen", &format!("\"127.0.0.1:{after}\""));
    node.configure("poll.interval", "\"200ms\"");
    node.configure("log.filter", "\"debug\"");
    assert!(node.serves(), "nothing changes before somebody says so");
    node.reload();
    node.moved_to(after);
    reloads(&node, "applied", 1);
    node.wait_for_polls(2);
    wait_for(
        || format!("the old address is closed\n{}", node.log()),
        || TcpStream::connect(("127.0.0.1", before)).is_err().then_some(()),
    );
    assert_eq!(node.launcher_pid(), launcher);
    wait_for(
        || "the old worker leaves".to_owned(),
        || {
            let now = node.worker_pids();
            (now.len() == 1 && now != workers).then_some(())
        },
    );
    // An upgrade, and so the launcher's exec, keeps what the reload brought.
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    reloads(&node, "applied", 1);
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a_listener_moves_to_a_wider_address_of_its_port_and_back_without_a_restart() {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    let (launcher, port) = (node.launcher_pid(), node.port());
    let elsewhere = || TcpStream::connect(("127.0.0.2", port));
    assert!(elsewhere().is_err());
    for (count, (address, wide)) in [("0.0.0.0", true), ("127.0.0.1", false)].into_iter().enumerate() {
        node.configure("listen", &format!("\"{address}:{port}\""));
        node.reload();
        reloads(&node, "applied", u32::try_from(count).unwrap() + 1);
        wait_for(
            || format!("only {address} is open\n{}", node.log()),
            || (node.serves() && elsewhere().is_ok() == wide).then_some(()),
        );
    }
    assert_eq!(node.launcher_pid(), launcher);
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn o1_a_reload_with_a_mistake_changes_nothing_and_names_file_line_and_nearest_key() {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    let workers = node.worker_pids();
    let good = fs::read_to_string(node.config_path()).unwrap();
    let line = good.lines().count() + 1;
    let place = format!("{}, line {line}", node.config_path().display());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let moved = format!("data_dir = \"{}\"", host.path("data/elsewhere").display());
    for (count, (mistake, words)) in [
        ("pol.interval = \"1s\"", [place.as_str(), "poll.interval"]),
        ("log.filter = 7", [place.as_str(), "log.filter"]),
        ("= = =", [place.as_str(), "not valid TOML"]),
        (&format!("job.listen = [\"{taken}\"]"), ["cannot listen on", &taken.to_string()]),
        (&moved, ["data_dir cannot change", "restart"]),
    ]
    .into_iter()
    .enumerate()
    {
        // A key that the file has already is replaced, not repeated.
        let key = mistake.split(' ').next().unwrap();
        let kept: Vec<_> = good.lines().filter(|line| key == "=" || !line.starts_with(&format!("{key} ="))).collect();
        let filler = "#\n".repeat(good.lines().count() - kept.len());
        fs::write(node.config_path(), format!("{}\n{filler}{mistake}\n", kept.join("\n"))).unwrap();
        node.reload();
        reloads(&node, "refused", u32::try_from(count).unwrap() + 1);
        let log = node.log();
        let refusal = log.lines().rfind(|line| line.contains("reload_refused")).unwrap();
        assert!(words.iter().all(|word| refusal.contains(word)), "{words:?} are not in {refusal}");
        assert_eq!(node.worker_pids(), workers, "{mistake}");
        assert!(node.serves());
    }
    assert!(!host.path("data/elsewhere").exists());
    fs::write(node.config_path(), good).unwrap();
    node.reload();
    reloads(&node, "applied", 1);
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn a_reload_whose_worker_never_gets_ready_leaves_the_old_one_serving() {
    let mut host = Host::new();
    host.set("trial.start", "\"2s\"");
    let node = host.start_quiet("one");
    let workers = node.worker_pids();
    let (before, after) = (node.port(), free_port());
    node.configure("listen", &format!("\"127.0.0.1:{after}\""));
    // A folder that others may write to is no place for a worker to start.
    let folder = host.path("data/one");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    node.reload();
    reloads(&node, "failed", 1);
    assert_eq!(node.worker_pids(), workers);
    assert!(node.serves());
    assert!(TcpStream::connect(("127.0.0.1", after)).is_err(), "the new address is closed again");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    node.configure("listen", &format!("\"127.0.0.1:{before}\""));
    node.reload();
    reloads(&node, "applied", 1);
}

#[test]
fn o1_a_file_that_cannot_be_read_stops_neither_a_worker_that_starts_again_nor_an_upgrade() {
    let host = Host::new();
    let node = host.start("one");
    fs::write(node.config_path(), "= = =").unwrap();
    node.reload();
    reloads(&node, "refused", 1);
    let [worker] = node.worker_pids()[..] else { panic!("one worker") };
    node.kill_worker();
    wait_for(
        || format!("another worker serves\n{}", node.log()),
        || (node.serves() && node.worker_pids().first().is_some_and(|pid| *pid != worker)).then_some(()),
    );
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a_reload_that_a_job_cannot_work_with_brings_back_the_one_before() {
    let mut host = Host::of(&COUNTER, "1.0.0");
    let port = free_port();
    host.set("job.listen", &format!("[\"127.0.0.1:{port}\"]"));
    let node = host.start_quiet("one");
    // The job wants a listener, and ends without one.
    node.configure("job.listen", "[]");
    node.reload();
    reloads(&node, "failed", 1);
    wait_for(
        || format!("the job answers\n{}", node.log()),
        || TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()),
    );
    node.configure("job.listen", &format!("[\"127.0.0.1:{port}\"]"));
    node.configure("poll.interval", "\"200ms\"");
    node.reload();
    reloads(&node, "applied", 1);
    node.wait_for_polls(2);
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn a_reload_during_a_trial_follows_when_that_has_ended() {
    let mut host = Host::new();
    host.set("trial.probation", "\"3s\"");
    let node = host.start_quiet("one");
    host.releases().publish("1.1.0");
    node.cli(&["upgrade", "--no-wait"]).exits(0);
    node.reload();
    node.wait_until_it_runs("1.1.0");
    reloads(&node, "applied", 1);
    assert!(node.log().contains("reload_waits"), "{}", node.log());
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a_service_manager_is_told_when_a_reload_begins_and_that_it_has_ended() {
    let host = Host::new();
    let path = host.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let hear = || {
        let mut said = [0; 4096];
        let n = manager.recv(&mut said).expect("the launcher says something");
        String::from_utf8_lossy(&said[..n]).into_owned()
    };
    let hear_until = |wanted: &str| {
        let mut all = Vec::new();
        while !all.last().is_some_and(|said: &String| said.starts_with(wanted)) {
            all.push(hear());
        }
        all
    };
    let mut node = host.node("one");
    node.set_env("NOTIFY_SOCKET", &path);
    node.start();
    hear_until("READY=1");
    let good = fs::read_to_string(node.config_path()).unwrap();
    for mistake in ["", "no.such.key = 1\n"] {
        fs::write(node.config_path(), format!("{good}{mistake}")).unwrap();
        node.reload();
        let begun = hear_until("RELOADING=1").pop().unwrap();
        let (_, micros) = begun.split_once("\nMONOTONIC_USEC=").expect("the time");
        assert!(micros.parse::<u64>().unwrap() > 1_000_000);
        let ended = hear_until("READY=1").pop().unwrap();
        assert_eq!(ended.contains("reload refused"), !mistake.is_empty(), "{ended}");
    }
    assert!(node.stop().success());
    hear_until("STOPPING=1");
}
