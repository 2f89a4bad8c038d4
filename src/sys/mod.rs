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

mod activation;
mod channel;
mod clock;
mod command;
mod config_file;
mod descent;
mod dir;
mod error;
mod expendable;
mod from_start;
mod handed;
mod listen;
mod lock;
mod new_file;
mod notify;
mod open;
mod operator;
mod pipe;
mod place;
mod private_dir;
mod process;
mod sha256;
mod signals;
mod unit_files;
mod vitals;

pub use activation::{GivenSocket, given_sockets};
pub use channel::{Channel, Message, set_stdin};
pub use clock::{BootClock, BootId, Moment};
pub use command::{can_execute, nothing_to_read, spawn_command};
pub use config_file::{config_files, read_config, running_as_root};
pub use descent::{kill_marked, kill_strays, own_children};
pub use dir::{Dir, Seen, same_file};
pub use error::{Refusal, SysError};
pub use expendable::expendable;
pub use from_start::FromStart;
pub use handed::{hand, take_handed};
pub use listen::{listen, listen_beside, listens_on_port_of};
pub use lock::{DirLock, Lock};
pub use new_file::NewFile;
pub use notify::{notify_reloading, notify_service_manager};
pub use open::CheckedFile;
pub use operator::OperatorFile;
pub use pipe::{OutputPipe, Piece, can_write_now, wait_readable};
pub use place::{Place, Process, container_hint, file_capabilities, file_owner, set_file_capabilities};
pub use private_dir::{Loose, PrivateDir};
pub use process::{
    ChildPid, Exit, Program, Ran, become_subreaper, blames_host, forbid_dumping, own_program, reap, run_bounded,
};
pub use sha256::sha256;
pub use signals::{Arrived, Signals, end_myself_after};
pub use unit_files::UnitFiles;
pub use vitals::{own_descriptors, resident_memory};
