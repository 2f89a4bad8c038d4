//! The records beside the committed binary: state, policy, lease, nodes.
#![no_main]

use exuvia::install::fuzzing;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (i64, &[u8])| {
    let (second, bytes) = input;
    fuzzing::record(bytes, Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH));
});
