//! The operating system: the only room that touches `std::fs` and raw system calls.
//!
//! Guarantees, against another user and against a same-user process confined to a shared folder:
//! - folders are held by handle and every name is resolved relative to that handle, so exchanging
//!   the folder while we run changes nothing;
//! - a file is opened first and judged on the open handle (kind, owner, links, length), never by
//!   its path; opening cannot block (FIFO) and cannot follow a link;
//! - a file that others read is replaced whole: temporary name in the same folder, explicit mode,
//!   fsync, rename, fsync of the folder. A reader sees the old or the new one, and so does the next
//!   start after a power cut;
//! - nothing here waits without a bound.

#![allow(clippy::disallowed_methods, reason = "this room is where the file system is reached")]

mod clock;
mod dir;
mod error;
mod from_start;
mod lock;
mod new_file;
mod open;
mod operator;

pub use clock::{BootClock, BootId};
pub use dir::{Dir, Loose, PrivateDir};
pub use error::{Refusal, SysError};
pub use from_start::FromStart;
pub use lock::{DirLock, Lock};
pub use new_file::NewFile;
pub use open::CheckedFile;
pub use operator::OperatorFile;
