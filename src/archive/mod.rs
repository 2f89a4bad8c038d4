//! Release archives: from bytes of unknown origin to one verified binary, as types.
//!
//! `UntrustedArchive` → (signature) → `VerifiedArchive` → (extraction) → `StagedBinary`. Each step
//! takes the value that only the step before can make.
//!
//! Guarantees, against whoever can write to the cache, serve the download, or (for the content of
//! a validly signed archive) packed it badly:
//! - the bytes that are verified are the bytes that are extracted: a private file without a name,
//!   which nobody else can open, rename or exchange;
//! - nothing is decompressed or parsed before a pinned key's signature for exactly this product,
//!   version and target has been found good;
//! - an archive yields exactly one regular file, or nothing at all (see [`extract`]);
//! - what nobody signed ([`foreign_program`]) gives its program to whoever is about to sign it, and to no node;
//! - memory is bounded, whatever the archive's length and whatever it decompresses to.

mod copy;
mod decode;
mod error;
pub mod extract;
#[cfg(feature = "tools")]
mod foreign;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod header;
mod limits;
mod signed;
mod staged;
mod unpacked;

pub use crate::config::Limits;
pub use copy::{Claim, verify_copy};
pub use error::{ArchiveError, ContentError, EntryKind};
#[cfg(feature = "tools")]
pub use foreign::{ForeignError, ForeignProgram, foreign_program};
pub use limits::tar_limit;
pub use signed::{UntrustedArchive, VerifiedArchive};
pub use staged::StagedBinary;
pub use unpacked::Tar;
