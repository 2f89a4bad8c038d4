//! A published tree that somebody carried here as a tar file.
#![no_main]

use exuvia::fetch::fuzzing;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

#[path = "../tar_sums.rs"]
mod tar_sums;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::tar_bundle(bytes);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    tar_sums::mend(&mut data[..size], seed);
    size
});
