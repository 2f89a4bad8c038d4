use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::time::{millis, parsed, time};
use super::{Ledger, LedgerError};
use crate::types::{KeyId, Version};

/// A release key that a newer version withdrew. Going back to a version that pins it does not bring it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistrustedKey {
    /// The key.
    pub key: KeyId,
    /// The version that pins it no more.
    pub withdrawn_by: Version,
    /// Since when this node does not believe it.
    pub since: Timestamp,
}

const SETTLED_VERSION: &str = "settled_version";
const SETTLED_KEYS: &str = "settled_keys";

impl Ledger {
    /// `version`, which pins these keys, has settled on this node: it was committed, and then served for a
    /// whole probation more. Keys that the newest settled version before it pinned, and that it does not, are
    /// distrusted from now on; they are returned. A version that is older than that one withdraws nothing: it
    /// only knows less.
    pub fn settle_keys(&self, version: &Version, pinned: &[KeyId], now: Timestamp) -> Result<Vec<KeyId>, LedgerError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let newest = read(&transaction, SETTLED_VERSION)?.and_then(|text| text.parse::<Version>().ok());
        if newest.as_ref().is_some_and(|newest| newest >= version) {
            return Ok(Vec::new());
        }
        let before = read(&transaction, SETTLED_KEYS)?.unwrap_or_default();
        let before = before.split_whitespace().filter_map(|key| key.parse::<KeyId>().ok());
        let mut withdrawn = Vec::new();
        for key in before.filter(|key| !pinned.contains(key)) {
            let new = transaction.execute(
                "INSERT OR IGNORE INTO distrusted_key (key, withdrawn_by, since_ms) VALUES (?1, ?2, ?3)",
                params![key.to_string(), version.to_string(), millis(now)],
            )?;
            if new > 0 {
                withdrawn.push(key);
            }
        }
        let keys: Vec<_> = pinned.iter().map(ToString::to_string).collect();
        for (name, value) in [(SETTLED_VERSION, version.to_string()), (SETTLED_KEYS, keys.join(" "))] {
            transaction.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![name, value])?;
        }
        transaction.commit()?;
        Ok(withdrawn)
    }

    /// The keys that were withdrawn, the first one first.
    pub fn distrusted_keys(&self) -> Result<Vec<DistrustedKey>, LedgerError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT key, withdrawn_by, since_ms FROM distrusted_key ORDER BY since_ms, key")?;
        let rows = statement.query_map([], |row| {
            let (key, version) = (parsed::<KeyId>(row, "key")?, parsed::<Version>(row, "withdrawn_by")?);
            let since = time(row.get("since_ms")?);
            Ok(key.zip(version).map(|(key, withdrawn_by)| DistrustedKey { key, withdrawn_by, since }))
        })?;
        rows.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(LedgerError::from)
    }
}

fn read(transaction: &Transaction<'_>, key: &str) -> rusqlite::Result<Option<String>> {
    transaction.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Loose, PrivateDir};
    use crate::types::Sha256Digest;

    fn key(n: u8) -> KeyId {
        hex::encode([n; 32]).parse().unwrap()
    }

    fn ledger(dir: &tempfile::TempDir) -> Ledger {
        let dir = PrivateDir::open_or_create(dir.path().join("data"), Loose::RefuseWritable).unwrap();
        Ledger::open(&dir, Timestamp::now()).unwrap()
    }

    fn settle(ledger: &Ledger, version: &str, keys: &[u8]) -> Vec<KeyId> {
        let keys: Vec<_> = keys.iter().copied().map(key).collect();
        ledger.settle_keys(&version.parse().unwrap(), &keys, Timestamp::now()).unwrap()
    }

    fn distrusted(ledger: &Ledger) -> Vec<KeyId> {
        ledger.distrusted_keys().unwrap().into_iter().map(|distrusted| distrusted.key).collect()
    }

    #[test]
    fn k5_a_key_that_a_newer_version_pins_no_more_is_distrusted_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = ledger(&dir);
        assert_eq!(settle(&ledger, "1.0.0", &[1, 2]), []);
        assert_eq!(settle(&ledger, "1.1.0", &[2, 3]), [key(1)]);
        // Back, and forth again.
        assert_eq!(settle(&ledger, "1.0.0", &[1, 2]), []);
        assert_eq!(settle(&ledger, "1.1.0", &[2, 3]), []);
        assert_eq!(distrusted(&ledger), [key(1)]);
        drop(ledger);
        let ledger = self::ledger(&dir);
        assert_eq!(distrusted(&ledger), [key(1)]);
        assert_eq!(settle(&ledger, "1.2.0", &[3, 4]), [key(2)]);
        assert_eq!(distrusted(&ledger), [key(1), key(2)]);
        assert_eq!(ledger.distrusted_keys().unwrap()[0].withdrawn_by, "1.1.0".parse().unwrap());
    }

    #[test]
    fn k5_an_older_version_withdraws_nothing_that_it_does_not_know_yet() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = ledger(&dir);
        settle(&ledger, "1.1.0", &[2, 3]);
        assert_eq!(settle(&ledger, "1.0.0", &[1, 2]), []);
        assert_eq!(distrusted(&ledger), []);
    }

    #[test]
    fn k5_a_key_that_is_pinned_again_stays_distrusted_by_this_node() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = ledger(&dir);
        settle(&ledger, "1.0.0", &[1, 2]);
        settle(&ledger, "1.1.0", &[2, 3]);
        settle(&ledger, "1.2.0", &[1, 2, 3]);
        assert_eq!(distrusted(&ledger), [key(1)]);
    }

    #[test]
    fn the_first_version_that_settles_withdraws_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = ledger(&dir);
        let _: Sha256Digest = "00".repeat(32).parse().unwrap();
        assert_eq!(settle(&ledger, "3.0.0", &[9]), []);
        assert_eq!(distrusted(&ledger), []);
    }
}
