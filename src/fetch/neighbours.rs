//! Files from the mirrors of other hosts, by digest.

use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};
use url::Url;

use super::Progress;
use super::body::Body;
use super::cause::Cause;
use super::error::FetchError;
use super::folder::lost;
use super::http::{Get, Http};
use super::reach::{HostName, Reach, shown};
use super::settings::HttpSettings;
use crate::cache::Underway;
use crate::crypto::{Signature, SignatureLength};
use crate::sys::{FromStart, sha256};
use crate::types::{ByteLimit, Sha256Digest};

/// The mirrors of other hosts. Nothing that they say is trusted: a file has the digest that was asked for, or is
/// none, and what it is worth its signature says.
#[derive(Debug)]
pub struct Neighbours {
    names: Vec<HostName>,
    http: Http,
    /// Those that are not asked, and until when. Kept in this process alone.
    left_out: Mutex<HashMap<SocketAddr, Instant>>,
}

/// What a neighbour says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It has it.
    Has,
    /// It is having it from the origin, or is about to.
    Underway(Underway),
    /// It has it not.
    Lacks,
    /// It sends as much as it may just now, or cannot look.
    Busy,
}

/// Why a neighbour's file is not used. It costs the time that it took, and the neighbour is left out for a while.
#[derive(Debug, thiserror::Error)]
pub enum NeighbourError {
    /// It could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is another file.
    #[error("{url} is not the file with that digest; nothing of it was kept")]
    OtherFile {
        /// The address.
        url: String,
    },
    /// What came as its signature cannot be one.
    #[error("{url} is no signature: {source}")]
    SignatureFile {
        /// The address.
        url: String,
        /// What is wrong.
        source: SignatureLength,
    },
}

/// The header field with which a mirror tells that a file is underway: see [`Underway`].
pub const UNDERWAY: &str = "exuvia-underway";

/// Where mirrors listen if nothing else is said.
const PORT: u16 = 7651;
/// More addresses than that are not asked.
const MOST: usize = 64;
/// How long names may take, and a neighbour may think about a question.
const THINKING: Duration = Duration::from_secs(2);
/// For how long somebody is left out who did not answer, and who lied.
const AWAY: Duration = Duration::from_mins(1);
const LIED: Duration = Duration::from_hours(1);
/// The least that a neighbour must bring.
const RATE: u64 = 64 * 1024;

impl Neighbours {
    /// Those behind these names; `None` where there are none. Opens nothing yet.
    #[must_use]
    pub fn new(names: Vec<HostName>) -> Option<Self> {
        let settings = HttpSettings {
            connect_timeout: THINKING,
            stall_timeout: Duration::from_secs(10),
            minimum_rate: RATE,
            rate_window: Duration::from_secs(10),
            // Another one may do better than the same again.
            attempts: 1,
            ..HttpSettings::default()
        };
        let http = Http::direct(&settings);
        (!names.is_empty()).then(|| Self { names, http, left_out: Mutex::default() })
    }

    /// Asks all of them at once whether they have a file, and returns what those said who answered.
    pub async fn ask(&self, digest: Sha256Digest) -> Result<Vec<(SocketAddr, Reply)>, FetchError> {
        let client = self.http.client(true)?;
        let mut asked = JoinSet::new();
        for address in self.addresses().await {
            let request = client.head(file_url(address, digest)).timeout(THINKING);
            asked.spawn(async move { (address, request.send().await) });
        }
        let mut replies = Vec::new();
        while let Some(answer) = asked.join_next().await {
            let Ok((address, answer)) = answer else { continue };
            match answer.map(|answer| reply(answer.status().as_u16(), answer.headers())) {
                Ok(Some(reply)) => replies.push((address, reply)),
                Ok(None) => self.leave_out(address, AWAY, &"it does not answer as a mirror does"),
                Err(error) => self.leave_out(address, AWAY, &Cause::new(error)),
            }
        }
        Ok(replies)
    }

    /// Has a file from that neighbour, at most `cap` bytes, with the signature that it has for it. The file is
    /// overwritten, has the digest afterwards, and is empty after an error.
    pub async fn fetch(
        &self,
        from: SocketAddr,
        digest: Sha256Digest,
        into: &mut File,
        cap: ByteLimit,
        progress: &mut Progress<'_>,
    ) -> Result<Signature, NeighbourError> {
        let url = file_url(from, digest);
        let reach = reach(&url);
        let signature = self.signature(&url, &reach).await?;
        let within = THINKING + Duration::from_secs(30 + cap.get() / RATE);
        let get = Get { is_last: false, ..Get::new(&url, &reach, cap, within.min(Duration::from_mins(30))) };
        let length = self.http.download_as(get, into, progress).await?;
        let write = |source| FetchError::Write { url: shown(&url), source };
        let copy = into.try_clone().map_err(write)?;
        let found = lost(spawn_blocking(move || Ok(sha256(FromStart::new(&copy, length))))).await?.map_err(write)?;
        if found == digest {
            return Ok(signature);
        }
        into.set_len(0).map_err(write)?;
        Err(NeighbourError::OtherFile { url: shown(&url) })
    }

