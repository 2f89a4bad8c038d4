//! The job of the program `exuvia` beside keeping itself up to date: it knows what it has served in its life,
//! over all of its versions.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use exuvia::node::{Fact, JobContext, JobError, Served, idle};
use exuvia::state::rusqlite::{self, Connection, params};
use exuvia::state::{Schema, Step};
use jiff::Timestamp;

/// "EXUS"
pub(crate) const APPLICATION_ID: i32 = 0x4558_5553;

pub(crate) const FIRST_STEP: Step = Step::Sql(
    "
    CREATE TABLE life (
        since_ms INTEGER NOT NULL,
        workers  INTEGER NOT NULL
    ) STRICT;
    INSERT INTO life VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), 0);
    CREATE TABLE served (
        page     TEXT PRIMARY KEY,
        requests INTEGER NOT NULL,
        failed   INTEGER NOT NULL
    ) STRICT;
",
);

pub(crate) const STATE: Schema = Schema::new(APPLICATION_ID, 1, &[FIRST_STEP]);

/// Between two entries. What was served since the last one is lost with a worker that is killed.
const EVERY: Duration = Duration::from_mins(1);

pub(crate) fn job(context: JobContext) -> Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>> {
    Box::pin(keep(context))
}

async fn keep(mut context: JobContext) -> Result<(), JobError> {
    let connection = match context.database() {
        Ok(connection) => connection,
        // No reason for a node not to run.
        Err(error) => {
            tracing::warn!(event = "statistics_not_entered", %error, "serves without them");
            return idle(context).await;
        }
    };
    // What there is can be seen from the first moment on.
    context.show(facts(&connection).unwrap_or_default());
    let mut book = Book { connection, entered: BTreeMap::new() };
    context.ready();
    let mut serves = context.clone();
    tokio::select! {
        () = serves.activated() => {}
        // A candidate that never served has nothing to enter.
        _ = context.stopping() => return Ok(()),
    }
    let mut first = true;
    loop {
        // Statistics are no reason to end: a full disk passes, and what is missing is entered later.
        match book.enter(&context.pages_served(), first) {
            Ok(facts) => {
                first = false;
                context.show(facts);
            }
            Err(error) => tracing::warn!(event = "statistics_not_entered", %error, "tries again"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = context.stopping() => break,
        }
    }
    // What is still being answered now is left out.
    if let Err(error) = book.enter(&context.pages_served(), false) {
        tracing::warn!(event = "statistics_not_entered", %error, "leaves");
    }
    Ok(())
}

struct Book {
    connection: Connection,
    /// What this worker has entered so far.
    entered: BTreeMap<&'static str, Served>,
}

impl Book {
    /// Adds what this worker has served since the last entry: another worker may be adding, too.
    fn enter(&mut self, pages: &[(&'static str, Served)], first: bool) -> rusqlite::Result<Vec<Fact>> {
        let transaction = self.connection.transaction()?;
        transaction.execute("UPDATE life SET workers = workers + ?1", params![first])?;
        for (page, served) in pages {
            let before = self.entered.get(page).copied().unwrap_or_default();
            let more = |now: u64, before: u64| i64::try_from(now.saturating_sub(before)).unwrap_or(i64::MAX);
            transaction.execute(
                "INSERT INTO served VALUES (?1, ?2, ?3) ON CONFLICT (page) DO UPDATE
                 SET requests = requests + excluded.requests, failed = failed + excluded.failed",
                params![page, more(served.requests, before.requests), more(served.failed, before.failed)],
            )?;
        }
        let facts = facts(&transaction)?;
        transaction.commit()?;
        self.entered = pages.iter().copied().collect();
        Ok(facts)
    }
}

fn facts(connection: &Connection) -> rusqlite::Result<Vec<Fact>> {
    let since: i64 = connection.query_row("SELECT since_ms FROM life", [], |row| row.get(0))?;
    let (requests, failed): (i64, i64) =
        connection.query_row("SELECT coalesce(sum(requests), 0), coalesce(sum(failed), 0) FROM served", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let since = Timestamp::from_millisecond(since).map_or_else(|_| "ever".to_owned(), |since| format!("{since:.0}"));
    let value = format!("{requests} requests, {failed} failed, since {since}");
    Ok(vec![Fact { name: "served".to_owned(), value }])
}
