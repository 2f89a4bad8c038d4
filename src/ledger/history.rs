use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::time::{millis, parsed, time};
use super::{Ledger, LedgerError};
use crate::types::{Sha256Digest, Version};

/// How much of a candidate's output is kept, in bytes: the end of it.
pub const OUTPUT_LIMIT: usize = 16 << 10;

/// Names one attempt, and with it the operation that a command line waits for. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(pub(super) i64);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AttemptId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

/// Values that columns hold by name. A name that only a newer version knows is kept as it is.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(into = "String")]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
            /// Written by a newer version of the program.
            Other(String),
        }

        impl $type {
            /// Its name in records and in JSON.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(name) => name,
                }
            }
        }

        impl From<String> for $type {
            fn from(name: String) -> Self {
                match name.as_str() {
                    $($name => Self::$variant,)*
                    _ => Self::Other(name),
                }
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.as_str().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// What was attempted.
    AttemptKind {
        /// To another release: found by polling, or asked for.
        Upgrade = "upgrade",
        /// Back to a version that this node ran before.
        Rollback = "rollback",
        /// To the version that a sibling committed.
        Adopt = "adopt",
    }
}

named! {
    /// How an attempt ended.
    Outcome {
        /// The node runs the new version.
        Upgraded = "upgraded",
        /// The candidate failed its trial, and the node runs its old version again.
        RolledBack = "rolled-back",
        /// Turned down before anything ran: by policy, or because it did not verify.
        Refused = "refused",
        /// Tried, and ended without a verdict on the candidate; the node runs its old version again.
        Inconclusive = "inconclusive",
        /// Not carried through, for a reason that says nothing about the release.
        Failed = "failed",
        /// Put off.
        Waiting = "waiting",
        /// Cut short from outside: a stop, a reboot.
        Interrupted = "interrupted",
    }
}

/// An attempt that begins.
#[derive(Clone, Debug)]
pub struct NewAttempt<'a> {
    /// What is attempted.
    pub kind: AttemptKind,
    /// The version that runs.
    pub from: &'a Version,
    /// The version to go to.
    pub to: &'a Version,
    /// The binary, where it is known already.
    pub digest: Option<Sha256Digest>,
}

/// How an attempt ends.
#[derive(Clone, Debug)]
pub struct Ending<'a> {
    /// How.
    pub outcome: Outcome,
    /// Why, for people.
    pub reason: Option<&'a str>,
    /// The binary, where it became known.
    pub digest: Option<Sha256Digest>,
    /// What the candidate wrote; the last [`OUTPUT_LIMIT`] bytes are kept.
    pub output: Option<&'a str>,
}

/// A recorded attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// What was attempted.
    pub kind: AttemptKind,
    /// The version that ran.
    pub from: Version,
    /// The version to go to.
    pub to: Version,
    /// The binary.
    pub digest: Option<Sha256Digest>,
    /// The launcher's name for the trial.
    pub trial: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None`: it has not, or was cut off.
    pub finished: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: Option<String>,
    /// The end of the candidate's output.
    pub output: Option<String>,
}

/// Something that happened during an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Its stable name.
    pub name: String,
    /// More, for people.
    pub detail: String,
}

impl Ledger {
    /// Records that an attempt begins.
    pub fn begin_attempt(&self, attempt: &NewAttempt<'_>, now: Timestamp) -> Result<AttemptId, LedgerError> {
        let connection = self.connection();
        connection.execute(
            "INSERT INTO attempt (kind, from_version, to_version, digest, started_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                attempt.kind.as_str(),
                attempt.from.to_string(),
                attempt.to.to_string(),
                attempt.digest.map(|digest| digest.to_string()),
                millis(now)
            ],
        )?;
        Ok(AttemptId(connection.last_insert_rowid()))
    }

    /// Records something that happened during an attempt; whether there is such an attempt.
    pub fn event(&self, id: AttemptId, name: &str, detail: &str, now: Timestamp) -> Result<bool, LedgerError> {
        let recorded = self.connection().execute(
            "INSERT INTO event (attempt, at_ms, name, detail) SELECT id, ?2, ?3, ?4 FROM attempt WHERE id = ?1",
            params![id.0, millis(now), name, detail],
        )?;
        Ok(recorded > 0)
    }

    /// Records how an attempt ended; `false` when it has ended already, which stands, or is unknown.
    pub fn finish(&self, id: AttemptId, ending: &Ending<'_>, now: Timestamp) -> Result<bool, LedgerError> {
        let finished = self.connection().execute(
            "UPDATE attempt SET finished_ms = ?2, outcome = ?3, reason = ?4, digest = coalesce(?5, digest), output = ?6
             WHERE id = ?1 AND finished_ms IS NULL",
            params![
                id.0,
                millis(now),
                ending.outcome.as_str(),
                ending.reason,
                ending.digest.map(|digest| digest.to_string()),
                ending.output.map(tail)
            ],
        )?;
        Ok(finished > 0)
    }

    /// The last attempts, the latest first.
    pub fn attempts(&self, limit: u32) -> Result<Vec<Attempt>, LedgerError> {
        self.select("SELECT * FROM attempt ORDER BY id DESC LIMIT ?1", limit.into())
    }

    /// Attempts that have not ended: the one that runs, or those that a dead process left.
    pub fn open_attempts(&self) -> Result<Vec<Attempt>, LedgerError> {
        self.select("SELECT * FROM attempt WHERE finished_ms IS NULL ORDER BY id DESC LIMIT ?1", u32::MAX.into())
    }

    /// One attempt, with what happened during it.
    pub fn attempt(&self, id: AttemptId) -> Result<Option<(Attempt, Vec<Event>)>, LedgerError> {
        let connection = self.connection();
        let attempt =
            connection.query_row("SELECT * FROM attempt WHERE id = ?1", [id.0], read_attempt).optional()?.flatten();
        let Some(attempt) = attempt else { return Ok(None) };
        let mut statement =
            connection.prepare_cached("SELECT at_ms, name, detail FROM event WHERE attempt = ?1 ORDER BY id")?;
        let events = statement.query_map([id.0], |row| {
            Ok(Event { at: time(row.get("at_ms")?), name: row.get("name")?, detail: row.get("detail")? })
        })?;
        Ok(Some((attempt, events.collect::<Result<_, _>>()?)))
    }

    fn select(&self, query: &str, argument: i64) -> Result<Vec<Attempt>, LedgerError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map([argument], read_attempt)?;
        rows.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(LedgerError::from)
    }
}

/// `None` for a row whose versions this version of the program cannot read.
fn read_attempt(row: &Row<'_>) -> rusqlite::Result<Option<Attempt>> {
    let (Some(from), Some(to)) = (parsed(row, "from_version")?, parsed(row, "to_version")?) else { return Ok(None) };
    Ok(Some(Attempt {
        id: AttemptId(row.get("id")?),
        kind: row.get::<_, String>("kind")?.into(),
        from,
        to,
        digest: parsed(row, "digest")?,
        trial: row.get("trial")?,
        started: time(row.get("started_ms")?),
        finished: row.get::<_, Option<i64>>("finished_ms")?.map(time),
        outcome: row.get::<_, Option<String>>("outcome")?.map(Outcome::from),
        reason: row.get("reason")?,
        output: row.get("output")?,
    }))
}

/// The end of a text, at most [`OUTPUT_LIMIT`] bytes of it.
pub(super) fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(OUTPUT_LIMIT);
    &text[text.ceil_char_boundary(from)..]
}
