//! What a host brings along, and what an upgrade makes of it.

use std::fs::File;

use exuvia::sys::{file_capabilities, set_file_capabilities};

use crate::support::host::names;
use crate::support::{Host, wait_for};

/// `cap_net_bind_service=ep`, as the kernel stores it.
fn bind_low_ports() -> Vec<u8> {
    [0x0200_0001_u32, 1 << 10, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect()
}

#[test]
fn an_upgrade_keeps_file_capabilities_and_tidies_the_cache() {
    let mut host = Host::new();
    host.set("cache.max_size", "\"1KiB\"");
    let value = bind_low_ports();
    let keeps = set_file_capabilities(&File::open(host.binary()).unwrap(), &value).is_ok();
    let node = host.start("one");
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    host.assert_committed("1.1.0");
    if keeps {
        assert_eq!(file_capabilities(&File::open(host.binary()).unwrap()).unwrap(), Some(value));
    }
    wait_for(
        || "the archive is still cached".to_owned(),
        || names(&host.path("cache/entries")).is_empty().then_some(()),
    );
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}
