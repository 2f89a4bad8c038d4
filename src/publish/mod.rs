//! What release engineers need and nodes do not: key files, detached signatures, packing, and a
//! check of a published tree as a node would make it.
//!
//! Guarantees, against slips at the release desk and against a half-finished run:
//! - a key file never replaces another, and a private one is readable by its owner alone;
//! - signing and packing read their input once, in bounded memory (patches take more), and notice when it
//!   changes meanwhile;
//! - whatever is published appears whole, the listing last; after a failure nothing new is left;
//! - what a version and target once were, they stay: a published archive is never replaced, not even after it
//!   was withdrawn;
//! - the same binary makes the same archive, byte for byte.

mod check;
pub mod deltaglider;
mod detached;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod key_file;
mod listing;
mod make;
mod pack;
mod pack_error;
mod patches;
mod problem;
pub mod repo;
mod sums;
mod tar_stream;
mod tee;
mod tree;
mod undo;
mod withdraw;

pub use crate::console::{Bar, Exit, ToolError, fail, say, say_json};
pub use check::{CheckError, GoodRelease, TreeReport, check_tree};
pub use detached::{DetachedError, Signed, length_of, sign_file, verify_file};
pub use key_file::{AnyKey, KeyFileError, NewKeyPair, new_key_pair, read_any_key, read_keyring, read_secret_key};
pub use listing::ListingError;
pub use pack::{Pack, Packed, pack, pack_from};
pub use pack_error::PackError;
pub use patches::{Bases, LeftOut, PackedPatch};
pub use problem::{Problem, Reason};
pub use sums::SumsError;
pub use withdraw::{WithdrawError, Withdrawal, withdraw};
