//! Recovery of what other systems stored: their files are read strictly, and written where that shows that
//! the reader is right.
//!
//! Guarantees, against whoever made or changed the file:
//! - nothing appears under its final name before the last check; a failure leaves nothing;
//! - a length is judged before it is believed: no field makes a reader reserve memory, nothing is
//!   decompressed past a limit;
//! - the file ends where its format ends;
//! - a signature counts only under a key of the caller's list, and before anything else is looked at.

mod backupy;
mod error;
mod stigmem;

pub use backupy::{BackupyKey, Decrypted, decrypt_backupy, encrypt_backupy};
pub use error::RecoveryError;
pub use stigmem::{Imported, TrustList, import_stigmem, verify_stigmem};
