//! The copy of a listing that a sibling left in the shared cache.
#![no_main]

use exuvia::fetch::fuzzing;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (i64, &[u8])| {
    let (second, bytes) = input;
    fuzzing::kept_listing(bytes, Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH));
});
