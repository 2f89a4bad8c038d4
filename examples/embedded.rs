//! A product that keeps itself up to date: a counter over HTTP, with data that only one process may
//! open at a time. Run it, publish a newer version, and watch the count go on:
//!
//! ```console
//! $ cargo run --example embedded -- --set 'job.listen=127.0.0.1:8080' --set source.listing=/srv/releases run
//! $ curl 127.0.0.1:8080
//! ```

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a job reaches its own files as it likes")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use exuvia::node::axum::{Router, routing::get};
use exuvia::node::{App, JobContext, JobError};

/// What `self-describe` tells, and what a release of this build must be signed as.
const VERSION: &str = match option_env!("EXUVIA_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The public halves of your release keys, from `exuvia-keygen new`. These two protect nothing: their
/// private halves lie beside them.
const KEYS: &[&str] = &[include_str!("../tests/keys/release/a.pem"), include_str!("../tests/keys/release/b.pem")];

fn main() -> ExitCode {
    // Every verb of `exuvia`, for this product: run, upgrade, status, rollback, …
    exuvia::cli::main(&App::new("counter", VERSION, KEYS, job))
}

/// The job: it runs in each worker, and for as long as the worker does.
fn job(context: JobContext) -> Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>> {
    Box::pin(count(context))
}

async fn count(context: JobContext) -> Result<(), JobError> {
    // `App::new` means `Overlap::StopFirst`: the version before has left, so this lock is free.
    let path = context.folder()?.join("count");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.try_lock()?;
    let file = Arc::new(Mutex::new(file));
    let next = move || {
        let file = file.lock().expect("no holder panics");
        let mut bytes = [0; 8];
        let count = file.read_exact_at(&mut bytes, 0).map_or(0, |()| u64::from_be_bytes(bytes)) + 1;
        file.write_all_at(&count.to_be_bytes(), 0).expect("the disk takes eight bytes");
        format!("{count} {VERSION}\n")
    };
    // Open since before this version was: who connects while versions change waits, and is answered.
    let listener = context.take_listener().ok_or("set job.listen, such as [\"127.0.0.1:8080\"]")?;
    // A version that never says so fails its trial, and the one before is started again.
    context.ready();
    Ok(context.serve(listener, Router::new().route("/", get(async move || next()))).await?)
}
