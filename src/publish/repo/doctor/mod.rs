//! Whether a place can hold a repository: each thing that publishing asks of it is tried, in a folder that is removed
//! again. Nothing else is changed, and nobody is kept from changing the repository meanwhile.

mod folder;
mod probes;
mod scratch;
mod store;
mod web;

use jiff::Timestamp;
use url::Url;

pub(super) use folder::examine_folder;
pub use scratch::Scratch;
pub(super) use store::conditional;

use super::place::{Place, PlaceError};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Worth knowing; a repository can be kept here.
    Warn,
    /// A repository cannot be kept here.
    Fail,
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A file is written.
    Write,
    /// It is read back right after.
    Read,
    /// It is written anew, and read.
    Overwrite,
    /// It is listed right after it was written, with its length.
    List,
    /// It is not listed any more right after it was removed.
    ListRemoved,
    /// A file is removed that is not there.
    RemoveMissing,
    /// A file of more than 16 MiB is written, in parts where the place knows parts, and read.
    Large,
    /// The clock of the place beside this host's.
    Clock,
    /// Several create the same object at once, on the condition that there is none.
    Conditional,
    /// Somebody reads while a file is written anew.
    Whole,
    /// Two take the same lock.
    Lock,
    /// Others may read what was written, and nobody else may write.
    Modes,
    /// The public part is read over HTTP, by nobody in particular.
    Public,
    /// What was written is removed again.
    CleanUp,
}

/// What came of one check.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was tried.
    pub point: Point,
    /// How bad it is.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What to do about it; empty where nothing is to be done.
    pub remedy: &'static str,
}

impl Point {
    /// A stable word for scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Overwrite => "overwrite",
            Self::List => "list",
            Self::ListRemoved => "list-removed",
            Self::RemoveMissing => "remove-missing",
            Self::Large => "large",
            Self::Clock => "clock",
            Self::Conditional => "conditional",
            Self::Whole => "whole",
            Self::Lock => "lock",
            Self::Modes => "modes",
            Self::Public => "public",
            Self::CleanUp => "clean-up",
        }
    }
}

impl Grade {
    /// A stable word for scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Check {
    pub(super) fn ok(point: Point, found: impl Into<String>) -> Self {
        Self { point, grade: Grade::Ok, found: found.into(), remedy: "" }
    }

    pub(super) fn warn(point: Point, found: impl Into<String>, remedy: &'static str) -> Self {
        Self { point, grade: Grade::Warn, found: found.into(), remedy }
    }

    pub(super) fn fail(point: Point, found: impl Into<String>, remedy: &'static str) -> Self {
        Self { point, grade: Grade::Fail, found: found.into(), remedy }
    }

    /// An error of the place, which says itself what may help.
    pub(super) fn refused(point: Point, error: &PlaceError) -> Self {
        Self::fail(point, error.to_string(), "")
    }
}

/// Tries everything, and tells each outcome as it comes. With the address of the public part, that is asked for as
/// well. `progress` is told the bytes of the large file.
///
/// Beside a publisher it does no harm: it takes no right to change the repository, and writes nowhere else.
pub fn examine_place(
    place: &dyn Place,
    public: Option<&Url>,
    progress: &mut dyn FnMut(u64),
    tell: &mut dyn FnMut(Check),
) -> Grade {
    let mut worst = Grade::Ok;
    let mut note = |check: Check| {
        worst = worst.max(check.grade);
        tell(check);
    };
    let mut scratch = Scratch::new(place, Timestamp::now());
    probes::examine(&mut scratch, progress, &mut note);
    if let Some(url) = public {
        note(web::examine(place, url));
    }
    note(scratch.clean_up());
    worst
}
