//! Bundles: what a host keeps, in one file, for hosts that are not connected.
//!
//! ```text
//! releases.json                     what is in it, as a release listing
//! PRODUCT/VERSION/ARCHIVE, ….sig    each archive, and the signature over it
//! metadata/N.root.json, …           what the exporting node trusts of release metadata, if it follows any
//! ```
//!
//! Guarantees, against whoever carries it, and whoever can write to the caches at both ends:
//! - what goes in was verified under a pinned key just before, as a private copy, and so is what comes out;
//! - a bundle is there whole or not at all, and never in the place of another file;
//! - being in a bundle makes nothing newer: metadata is verified from the root that came with the program, held
//!   against what the node trusts already, and judged at a time that the operator can see.

mod error;
mod export;
mod import;

pub use error::CarryError;
pub use export::{Export, Exported, LeftOut, export};
pub use import::{Import, Imported, NotImported, import};