    async fn signature(&self, file: &Url, reach: &Reach) -> Result<Signature, NeighbourError> {
        let mut url = file.clone();
        url.set_path(&format!("{}/signature", file.path()));
        let get = Get { is_last: false, ..Get::new(&url, reach, Signature::FILE_LIMIT, Duration::from_secs(15)) };
        let mut body = Body::Memory(Vec::new());
        self.http.get(&get, &mut body, &mut |_, _| ()).await?;
        let Body::Memory(bytes) = body else { unreachable!("the body was given as memory") };
        Signature::from_bytes(&bytes).map_err(|source| NeighbourError::SignatureFile { url: shown(&url), source })
    }

    /// Does not ask that one again for a while: what it sent was not what it should have been.
    pub fn distrust(&self, address: SocketAddr, reason: &dyn std::fmt::Display) {
        self.leave_out(address, LIED, reason);
    }

    /// Judges what came of [`Self::fetch`]: whoever is busy is asked again soon, whoever was away a little later.
    pub fn note(&self, address: SocketAddr, error: &NeighbourError) {
        match error {
            NeighbourError::Fetch(FetchError::Status { status: 404 | 503, .. } | FetchError::LeftAlone { .. }) => {}
            NeighbourError::Fetch(error) if error.is_ours() => {}
            NeighbourError::Fetch(FetchError::Connect { .. } | FetchError::BrokenOff { .. }) => {
                self.leave_out(address, AWAY, error);
            }
            _ => self.leave_out(address, LIED, error),
        }
    }

    fn leave_out(&self, address: SocketAddr, span: Duration, reason: &dyn std::fmt::Display) {
        let minutes = span.as_secs() / 60;
        if span >= LIED {
            tracing::warn!(event = "neighbour_left_out", neighbour = %address, minutes, %reason);
        } else {
            tracing::info!(event = "neighbour_left_out", neighbour = %address, minutes, %reason);
        }
        self.left_out().insert(address, Instant::now() + span);
    }

    /// The addresses behind the names, without those left out, in random order.
    async fn addresses(&self) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for name in &self.names {
            let (host, port) = name.parts();
            let looked_up = timeout(THINKING, tokio::net::lookup_host((host, port.unwrap_or(PORT)))).await;
            match looked_up {
                Ok(Ok(addresses)) => found.extend(addresses.take(MOST)),
                Ok(Err(error)) => tracing::warn!(event = "neighbour_unknown", %name, %error, "no address of it"),
                Err(_) => tracing::warn!(event = "neighbour_unknown", %name, "its addresses were not told in time"),
            }
        }
        let now = Instant::now();
        let mut left_out = self.left_out();
        left_out.retain(|_, until| *until > now);
        found.sort_unstable();
        found.dedup();
        // One that counts on this link alone has no place in an address of a file.
        found.retain(|address| !matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0));
        found.retain(|address| !left_out.contains_key(address));
        shuffle(&mut found);
        found.truncate(MOST);
        found
    }

    fn left_out(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So that not all ask the same one first.
fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        // Without randomness the order stays as it is.
        let at = getrandom::u32().map_or(last, |random| random as usize % (last + 1));
        items.swap(at, last);
    }
}

fn reply(status: u16, head: &HeaderMap) -> Option<Reply> {
    match status {
        200 => Some(Reply::Has),
        202 => Some(Reply::Underway(Underway::parse(head.get(UNDERWAY)?.to_str().ok()?)?)),
        404 => Some(Reply::Lacks),
        503 => Some(Reply::Busy),
        _ => None,
    }
}

fn file_url(address: SocketAddr, digest: Sha256Digest) -> Url {
    Url::parse(&format!("http://{address}/v1/files/{digest}")).expect("an address and a digest make one")
}

/// That neighbour, and nobody it redirects to.
fn reach(url: &Url) -> Reach {
    let named = HostName::of(url).into_iter().collect();
    Reach::new(url.clone(), Vec::new(), named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_of_four_and_nothing_else() {
        let head = |text: &str| HeaderMap::from_iter([(UNDERWAY.parse().unwrap(), text.parse().unwrap())]);
        let underway = Underway { rank: 7, begun: true, bytes: 12 };
        assert_eq!(reply(200, &HeaderMap::new()), Some(Reply::Has));
        assert_eq!(reply(202, &head(&underway.to_string())), Some(Reply::Underway(underway)));
        assert_eq!(reply(404, &HeaderMap::new()), Some(Reply::Lacks));
        assert_eq!(reply(503, &HeaderMap::new()), Some(Reply::Busy));
        for (status, head) in [(202, HeaderMap::new()), (202, head("soon")), (301, HeaderMap::new()), (500, head("x"))]
        {
            assert_eq!(reply(status, &head), None, "{status}");
        }
    }

    #[test]
    fn addresses_of_both_kinds_make_an_address_of_a_file() {
        let digest = Sha256Digest::from_bytes([7; 32]);
        for address in ["192.0.2.1:7651", "[2001:db8::1]:80"] {
            let url = file_url(address.parse().unwrap(), digest);
            assert!(url.path().ends_with(&digest.to_string()) && reach(&url).admit(&url, None).is_ok(), "{url}");
        }
    }

    #[tokio::test]
    async fn who_is_left_out_is_not_asked() {
        let neighbours = Neighbours::new(vec!["127.0.0.1:1".parse().unwrap()]).unwrap();
        assert_eq!(neighbours.addresses().await.len(), 1);
        neighbours.distrust("127.0.0.1:1".parse().unwrap(), &"a test");
        assert!(neighbours.addresses().await.is_empty());
        assert!(Neighbours::new(Vec::new()).is_none());
    }
}
