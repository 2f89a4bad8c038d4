//! What must hold of everything of DeltaGlider's that is accepted: doors for the fuzz target, which lives in another
//! package and sees only what is public. Built for fuzzing, and with the tests so that the lints see it.

use std::fs::File;

use super::metadata::Metadata;
use super::vcdiff::{VcdiffError, decode};

/// What a delta makes of a reference of this length; never more than `stated`, and just that where it succeeds.
pub fn delta(delta: &[u8], reference: (&File, u64), stated: u64) -> Result<Vec<u8>, VcdiffError> {
    let mut made = Vec::new();
    let outcome = decode(&mut &delta[..], reference, stated, &mut made);
    assert!(made.len() as u64 <= stated);
    outcome.map(|()| {
        assert_eq!(made.len() as u64, stated);
        made
    })
}

/// A file of metadata: what is accepted has the name that it was asked for, and says so again.
pub fn metadata(bytes: &[u8], name: &str) {
    let Ok(metadata) = Metadata::of_sidecar(bytes) else { return };
    match metadata.describe(name) {
        Ok(described) => assert_eq!(metadata.describe(name).ok(), Some(described)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
