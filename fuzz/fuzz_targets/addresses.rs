//! Addresses in listings and redirects: none leads to a host that was not configured, nor out of a
//! bundle. Lines: the listing's own address, the address to judge, configured hosts.
#![no_main]

use exuvia::fetch::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let own = lines.next().unwrap_or_default();
    let address = lines.next().unwrap_or_default();
    let hosts: Vec<&str> = lines.take(4).collect();
    fuzzing::addresses(own, &hosts, address);
});
