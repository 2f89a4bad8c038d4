use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::time::{millis, parsed, time};
use super::{Ledger, LedgerError};
use crate::rollout::Veto;
use crate::types::{Sha256Digest, Version};

/// How long a failed release is not tried again. A newer release never waits for it, since a veto is
/// for its version alone; so this bounds only how long a node stays away from a release that failed
/// for a reason of the host's own.
pub const VETO_SPAN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A veto to record.
#[derive(Clone, Copy, Debug)]
pub struct NewVeto<'a> {
    /// The version that is not to be tried again.
    pub version: &'a Version,
    /// The binary that failed.
    pub digest: Option<Sha256Digest>,
    /// Why, in a few words.
    pub reason: &'a str,
    /// When it ends by itself; `None`: when somebody lifts it.
    pub until: Option<Timestamp>,
}

impl<'a> NewVeto<'a> {
    /// The veto that a failed trial leaves: it ends after [`VETO_SPAN`].
    #[must_use]
    pub fn after_failure(version: &'a Version, digest: Option<Sha256Digest>, reason: &'a str, now: Timestamp) -> Self {
        Self { version, digest, reason, until: Some(now.saturating_add(VETO_SPAN).unwrap_or(Timestamp::MAX)) }
    }
}

impl Ledger {
    /// Records a veto.
    pub fn veto(&self, veto: &NewVeto<'_>, now: Timestamp) -> Result<(), LedgerError> {
        insert(&self.connection(), veto, now)
    }

    /// The vetoes that hold now. One that was made in the future, by a clock that was ahead, begins
    /// now instead and keeps its length: no clock makes a veto last for ever.
    pub fn active_vetoes(&self, now: Timestamp) -> Result<Vec<Veto>, LedgerError> {
        let connection = self.connection();
        let now = millis(now);
        let ahead = "lifted_ms IS NULL AND since_ms > ?1";
        if connection.prepare_cached(&format!("SELECT 1 FROM veto WHERE {ahead}"))?.exists([now])? {
            let shift = format!("UPDATE veto SET until_ms = ?1 + (until_ms - since_ms), since_ms = ?1 WHERE {ahead}");
            connection.execute(&shift, [now])?;
        }
        let mut statement = connection.prepare_cached(
            "SELECT version, until_ms, reason FROM veto
             WHERE lifted_ms IS NULL AND (until_ms IS NULL OR until_ms > ?1) ORDER BY id",
        )?;
        let rows = statement.query_map([now], |row| {
            let version = parsed::<Version>(row, "version")?;
            let until = row.get::<_, Option<i64>>("until_ms")?.map(time);
            let reason = row.get("reason")?;
            Ok(version.map(|version| Veto { version, until, reason }))
        })?;
        rows.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(LedgerError::from)
    }

    /// Lifts every veto on `version`; whether there was one.
    pub fn lift_veto(&self, version: &Version, now: Timestamp) -> Result<bool, LedgerError> {
        let lifted = self.connection().execute(
            "UPDATE veto SET lifted_ms = ?2
             WHERE version = ?1 AND lifted_ms IS NULL AND (until_ms IS NULL OR until_ms > ?2)",
            params![version.to_string(), millis(now)],
        )?;
        Ok(lifted > 0)
    }
}

pub(super) fn insert(connection: &Connection, veto: &NewVeto<'_>, now: Timestamp) -> Result<(), LedgerError> {
    connection.execute(
        "INSERT INTO veto (version, digest, reason, since_ms, until_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            veto.version.to_string(),
            veto.digest.map(|digest| digest.to_string()),
            veto.reason,
            millis(now),
            veto.until.map(millis)
        ],
    )?;
    Ok(())
}
