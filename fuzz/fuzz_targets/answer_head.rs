//! The head of a server's answer: Retry-After, rate limits, Content-Range, validators, links to pages.
#![no_main]

use exuvia::fetch::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u64, &[u8])| {
    let (status, kept, text) = input;
    let fields: Vec<(&[u8], &[u8])> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b':')?;
            Some((&line[..at], line[at + 1..].trim_ascii()))
        })
        .collect();
    fuzzing::head(&fields, 400 + status % 200, kept);
});
