use std::fmt;
use std::path::PathBuf;

use crate::sys::SysError;
use crate::types::{LimitError, NameError, WeeklyError};

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// In an environment variable of this name.
    Variable(String),
    /// On the command line.
    CommandLine,
    /// Nowhere: a default of the program.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::CommandLine => f.write_str("the command line"),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// Why there are no settings. What runs keeps the settings it has.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read, or must not be believed.
    #[error("cannot use a configuration file: {0}")]
    File(#[from] SysError),
    /// A file is not UTF-8.
    #[error("{} is not UTF-8 text, and so not TOML; save it as UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// A file is not TOML.
    #[error("{}, line {line}: {} (not valid TOML)", path.display(), source.message())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser says.
        source: Box<toml::de::Error>,
    },
    /// A key that does not exist.
    #[error("{0}")]
    UnknownKey(Box<Warning>),
    /// A value that its key does not take.
    #[error("{0}")]
    Value(Box<BadValue>),
    /// An environment variable of ours is not UTF-8.
    #[error("the environment variable {0} is not UTF-8 text; unset or correct it")]
    VariableNotUtf8(String),
    /// Two sources.
    #[error("{0} and {1} are both set, and a node follows one source; remove one of them")]
    TwoSources(&'static str, &'static str),
    /// Places of files that nothing describes.
    #[error("source.targets is set, but source.tuf is not, so there is nothing that says what lies there; set both")]
    TargetsOfNothing,
    /// Mirrors of nothing.
    #[error(
        "source.mirrors is set, but neither source.listing nor source.tuf is a URL, so there is nothing that they mirror; remove it, or set one of them"
    )]
    MirrorsOfNothing,
    /// A folder has no default, because nothing says where this user's files are.
    #[error("there is no place for {key}: neither {variable} nor HOME is an absolute path. Set one of them, or {key}")]
    NoPlace {
        /// The key that would name the place.
        key: &'static str,
        /// The XDG variable that could.
        variable: &'static str,
    },
}

/// A value that its key does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {key} = {value:?} {problem}; for example {key} = {example}")]
pub struct BadValue {
    /// Where it was written.
    pub origin: Origin,
    /// The key.
    pub key: &'static str,
    /// The value, as written.
    pub value: String,
    /// What is wrong with it.
    pub problem: ValueError,
    /// A value that would do, as TOML.
    pub example: &'static str,
}

/// A key that does not exist: an error in strict mode, a warning otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it was written.
    pub origin: Origin,
    /// The key or variable, as written.
    pub key: String,
    /// The existing one that is most like it, spelled as it would have to be there.
    pub nearest: Option<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Variable(name) => write!(f, "the environment variable {name} is not a setting of this version")?,
            origin => write!(f, "{origin}: {:?} is not a setting of this version", self.key)?,
        }
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// Why a value does not fit its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Wants a string.
    #[error("must be a string in quotes")]
    WantsText,
    /// Wants a number.
    #[error("must be a number, without quotes")]
    WantsNumber,
    /// Wants a list of strings.
    #[error("must be a list of strings (comma-separated outside of files)")]
    WantsList,
    /// Wants a list of weekly windows.
    #[error("must be a list of strings (separated by ; outside of files)")]
    WantsWindows,
    /// Not a weekly window.
    #[error("{0}")]
    Window(WeeklyError),
    /// Not the name of a time zone.
    #[error("must be the name of a time zone in the IANA database")]
    TimeZone,
    /// Not a time span.
    #[error("must be a time such as 30s, 10m or 1h 30m")]
    Duration,
    /// A time span that is zero, negative or too long.
    #[error("must be longer than zero and at most 366 days")]
    DurationRange,
    /// A time span that is negative or too long.
    #[error("must be between 0s and 366 days")]
    WindowRange,
    /// Not a number, or outside its range.
    #[error("must be a number between {0} and {1}")]
    Number(&'static str, &'static str),
    /// Not a whole number, or outside its range.
    #[error("must be a number between 1 and {0}")]
    Count(u8),
    /// Not a size.
    #[error("{0}")]
    Size(LimitError),
    /// Not a node name.
    #[error("{0}")]
    Name(NameError),
    /// Not an address to listen on.
    #[error("must be an IP address with a port, or \"off\"")]
    Address,
    /// Not a list of addresses to listen on.
    #[error("must be a list of at most eight different IP addresses with a port")]
    Addresses,
    /// Not a list of keys.
    #[error("must be a list of different public keys of age, each age1…")]
    Recipients,
    /// Not an absolute path.
    #[error("must be an absolute path")]
    Path,
    /// Neither a URL nor a folder.
    #[error("must be an http(s) URL or an absolute path of a folder")]
    Listing,
    /// Not a repository.
    #[error("must be a repository as owner/name, without an address before it")]
    Repository,
    /// Not a URL, or one with something in it that may be secret.
    #[error("must be an http(s) URL, without user, password, query and fragment")]
    Url,
    /// Not a place of files.
    #[error("must be http(s) URLs of folders, or with {{name}} and {{version}} in them and nothing else in braces")]
    Targets,
    /// Not an address of this host.
    #[error("must be an http(s) URL of this host (localhost, 127.0.0.1 or [::1]), without user and password")]
    OwnUrl,
    /// Not a command.
    #[error("must be a list of a program's absolute path and its arguments")]
    Command,
    /// Not a host.
    #[error("must be host names or addresses, each with an optional :port, without scheme, path or wildcard")]
    Host,
    /// Not one of the words that are allowed.
    #[error("must be one of: {0}")]
    Choice(&'static str),
    /// Not a list of log directives.
    #[error("must be log directives: a level, or target=level, separated by commas")]
    Filter,
}
