use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use super::json::{Json, JsonError, Object};
use crate::types::{ChannelError, NameError, RolloutPolicyError, TargetError, VersionError};

/// Why a file is not metadata: what is wrong, and where in it.
#[derive(Debug)]
pub struct FormatError {
    /// From the file's outermost object inwards.
    at: Vec<String>,
    problem: Problem,
}

/// What is wrong with a place in a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file is longer than it may be.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    /// The bytes are not JSON that metadata may consist of.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member that must be there is not.
    #[error("it is missing")]
    Missing,
    /// A value of another type.
    #[error("it must be {0}")]
    Expected(Kind),
    /// Not one of the four types of metadata, or another one than was asked for.
    #[error("its type is not the expected one")]
    Type,
    /// A specification version other than `1.Y` or `1.Y.Z`.
    #[error("it is not a version 1.Y.Z of the TUF specification")]
    SpecVersion,
    /// Not a time in the one form that metadata uses.
    #[error("it is not a time as in 2030-12-31T23:59:59Z")]
    Time,
    /// A keyid stands twice where each may stand once.
    #[error("the keyid {0} stands twice")]
    RepeatedKeyid(String),
    /// A role's name stands twice among its delegator's roles.
    #[error("the role {0:?} stands twice")]
    RepeatedRole(String),
    /// The roles of a root are not exactly the four of the top level.
    #[error("it must hold the roles root, timestamp, snapshot and targets, and no others")]
    TopLevelRoles,
    /// A delegated role without a name, or with one of the top level's.
    #[error("a delegated role may not be named {0:?}")]
    RoleName(String),
    /// Both or neither of two members of which exactly one must be there.
    #[error("exactly one of {0} and {1} must be there")]
    ExactlyOne(&'static str, &'static str),
    /// No digest where at least one must be.
    #[error("it lists no digest")]
    NoDigest,
    /// A number of bits outside 1 to 32.
    #[error("it must be between 1 and 32")]
    BitLength,
    /// Not the name of a product.
    #[error("it {0}")]
    Product(#[from] NameError),
    /// Not a version of a release.
    #[error("it {0}")]
    Version(#[from] VersionError),
    /// Not a target triple.
    #[error("it {0}")]
    TargetTriple(#[from] TargetError),
    /// Not a channel.
    #[error("it {0}")]
    Channel(#[from] ChannelError),
    /// A rollout that nobody can follow.
    #[error("it {0}")]
    Rollout(#[from] RolloutPolicyError),
    /// Not an https address.
    #[error("it is not an https address")]
    Address,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of JSON")]
pub enum Kind {
    Object,
    Array,
    String,
    Boolean,
    /// At least 0, at most 2^64 - 1.
    Length,
    /// At least 1, at most 2^64 - 1.
    Positive,
    /// At least 0, at most 2^32 - 1.
    Small,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Boolean => "true or false",
            Self::Length => "an integer from 0 to 2^64 - 1",
            Self::Positive => "an integer from 1 to 2^64 - 1",
            Self::Small => "an integer from 0 to 2^32 - 1",
        })
    }
}

impl FormatError {
    pub(super) fn new(problem: impl Into<Problem>) -> Self {
        Self { at: Vec::new(), problem: problem.into() }
    }

    pub(super) fn at(name: &str, problem: impl Into<Problem>) -> Self {
        Self::new(problem).under(name)
    }

    /// The same error, seen from one level further out.
    pub(super) fn under(mut self, name: &str) -> Self {
        self.at.insert(0, name.to_owned());
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Where it is: the names of members from the outside inwards.
    #[must_use]
    pub fn place(&self) -> &[String] {
        &self.at
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.at.is_empty() {
            // Names come from outside: shown so that none of them can pretend to be a line of its own.
            write!(f, "{}: ", self.at.join(".").escape_debug())?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for FormatError {}

type Read<T> = Result<T, FormatError>;

/// Takes known members out of an object; what is left is kept as it is, because it is signed too.
#[derive(Debug)]
pub struct Fields(Object);

impl Fields {
    pub(super) fn of(value: Json) -> Read<Self> {
        object(value).map(Self)
    }

    /// The members that nobody took.
    pub(super) fn rest(self) -> Object {
        self.0
    }

    /// A member that stays where it is.
    pub(super) fn peek(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }

    fn take(&mut self, name: &str) -> Read<Json> {
        self.0.remove(name).ok_or_else(|| FormatError::at(name, Problem::Missing))
    }

    /// A member that may be missing. One that is `null` counts as missing, and stays among the rest.
    fn take_optional(&mut self, name: &str) -> Option<Json> {
        match self.0.get(name) {
            None | Some(Json::Null) => None,
            Some(_) => self.0.remove(name),
        }
    }

    /// A member read by `read`.
    pub(super) fn read<T>(&mut self, name: &str, read: impl FnOnce(Json) -> Read<T>) -> Read<T> {
        read(self.take(name)?).map_err(|error| error.under(name))
    }

    /// A member that may be missing, read by `read`.
    pub(super) fn read_optional<T>(&mut self, name: &str, read: impl FnOnce(Json) -> Read<T>) -> Read<Option<T>> {
        self.take_optional(name).map(read).transpose().map_err(|error| error.under(name))
    }
}

pub(super) fn object(value: Json) -> Read<Object> {
    match value {
        Json::Object(object) => Ok(object),
        _ => Err(FormatError::new(Problem::Expected(Kind::Object))),
    }
}

pub(super) fn array(value: Json) -> Read<Vec<Json>> {
    match value {
        Json::Array(items) => Ok(items),
        _ => Err(FormatError::new(Problem::Expected(Kind::Array))),
    }
}

pub(super) fn string(value: Json) -> Read<String> {
    match value {
        Json::String(string) => Ok(string),
        _ => Err(FormatError::new(Problem::Expected(Kind::String))),
    }
}

pub(super) fn strings(value: Json) -> Read<Vec<String>> {
    array(value)?.into_iter().map(string).collect()
}

#[allow(clippy::needless_pass_by_value, reason = "of the same shape as the other readers")]
pub(super) fn boolean(value: Json) -> Read<bool> {
    match value {
        Json::Bool(value) => Ok(value),
        _ => Err(FormatError::new(Problem::Expected(Kind::Boolean))),
    }
}

pub(super) fn length(value: Json) -> Read<u64> {
    match value {
        Json::Integer(number) => number.to_u64(),
        _ => None,
    }
    .ok_or_else(|| FormatError::new(Problem::Expected(Kind::Length)))
}

pub(super) fn small(value: Json) -> Read<u32> {
    length(value)
        .ok()
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| FormatError::new(Problem::Expected(Kind::Small)))
}

/// A text that one of the types of [`crate::types`] reads.
pub(super) fn text<T>(value: Json) -> Read<T>
where
    T: FromStr,
    Problem: From<T::Err>,
{
    string(value)?.parse().map_err(|error: T::Err| FormatError::new(error))
}

pub(super) fn positive(value: Json) -> Read<NonZeroU64> {
    length(value).ok().and_then(NonZeroU64::new).ok_or_else(|| FormatError::new(Problem::Expected(Kind::Positive)))
}

/// The members of an object, each read by `read`, which is told its name.
pub(super) fn members<T>(value: Json, read: impl Fn(&str, Json) -> Read<T>) -> Read<BTreeMap<String, T>> {
    let read = |(name, value): (String, Json)| match read(&name, value) {
        Ok(value) => Ok((name, value)),
        Err(error) => Err(error.under(&name)),
    };
    object(value)?.into_iter().map(read).collect()
}

/// The members of an object, each written by `write`.
pub(super) fn written<T>(members: &BTreeMap<String, T>, write: impl Fn(&T) -> Json) -> Json {
    Json::Object(members.iter().map(|(name, value)| (name.clone(), write(value))).collect())
}

pub(super) fn written_strings(strings: &[String]) -> Json {
    Json::Array(strings.iter().cloned().map(Json::String).collect())
}

/// Whether each text stands once, or else which one does not.
pub(super) fn unique<'a>(texts: impl Iterator<Item = &'a str>) -> Result<(), &'a str> {
    let mut known = BTreeSet::new();
    for text in texts {
        if !known.insert(text) {
            return Err(text);
        }
    }
    Ok(())
}
