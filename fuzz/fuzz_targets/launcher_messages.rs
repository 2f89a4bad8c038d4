//! What launcher and worker say to each other.
#![no_main]

use exuvia::launcher::{ToLauncher, ToWorker};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for message in ToLauncher::decode(bytes) {
        if let ToLauncher::Status(text) = &message {
            assert!(text.chars().count() <= 200 && !text.chars().any(char::is_control));
        }
        assert_eq!(ToLauncher::decode(&message.encode()), [message]);
    }
    for message in ToWorker::decode(bytes) {
        assert_eq!(ToWorker::decode(&message.encode()), [message]);
    }
});
