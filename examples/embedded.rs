//! A product that keeps itself up to date: a counter over HTTP, with a database that goes forward and
//! back with the version. Run it, publish a newer version, and watch the count go on:
//!
//! ```console
//! $ cargo run --example embedded -- --set 'job.listen=127.0.0.1:8080' --set source.listing=/srv/releases run
//! $ curl 127.0.0.1:8080
//! ```

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use exuvia::node::axum::{Router, routing::get};
use exuvia::node::{App, JobContext, JobError};
use exuvia::state::{Schema, Step};

/// What `self-describe` tells, and what a release of this build must be signed as.
const VERSION: &str = match option_env!("EXUVIA_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The public halves of your release keys, from `exuvia-keygen new`. These two protect nothing: their
/// private halves lie beside them.
const KEYS: &[&str] = &[include_str!("../tests/keys/release/a.pem"), include_str!("../tests/keys/release/b.pem")];

/// The database: its mark, the oldest epoch that this version can migrate from, and every step so far.
const STATE: Schema =
    Schema::new(0x436e_7472, 1, &[Step::Sql("CREATE TABLE count (n INTEGER); INSERT INTO count VALUES (0)")]);

fn main() -> ExitCode {
    // Every verb of `exuvia`, for this product: run, upgrade, status, rollback, …
    exuvia::cli::main(&App::new("counter", VERSION, KEYS, job).with_state(STATE))
}

/// The job: it runs in each worker, and for as long as the worker does.
fn job(context: JobContext) -> Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>> {
    Box::pin(count(context))
}

async fn count(context: JobContext) -> Result<(), JobError> {
    // Made or migrated by now. `App::new` means `Overlap::StopFirst`: the version before has left.
    let database = Arc::new(Mutex::new(context.database()?));
    let next = move || {
        let database = database.lock().expect("no holder panics");
        let next = database.query_row("UPDATE count SET n = n + 1 RETURNING n", [], |row| row.get::<_, i64>(0));
        format!("{} {VERSION}\n", next.expect("the disk takes a number"))
    };
    // Open since before this version was: who connects while versions change waits, and is answered.
    let listener = context.take_listener().ok_or("set job.listen, such as [\"127.0.0.1:8080\"]")?;
    // A version that never says so fails its trial, and the one before is started again.
    context.ready();
    Ok(context.serve(listener, Router::new().route("/", get(async move || next()))).await?)
}
