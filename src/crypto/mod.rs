//! Key roles, signature contexts, and ML-DSA-65 that streams.
//!
//! Guarantees, against whoever can change the bytes but has no release key:
//! - a signature counts only for the product, version, target and purpose that its FIPS 204 context
//!   names; the contexts are injective, so no two statements share one;
//! - keys carry their role in their type: a release key cannot verify for another role;
//! - signing and verifying read the message once, in 64 KiB pieces, whatever its length;
//! - private seeds are wiped when dropped and never printed; a signature is checked before it leaves.

mod context;
mod keccak;
mod keyring;
mod public;
mod role;
mod secret;
mod shake256;
mod signature;
#[cfg(all(test, feature = "tools"))]
mod vectors;

pub use context::Context;
pub use keyring::{Keyring, KeyringError};
pub use public::{KeyError, Mu, PublicKey, VerifyError};
pub use role::{NodeSnapshot, Release, ReleaseMetadata, Role};
pub use secret::{SecretKey, SignError};
pub use signature::{Signature, SignatureLength};
