//! Snapshots: signed, optionally sealed copies of the job's state, that stock tools can open, too.
//!
//! Guarantees, against whoever can write a snapshot file but has no trusted snapshot key:
//! - a snapshot is believed only when a key from the caller's list signed its manifest, for this product and
//!   node; what stands in the file about its own key counts for nothing, and nothing skips the signature;
//! - the manifest is closed and has one spelling; the tars have one spelling, too: there are no links, no
//!   paths, no second entry, no byte between or behind;
//! - signed lengths bound what is read, decompressed and written; before the signature is checked, at most
//!   68 KiB are looked at;
//! - what is sealed is signed sealed: nothing unauthenticated is decrypted.
//!
//! Against power, kills and full disks: a snapshot appears when it is whole; a restore is announced before it
//! begins, moves the present state aside with its log, deletes nothing, and can be finished by anybody.
//!
//! The ledger and the node's trust are no state: no snapshot holds them, no restore touches them.

mod block;
mod create;
mod database;
mod error;
mod folder;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod keys;
mod manifest;
mod restore;
mod state;
mod tally;
mod unpack;
mod verify;

pub use create::{Creation, Snapshot};
pub use error::{FormatError, SnapshotError};
pub use folder::{Listed, Rehearse, Retention, Snapshots};
pub use id::{SnapshotId, SnapshotIdError};
pub use keys::{Identity, NodeKeys, Recipient, read_identities, read_trusted_keys};
pub use manifest::{Binary, Manifest, Payload, Reason, StoredFile};
pub use restore::{OlderSchema, Restored, Schema, finish_restore, prepared_name, present_schema, swap};
pub use state::{Kind, Role, RoleError, StateFiles, StateFilesError};
pub use verify::{Expectations, UntrustedSnapshot, VerifiedSnapshot, Whose};

const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";
/// No payload needs a larger window to be unpacked: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

fn payload_name(sealed: bool) -> &'static str {
    if sealed { "payload.tar.zst.age" } else { "payload.tar.zst" }
}

/// What long work is doing; progress counts its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Copying a database that nobody has open.
    Copy,
    /// Packing the files of the state.
    Pack,
    /// Writing the snapshot.
    Write,
    /// Checking what a snapshot holds.
    Check,
    /// Unpacking it.
    Unpack,
}
