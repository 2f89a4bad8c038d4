use std::error::Error;
use std::process::ExitCode;

use crate::sys::SysError;

/// How a release tool ends, in the numbers that all programs of this package share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something that should not happen.
    Unexpected = 1,
    /// The command line names something that cannot be meant.
    Usage = 2,
    /// A signature, a digest or a rule of the format does not hold.
    Verification = 4,
    /// Somebody else is at work there.
    Busy = 8,
    /// Space, permission, a file that is missing or in the way.
    Storage = 9,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends a release tool.
pub trait ToolError: Error {
    /// The exit code it ends with.
    fn exit(&self) -> Exit;

    /// A stable word for scripts.
    fn kind(&self) -> &'static str {
        match self.exit() {
            Exit::Unexpected => "unexpected",
            Exit::Usage => "usage",
            Exit::Verification => "verification",
            Exit::Busy => "busy",
            Exit::Storage => "storage",
        }
    }
}

impl ToolError for SysError {
    fn exit(&self) -> Exit {
        Exit::Storage
    }
}
