use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::sys::{Lock, PrivateDir, SysError};
use crate::types::ByteLimit;

/// The longest first line of a shared copy, and the longest entity tag that is kept in it.
const HEAD_LIMIT: usize = 2048;
const ETAG_LIMIT: usize = 512;

/// `now` is sampled before a node does anything else, so a sibling's copy may be a little newer.
const SAMPLING: SignedDuration = SignedDuration::from_secs(5);

/// The last listing of one location, kept where siblings find it.
///
/// One file: a line of JSON, then the listing as it was received. Whoever can write to the folder
/// can plant one; it is bounded, parsed like anything from outside, and believed for a bounded time.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    dir: PrivateDir,
    stem: String,
    limit: ByteLimit,
}

/// What the file holds.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) fetched_at: Timestamp,
    pub(super) etag: Option<HeaderValue>,
    /// The file's own name, where one copy serves for several of them in turn.
    pub(super) name: Option<String>,
    pub(super) body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    fetched_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Why a shared copy is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Sys(#[from] SysError),
    #[error("its first line does not say when it was fetched")]
    Head,
    #[error("it does not hold a release listing")]
    Body,
}

impl Kept {
    pub(super) fn from_bytes(mut body: Vec<u8>) -> Result<Self, Unusable> {
        let end = body.iter().take(HEAD_LIMIT).position(|byte| *byte == b'\n').ok_or(Unusable::Head)?;
        let head: Head = serde_json::from_slice(&body[..end]).map_err(|_| Unusable::Head)?;
        body.drain(..=end);
        let etag = head.etag.map(|text| entity_tag(text.as_bytes()).ok_or(Unusable::Head)).transpose()?;
        Ok(Self { fetched_at: head.fetched_at, etag, name: head.name, body })
    }

    pub(super) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let etag = self.etag.as_ref().and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let mut bytes = serde_json::to_vec(&Head { fetched_at: self.fetched_at, etag, name: self.name.clone() })?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }

    /// Whether it was fetched less than `lifetime` ago. What comes from the future is stale.
    pub(super) fn is_fresh(&self, now: Timestamp, lifetime: std::time::Duration) -> bool {
        let age = now.duration_since(self.fetched_at);
        age >= -SAMPLING && SignedDuration::try_from(lifetime).map_or(true, |lifetime| age < lifetime)
    }
}

impl Shared {
    pub(super) fn new(dir: PrivateDir, location: &str, limit: ByteLimit) -> Self {
        Self { dir, stem: hex::encode(Sha256::digest(location)), limit }
    }

    fn file(&self) -> String {
        format!("{}.listing", self.stem)
    }

    pub(super) fn try_lock(&self) -> Result<Option<Lock>, SysError> {
        self.dir.try_lock(&format!("{}.lock", self.stem))
    }

    /// Reads the copy. One that is not what it should be is removed and said, and is as good as none.
    pub(super) fn load(&self) -> Option<Kept> {
        match self.read() {
            Ok(kept) => Some(kept),
            Err(Unusable::Sys(error)) if error.is_not_found() => None,
            Err(reason) => {
                self.discard(&reason);
                None
            }
        }
    }

    fn read(&self) -> Result<Kept, Unusable> {
        let limit = ByteLimit::bytes(self.limit.get().saturating_add(HEAD_LIMIT as u64));
        Kept::from_bytes(self.dir.read(&self.file(), limit)?)
    }

    /// Removes the copy, whatever it is.
    pub(super) fn discard(&self, reason: &Unusable) {
        tracing::warn!(
            event = "listing_shared_discarded",
            file = %self.file(),
            "the shared release listing is of no use and is fetched anew: {reason}"
        );
        if let Err(error) = self.dir.remove_tree(&self.file()) {
            tracing::warn!(event = "listing_shared_stuck", "{error}; siblings cannot share listings until it is gone");
        }
    }

    /// Keeps a listing for siblings, atomically. Failing to is no reason to fail: it is said.
    pub(super) fn store(&self, kept: &Kept) {
        // What a killed writer left. Siblings that write just now are not disturbed.
        let _ = self.dir.sweep();
        let outcome = kept.to_bytes().map(|bytes| self.dir.replace(&self.file(), &bytes, 0o600));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(event = "listing_not_shared", "{error}; siblings fetch the release listing themselves");
            }
            Err(error) => tracing::warn!(event = "listing_not_shared", "cannot describe the release listing: {error}"),
        }
    }
}

/// An entity tag that may be kept and sent back: printable, and not too long.
pub(super) fn entity_tag(text: &[u8]) -> Option<HeaderValue> {
    let plain = !text.is_empty() && text.len() <= ETAG_LIMIT && text.iter().all(|byte| matches!(byte, 0x20..=0x7e));
    plain.then(|| HeaderValue::from_bytes(text).ok()).flatten()
}
