//! The control socket, both ways, and what a candidate says of itself: what is understood means the same
//! when it is said again.
#![no_main]

use std::fmt::Debug;

use exuvia::node::{Event, Request};
use exuvia::upgrade::SelfDescription;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn means_the_same<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(heard) = serde_json::from_slice::<T>(bytes) else { return };
    let said = serde_json::to_vec(&heard).expect("what was read can be written");
    assert!(!said.contains(&b'\n'), "a line is one line");
    assert_eq!(serde_json::from_slice::<T>(&said).expect("what was written can be read"), heard);
}

fuzz_target!(|bytes: &[u8]| {
    means_the_same::<Request>(bytes);
    means_the_same::<Event>(bytes);
    means_the_same::<SelfDescription>(bytes);
});
