//! The shared cache: the names of entries, and what is in them.
#![no_main]

use exuvia::cache::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(name) = str::from_utf8(bytes) {
        fuzzing::entry_name(name);
    }
    fuzzing::entry(bytes);
});
