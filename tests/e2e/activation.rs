//! A listening socket that the service manager opened.

use std::fs;
use std::net::{TcpListener, TcpStream};

use crate::embedded::count;
use crate::support::builds::COUNTER;
use crate::support::host::free_port;
use crate::support::{Host, Node, wait_for};

/// Whether anything in that environment speaks of the service manager's sockets.
fn knows_of_sockets(pid: i32) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&environ).split('\0').any(|variable| variable.starts_with("LISTEN_"))
}

/// A listening socket, also when other tests look for a free port in the same moment.
fn bound() -> (TcpListener, u16) {
    let mut ports = std::iter::repeat_with(free_port);
    let bound = ports.find_map(|port| Some((TcpListener::bind(("127.0.0.1", port)).ok()?, port)));
    bound.expect("it goes on for ever")
}

fn started(host: &Host, name: &str) -> (Node, TcpListener) {
    let (socket, port) = bound();
    let mut node = host.node("one");
    let configured = node.port();
    node.moved_to(port);
    node.start_with_socket(socket.try_clone().unwrap(), name);
    node.wait_until_it_serves();
    assert!(TcpStream::connect(("127.0.0.1", configured)).is_err(), "it takes the place of `listen`");
    (node, socket)
}

#[test]
fn a_socket_of_the_service_manager_is_served_through_upgrade_reload_and_restart() {
    let host = Host::new();
    let (mut node, socket) = started(&host, "http");
    // Its worker is not dumpable, and so shows its environment to root alone.
    assert!(node.worker_pids().into_iter().all(|pid| !knows_of_sockets(pid)));
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    node.reload();
    let applied = "exuvia_reloads_total{result=\"applied\"} 1";
    wait_for(|| format!("the reload\n{}", node.log()), || node.get("/metrics")?.1.contains(applied).then_some(()));
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);

    // Who connects while the node restarts waits for it.
    assert!(node.stop().success());
    let waiting = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    node.start_with_socket(socket.try_clone().unwrap(), "http");
    node.wait_until_it_runs("1.1.0");
    drop(waiting);
}

#[test]
fn a_socket_that_is_named_for_the_job_is_the_jobs_and_stays_so_at_a_reload() {
    let host = Host::of(&COUNTER, "1.0.0");
    let (socket, port) = bound();
    let mut node = host.node("one");
    node.start_with_socket(socket, "job");
    assert_eq!(count(port), (1, "1.0.0".to_owned()));
    // Its job cannot overlap: who asks meanwhile waits.
    node.reload();
    wait_for(|| format!("the reload\n{}", node.log()), || node.log().contains("reload_applied").then_some(()));
    assert_eq!(count(port), (2, "1.0.0".to_owned()));
}

#[test]
fn a_socket_is_known_by_its_address_and_one_that_is_for_nothing_is_said_and_closed() {
    let host = Host::new();
    let mut node = host.node("one");
    let (socket, port) = bound();
    node.configure("listen", &format!("\"127.0.0.1:{port}\""));
    node.moved_to(port);
    node.start_with_socket(socket, "node.socket");
    node.wait_until_it_serves();
    assert!(!node.log().contains("socket_not_used"), "{}", node.log());

    let mut other = host.node("two");
    let stray = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stray.local_addr().unwrap();
    other.start_with_socket(stray, "node.socket");
    other.wait_until_it_serves();
    let log = other.log();
    assert!(log.lines().any(|line| line.contains("socket_not_used") && line.contains(&address.to_string())), "{log}");
    assert!(TcpStream::connect(address).is_err(), "closed");
}
