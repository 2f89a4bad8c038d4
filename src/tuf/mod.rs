//! Release metadata after The Update Framework (specification 1.0.34, with ML-DSA after TAP 21): which
//! release is the current one, who says so, and until when.
//!
//! A signature says who made a file. It does not say that there is no newer one, that nobody holds
//! newer ones back, or that files belong together. This room answers that, against whoever controls
//! every byte that is received, and against the loss of some keys: see [`metadata`].
//!
//! What is trusted is decided by [`TrustedSet`], on bytes and on a time that are passed in, without I/O.
//! [`Updater`] puts the requests and the files of this host around it.

mod digests;
mod error;
mod fields;
mod json;
pub mod metadata;
mod release;
mod rules;
mod search;
mod text;
mod trusted;
mod updater;

pub use digests::{Digests, Mismatch, Verifier};
pub use error::MetadataError;
pub use fields::{FormatError, Kind, Problem};
pub use json::{Integer, Json, JsonError, Object};
pub use release::{ReleaseDescription, ReleaseError, StateEpochs};
pub use rules::{Limits, Rules};
pub use search::{Search, Step};
pub use text::canonical;
pub use trusted::{Novelty, TrustedSet, WithFinalRoot, WithRoot, WithSnapshot, WithTargets, WithTimestamp};
pub use updater::{
    Answer, MetadataFiles, Refreshed, RemoteFile, Repository, RoleStanding, SetAside, SetAsideReason, Standing, Store,
    UpdateError, Updater, file_name, percent_encoded,
};
