//! A snapshot that somebody handed over: everything of its reader but the signature.
#![no_main]

use exuvia::snapshot::fuzzing;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

#[path = "../tar_sums.rs"]
mod tar_sums;

fuzz_target!(|bytes: &[u8]| fuzzing::snapshot(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    tar_sums::mend(&mut data[..size], seed);
    size
});
