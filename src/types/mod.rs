//! Values that are valid by construction: versions, targets, products, digests, limits. No I/O.
//!
//! Each type has a private field and one fallible constructor, so a value that exists has already
//! been checked; nothing further down re-checks it. All of them are plain ASCII without `/`, which
//! is what makes the signature contexts of [`crate::crypto`] injective and file names safe.

mod channel;
mod digest;
mod epochs;
mod format;
mod health;
mod limit;
mod name;
mod node_id;
mod overlap;
mod packing;
mod release_id;
mod release_terms;
mod rollout_policy;
mod target;
mod version;
mod weekly;

pub use channel::{Channel, ChannelError};
pub use digest::{DigestError, KeyId, Sha256Digest};
pub use epochs::{Meets, Migration, StateEpochs};
pub use format::ArchiveFormat;
pub use health::Health;
pub use limit::{ByteLimit, LimitError};
pub use name::{NameError, NodeName, Product};
pub use node_id::{NodeId, NodeIdError};
pub use overlap::Overlap;
pub use packing::Packing;
pub use release_id::ReleaseId;
pub use release_terms::ReleaseTerms;
pub use rollout_policy::{RolloutPolicy, RolloutPolicyError, Wave};
pub use target::{Target, TargetError};
pub use version::{Version, VersionError};
pub use weekly::{WeeklyError, WeeklyWindow};
