use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::watch;

use super::audience::{Audience, ForAnybody};
use super::leaving::Leaving;
use super::serve;
use super::state::{Activity, State};
use super::status::Status;
use super::{metrics, page};
use crate::upgrade::Engine;

/// What every handler needs.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) engine: Arc<Engine>,
    pub(super) state: Arc<State>,
}

/// The node behind a listener, and where that is bound.
#[derive(Clone, Debug)]
struct Door {
    site: Site,
    bound: Option<SocketAddr>,
}

/// Serves `/` (for people), `/healthz`, `/readyz`, `/metrics` and `/status` until the worker leaves.
pub(super) async fn serve(
    listener: OwnedFd,
    site: Site,
    leaving: watch::Receiver<Option<Leaving>>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(TcpListener::from(listener))?;
    let door = Door { site, bound: listener.local_addr().ok() };
    let router = Router::new()
        .route("/", get(status_page))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .route("/status", get(status))
        .layer(from_fn_with_state(door.clone(), count))
        .with_state(door);
    serve::serve(listener, router, leaving).await
}

/// Counts what was answered, and what failed by this node's own fault.
async fn count(Shared(Door { site, .. }): Shared<Door>, request: Request, next: Next) -> Response {
    let asked = PAGES.into_iter().find(|page| *page == request.uri().path());
    let answer = next.run(request).await;
    // Whatever else strangers ask for is one page: they must not fill the statistics.
    site.state.report.count_page(asked.unwrap_or("other"), answer.status() == StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

const PAGES: [&str; 5] = ["/", "/healthz", "/readyz", "/metrics", "/status"];

async fn status_page(Shared(Door { site, bound }): Shared<Door>, head: HeaderMap) -> Response {
    let audience = Audience::of(bound, &head);
    blocking(move || page::respond(&site, audience)).await
}

async fn readyz(Shared(Door { site, .. }): Shared<Door>) -> Response {
    // The node is ready when its next worker is: who asks on an old connection must not hear otherwise.
    let replaced = site.state.is_replaced();
    match site.state.activity() {
        Activity::Draining if replaced => "ready\n".into_response(),
        Activity::Standby | Activity::Draining => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
        _ => "ready\n".into_response(),
    }
}

async fn metrics_page(Shared(Door { site, .. }): Shared<Door>) -> Response {
    blocking(move || {
        let page = metrics::page(&site.engine, &site.state);
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
    })
    .await
}

async fn status(Shared(Door { site, bound }): Shared<Door>, head: HeaderMap) -> Response {
    let audience = Audience::of(bound, &head);
    blocking(move || {
        let status = Status::gather(&site.engine, &site.state, jiff::Timestamp::now());
        let status = if audience == Audience::Host { status } else { status.for_anybody() };
        Json(status).into_response()
    })
    .await
}

/// Reading the ledger and the records blocks on the disk.
async fn blocking(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
