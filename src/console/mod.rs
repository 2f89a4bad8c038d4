//! How every program of this package speaks to a terminal and to scripts: exit codes, one line of
//! JSON, progress bars, errors that end a program.

mod exit;
mod output;

pub use exit::{Exit, ToolError};
pub use output::{Bar, fail, say, say_json};
