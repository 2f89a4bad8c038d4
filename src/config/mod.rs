//! Configuration: files, environment and flags in, checked [`Settings`] out.
//!
//! Guarantees, against slips more than against attackers:
//! - nothing half-understood takes effect: a value of the wrong kind or range is an error that names
//!   the place it came from and what is allowed there;
//! - an unknown key is an error where a person is looking ([`Strictness::Strict`]) and a warning where
//!   a node starts, so that going back to an older version never stops on a key it does not know yet;
//! - no setting names a trusted key or skips a verification: there is none to name;
//! - a file that somebody else may write to is refused.
//!
//! Each key is described once, in [`KEYS`]: parsing, defaults, help and manual are made from it.

mod configuration;
mod draft;
mod error;
mod keys;
mod layers;
mod load;
mod settings;
mod value;

pub use configuration::{Configuration, HANDED_FILES, hand_files, take_files};
pub use error::{BadValue, ConfigError, Origin, ValueError, Warning};
pub use keys::{Fallback, KEYS, Key, key, reference};
pub use layers::{ConfigFile, Input};
pub use load::{Loaded, Strictness, load};
pub use settings::{
    CacheLimits, HealthChecks, Job, Limits, Log, LogFormat, Mirror, Poll, Rollout, Settings, Source, Trial,
};
