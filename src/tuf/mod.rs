//! Release metadata after The Update Framework (specification 1.0.34, with ML-DSA after TAP 21): which
//! release is the current one, who says so, and until when.
//!
//! A signature says who made a file. It does not say that there is no newer one, that nobody holds
//! newer ones back, or that files belong together. This room answers that, against whoever controls
//! every byte that is received, and against the loss of some keys: see [`metadata`].
//!
//! Everything here is decided on bytes and on a time that are passed in.

mod digests;
mod fields;
mod json;
pub mod metadata;
mod text;

pub use digests::{Digests, Mismatch, Verifier};
pub use fields::{FormatError, Kind, Problem};
pub use json::{Integer, Json, JsonError, Object};
pub use text::canonical;
