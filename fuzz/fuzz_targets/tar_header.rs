//! The header of a release archive's one entry.
#![no_main]

use exuvia::archive::fuzzing;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

#[path = "../tar_sums.rs"]
mod tar_sums;

fuzz_target!(|bytes: &[u8]| {
    let Some(block) = bytes.first_chunk::<512>() else { return };
    fuzzing::tar_header(block, &"exuvia".parse().expect("a product"));
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    tar_sums::mend(&mut data[..size], seed);
    size
});
