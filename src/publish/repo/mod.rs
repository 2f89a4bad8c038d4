//! A repository of release metadata (TUF), from its first root to each release: made, signed by several
//! engineers one after the other, and published.
//!
//! ```text
//! public/metadata/   N.root.json, N.targets.json, N.snapshot.json, timestamp.json: what readers are served
//! public/targets/    PRODUCT/VERSION/SHA256.ASSET
//! staged/            drafts that lack signatures: no reader asks for them
//! doctor/            for a moment, what a check of the place writes
//! ```
//!
//! Guarantees, against slips at the release desk, a run that is cut short, and whoever can write there but
//! has no keys:
//! - what is published was verified as clients verify it before anything is built upon it;
//! - nobody signs what this run has not made or shown to them, and root keys are needed for roots alone;
//! - readers see the state before or the state after: everything that a timestamp names is there before
//!   the timestamp is, and what is cut short is finished by the next run with the same bytes;
//! - what a version once was, it stays, also after it was withdrawn.

mod bucket;
mod charter;
mod claim;
mod client;
mod desk;
mod diff;
mod doctor;
mod error;
mod folder;
mod gc;
mod keys;
mod place;
mod releases;
mod roles;
mod settle;
mod sign;
mod status;
mod waves;

pub use bucket::Bucket;
pub use charter::Charter;
pub use client::{ClientError, ClientProblem, ClientReport, verify};
pub use desk::Desk;
pub use diff::Change;
pub use doctor::{Check, Grade, Point, Scratch, examine_place};
pub use error::RepoError;
pub use folder::Folder;
pub use gc::{Gone, Odd, Sweep, Swept};
pub use keys::{Engineer, NamedKey};
pub use place::{Hold, Place, PlaceError, Stored, open_place};
pub use releases::{Edited, Rollout, Terms};
pub use roles::{Init, Rotation};
pub use settle::{Settled, Waiting};
pub use sign::Review;
pub use status::{RoleStatus, Status};
pub use waves::{Span, SpanError, Waves, WavesError};
