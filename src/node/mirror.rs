//! Serves the host's cache to other hosts, by digest.
//!
//! ```text
//! HEAD /v1/files/SHA256            200: it is here; 202: it is underway (see UNDERWAY); 404; 503: busy
//! GET  /v1/files/SHA256            the file
//! GET  /v1/files/SHA256/signature  the signature over it, 3,309 bytes
//! ```
//!
//! Guarantees, against whoever can connect, and whoever can write to the cache:
//! - a file is sent from a private copy that was verified under a pinned key, as before an upgrade: nothing else can
//!   be read through this door, and no name leads anywhere, because a digest is the only one;
//! - connections, transfers, bytes in a second, private copies and their space are bounded, and so is the time that
//!   each of them lasts; beyond that, the answer is 503;
//! - nothing is written because somebody asks: a question costs a look into memory that is half a second old.

mod copies;
mod piped;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Semaphore, watch};

use super::http::Site;
use super::leaving::Leaving;
use super::serve::{Bounds, serve_within};
use crate::cache::{EntryName, Held};
use crate::fetch::UNDERWAY;
use crate::types::Sha256Digest;
use copies::{Copies, NoCopy};
use piped::{Rate, send};

/// How old what is known of the cache may be.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Connections for each file that may be sent at a time: the others ask.
const ASKING: usize = 8;
/// For the head of a request, and the pause before it.
const HEAD: Duration = Duration::from_secs(15);
/// For a connection as a whole.
const LONGEST: Duration = Duration::from_hours(1);

struct Mirror {
    site: Site,
    known: Mutex<Known>,
    copies: Copies,
    transfers: Arc<Semaphore>,
    rate: Arc<Rate>,
}

/// What the cache holds, as it was a moment ago.
#[derive(Default)]
struct Known {
    at: Option<Instant>,
    files: BTreeMap<Sha256Digest, (EntryName, u64)>,
}

/// Serves until the worker leaves.
pub(super) async fn serve(
    listener: OwnedFd,
    site: Site,
    leaving: watch::Receiver<Option<Leaving>>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(TcpListener::from(listener))?;
    let settings = site.engine.settings.mirror.clone();
    let transfers = usize::from(settings.transfers);
    if let Ok(address) = listener.local_addr() {
        tracing::info!(event = "mirror_serves", %address, transfers, rate = settings.rate.get());
    }
    let mirror = Arc::new(Mirror {
        site,
        known: Mutex::default(),
        copies: Copies::default(),
        transfers: Arc::new(Semaphore::new(transfers)),
        rate: Arc::new(Rate::new(settings.rate)),
    });
    let router = Router::new()
        .route("/v1/files/{digest}", get(file).head(question))
        .route("/v1/files/{digest}/signature", get(signature))
        .with_state(mirror.clone());
    let bounds = Bounds { connections: transfers * ASKING, head: Some(HEAD), longest: Some(LONGEST) };
    let forgets = async {
        loop {
            tokio::time::sleep(copies::IDLE / 2).await;
            mirror.copies.forget_idle().await;
        }
    };
    tokio::select! {
        served = serve_within(listener, router, leaving, bounds) => served,
        () = forgets => Ok(()),
    }
}

async fn question(Shared(mirror): Shared<Arc<Mirror>>, Path(digest): Path<String>) -> Response {
    let Ok(digest) = digest.parse() else { return mirror.says(StatusCode::NOT_FOUND) };
    match mirror.find(digest).await {
        Some(_) if mirror.transfers.available_permits() == 0 => mirror.says(StatusCode::SERVICE_UNAVAILABLE),
        Some(_) => mirror.says(StatusCode::OK),
        None => mirror.underway_or_not(digest).await,
    }
}

async fn file(Shared(mirror): Shared<Arc<Mirror>>, Path(digest): Path<String>) -> Response {
    let Ok(digest) = digest.parse() else { return mirror.says(StatusCode::NOT_FOUND) };
    let Ok(permit) = mirror.transfers.clone().try_acquire_owned() else {
        return mirror.says(StatusCode::SERVICE_UNAVAILABLE);
    };
    let held = match mirror.copy(digest).await {
        Ok(held) => held,
        Err(answer) => return answer,
    };
    mirror.count("served");
    let length = held.length();
    let (rate, state) = (mirror.rate.clone(), mirror.site.state.clone());
    let sent = move |bytes| state.counters.add_many("exuvia_mirror_sent_bytes_total", bytes);
    let body = Body::new(send(held, rate, permit, sent));
    answer(length, &format!("\"{digest}\""), body)
}

async fn signature(Shared(mirror): Shared<Arc<Mirror>>, Path(digest): Path<String>) -> Response {
    let Ok(digest) = digest.parse() else { return mirror.says(StatusCode::NOT_FOUND) };
    match mirror.copy(digest).await {
        Ok(held) => {
            mirror.count("served");
            let signature = held.signature().as_bytes().to_vec();
            answer(signature.len() as u64, &format!("\"{digest}.sig\""), signature.into())
        }
        Err(answer) => answer,
    }
}

fn answer(length: u64, tag: &str, body: Body) -> Response {
    let fields = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ETAG, tag.to_owned()),
    ];
    (fields, body).into_response()
}

impl Mirror {
    fn count(&self, result: &'static str) {
        self.site.state.counters.add("exuvia_mirror_requests_total", result);
    }

    fn says(&self, status: StatusCode) -> Response {
        let result = match status {
            StatusCode::OK => "has",
            StatusCode::NOT_FOUND => "lacks",
            _ => "busy",
        };
        self.count(result);
        let mut response = status.into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    async fn underway_or_not(self: &Arc<Self>, digest: Sha256Digest) -> Response {
        let mirror = self.clone();
        let underway = blocking(move || mirror.site.engine.cache.as_ref()?.underway(digest)).await.flatten();
        let Some(underway) = underway else { return self.says(StatusCode::NOT_FOUND) };
        self.count("underway");
        (StatusCode::ACCEPTED, [(UNDERWAY, underway.to_string())]).into_response()
    }

    /// The entry of that digest, if there is one. What is damaged may be among them.
    async fn find(self: &Arc<Self>, digest: Sha256Digest) -> Option<(EntryName, u64)> {
        let mirror = self.clone();
        blocking(move || {
            let mut known = mirror.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.at.is_none_or(|at| at.elapsed() > LOOK_AGAIN) {
                let cache = mirror.site.engine.cache.as_ref()?;
                match cache.by_digest() {
                    Ok(files) => known.files = files,
                    Err(error) => tracing::warn!(event = "cache_unusable", %error),
                }
                known.at = Some(Instant::now());
            }
            known.files.get(&digest).cloned()
        })
        .await
        .flatten()
    }

    /// A private, verified copy of the file with that digest, or what to say instead.
    async fn copy(self: &Arc<Self>, digest: Sha256Digest) -> Result<Arc<Held>, Response> {
        let Some((name, length)) = self.find(digest).await else { return Err(self.underway_or_not(digest).await) };
        self.copies.get(&self.site.engine, &name, digest, length).await.map_err(|no_copy| match no_copy {
            NoCopy::Nothing => self.says(StatusCode::NOT_FOUND),
            NoCopy::Busy => self.says(StatusCode::SERVICE_UNAVAILABLE),
        })
    }
}

/// `None`: the worker is ending.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
