//! A published tree, as those who publish read it again: the listing and SHA256SUMS.
#![no_main]

use exuvia::publish::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        fuzzing::sums(text);
    }
    fuzzing::listing(bytes);
});
