//! What DeltaGlider kept, published again as signed releases.
//!
//! DeltaGlider keeps, in each folder of a bucket, one `reference.bin` and a delta from it for every other file, and
//! what it knows about each in the object's metadata. Nothing of that is signed. So an import recovers a file, holds
//! it against the digest that its metadata state, and packs the program in it as if it came from a build.
//!
//! Guarantees, against whoever can write to the bucket or folder:
//! - a file is published only as its metadata state it, by SHA-256 and length; a delta, a reference or metadata that
//!   do not fit are named with the reason, and everything else is imported all the same;
//! - the reference that was verified is the one that is read: a private copy without a name, by its handle;
//! - lengths are judged before they are believed, memory is bounded, and nothing is decompressed past a limit
//!   (`vcdiff`, [`crate::archive::foreign_program`]);
//! - no name and no digest in the metadata becomes a path; a release is called what the object's own name says.
//!
//! Who could write there chose what was kept there, and the digests with it: the key that signs an import vouches for
//! that. Compare a recovered release with what was built, or with a node that runs it, where that matters.

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod import;
mod metadata;
mod name;
mod recover;
mod shelf;
#[cfg(test)]
mod tests;
mod unrecovered;
mod vcdiff;

pub use import::{Aim, Fate, Import, Outcome, import};
pub use name::NotARelease;
pub use shelf::Shelf;
pub use unrecovered::Unrecovered;
pub use vcdiff::VcdiffError;
