use std::error::Error;
use std::process::ExitCode;

use crate::sys::SysError;

/// How a program ends when it does not end well, in numbers that all programs of this package share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something that should not happen.
    Unexpected = 1,
    /// The command line names something that cannot be meant.
    Usage = 2,
    /// Not possible here: read-only or package-managed install, container image.
    Unsupported = 3,
    /// A signature, a digest or a rule of the format does not hold.
    Verification = 4,
    /// Policy stands against it: pin, pause, veto, downgrade.
    Policy = 5,
    /// The release source, or the way to it.
    Source = 6,
    /// The candidate failed its trial, and the old version runs again.
    RolledBack = 7,
    /// Somebody else is at work there, or something else stood in the way of a verdict: try again.
    Busy = 8,
    /// Space, permission, a file that is missing or in the way.
    Storage = 9,
    /// `upgrade check`: there is an upgrade. Not a failure.
    Available = 100,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends a program.
pub trait ToolError: Error {
    /// The exit code it ends with.
    fn exit(&self) -> Exit;

    /// A stable word for scripts.
    fn kind(&self) -> &'static str {
        match self.exit() {
            Exit::Unexpected => "unexpected",
            Exit::Usage => "usage",
            Exit::Unsupported => "unsupported",
            Exit::Verification => "verification",
            Exit::Policy => "policy",
            Exit::Source => "source",
            Exit::RolledBack => "rolled-back",
            Exit::Busy => "busy",
            Exit::Storage => "storage",
            Exit::Available => "available",
        }
    }
}

impl<E: ToolError + 'static> From<E> for Box<dyn ToolError> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

impl ToolError for SysError {
    fn exit(&self) -> Exit {
        Exit::Storage
    }
}
