//! Patches: the tar of one release made from the tar of another.
//!
//! `UntrustedPatch` → (signature) → `VerifiedPatch` → (application) → a private file, whose own
//! signature is verified next, as that of any tar. Guarantees, against whoever serves the patch, keeps
//! the base or (for what is validly signed) made the patch badly:
//! - not a byte of a patch is parsed before a pinned key's signature for exactly this product, version,
//!   target and base has been found good;
//! - the lengths of base, result and streams stand in the signed head, and are held against the
//!   limits before anything is decompressed; nothing beyond them is read or written;
//! - memory is the windows of three decompressors (4 MiB each at most) and a few buffers, whatever the lengths;
//! - every instruction makes at least one byte of the result, so time is bounded by its length, too;
//! - a patch that ends early, goes on behind its end, or reaches outside its base makes nothing.

mod apply;
mod base;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod head;
#[cfg(feature = "tools")]
mod make;
mod name;
mod signed;
mod stream;
#[cfg(test)]
mod tests;

pub use error::PatchError;
#[cfg(feature = "tools")]
pub use make::{MakeError, make};
pub use name::{PatchName, tar_signature_name};
pub use signed::{UntrustedPatch, VerifiedPatch};
