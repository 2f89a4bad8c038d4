//! What must hold of every record of the install folder that is accepted: a door for the fuzz targets,
//! which live in another package and see only what is public. Built for fuzzing, and with the tests so
//! that the lints see it.

use std::fmt::Debug;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::folder::State;
use super::lease::Lease;
use super::policy::Policy;
use super::record::{self, NodeRecord};
use crate::sys::BootClock;

/// A record of any kind.
pub fn record(bytes: &[u8], now: Timestamp) {
    same_again::<State>(bytes);
    same_again::<Policy>(bytes);
    if let Some(lease) = same_again::<Lease>(bytes) {
        let held = lease.remaining(BootClock::now()).unwrap_or_default();
        assert!(held.as_secs() <= 24 * 3600, "a lease that holds for {held:?}");
    }
    if let Some(node) = same_again::<NodeRecord>(bytes) {
        let span = std::time::Duration::from_hours(24);
        for verdict in &node.verdicts {
            let age = now.duration_since(verdict.at).as_secs();
            assert!(!verdict.is_recent(now, span) || (0..=24 * 3600).contains(&age));
        }
        assert!((1..=3).contains(&node.keeps().count()));
        let mut node = node;
        record::trim(&mut node);
        let bytes = record::encode(&node).expect("what was read can be written");
        assert!(record::LIMIT.admits(bytes.len() as u64), "{} bytes", bytes.len());
    }
}

fn same_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = record::encode(&read).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("what was written can be read"), read);
    Some(read)
}
