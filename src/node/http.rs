use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::watch;

use super::leaving::Leaving;
use super::metrics;
use super::serve;
use super::state::{Activity, State};
use super::status::Status;
use crate::upgrade::Engine;

/// What every handler needs.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) engine: Arc<Engine>,
    pub(super) state: Arc<State>,
}

/// Serves `/healthz`, `/readyz`, `/metrics` and `/status` until the worker leaves.
pub(super) async fn serve(
    listener: OwnedFd,
    site: Site,
    leaving: watch::Receiver<Option<Leaving>>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(TcpListener::from(listener))?;
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .route("/status", get(status))
        .with_state(site);
    serve::serve(listener, router, leaving).await
}

async fn readyz(Shared(site): Shared<Site>) -> Response {
    // The node is ready when its next worker is: who asks on an old connection must not hear otherwise.
    let replaced = site.state.is_replaced();
    match site.state.activity() {
        Activity::Draining if replaced => "ready\n".into_response(),
        Activity::Standby | Activity::Draining => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
        _ => "ready\n".into_response(),
    }
}

async fn metrics_page(Shared(site): Shared<Site>) -> Response {
    blocking(move || {
        let page = metrics::page(&site.engine, &site.state);
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
    })
    .await
}

async fn status(Shared(site): Shared<Site>) -> Response {
    blocking(move || Json(Status::gather(&site.engine, &site.state)).into_response()).await
}

/// Reading the ledger and the records blocks on the disk.
async fn blocking(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
