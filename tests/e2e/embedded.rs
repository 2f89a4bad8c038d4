//! Another product, built on the library: what `examples/embedded.rs` promises to those who read it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::builds::COUNTER;
use crate::support::host::free_port;
use crate::support::{Host, wait_for};

/// One answer of the counter: the count, and the version that counted.
pub fn count(port: u16) -> (u64, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let (count, version) = body.trim().split_once(' ').unwrap();
    (count.parse().unwrap(), version.to_owned())
}

#[test]
fn another_product_is_upgraded_with_its_data_and_refuses_nobody_meanwhile() {
    let mut host = Host::of(&COUNTER, "1.0.0");
    let port = free_port();
    host.set("job.listen", &format!("[\"127.0.0.1:{port}\"]"));
    let node = host.start("one");
    assert_eq!(count(port), (1, "1.0.0".to_owned()));
    assert_eq!(count(port), (2, "1.0.0".to_owned()));

    host.releases().publish("1.1.0");
    // Every connection is answered, also while no worker runs, and no count is lost or given twice.
    let mut last = 2;
    wait_for(
        || format!("1.1.0 counts\n{}", node.log()),
        || {
            let (now, version) = count(port);
            assert_eq!(now, last + 1);
            last = now;
            (version == "1.1.0").then_some(())
        },
    );
    node.wait_until_it_runs("1.1.0");
    assert_eq!(count(port), (last + 1, "1.1.0".to_owned()));
    let log = node.log();
    let at = |event: &str| log.rfind(event).unwrap_or_else(|| panic!("no {event} in {log}"));
    assert!(at("worker_makes_room") < at("on_trial=true"), "the old one leaves first:\n{log}");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}
