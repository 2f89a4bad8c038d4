//! What a worker had to do without at its start, and how it gets that without a restart of the node: as soon
//! as it can be had, the launcher lets another worker take over.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::worker::Worker;
use crate::install::Install;
use crate::launcher::ToLauncher;
use crate::ledger::Ledger;
use crate::state;
use crate::sys::{Loose, PrivateDir};
use crate::upgrade::Engine;

/// How often it is looked for, where releases are not looked for more often.
const AGAIN: Duration = Duration::from_secs(10);

impl Worker {
    /// When to look again for what this worker lacks; `None`: it has everything.
    pub(super) fn begin_to_miss(&mut self) {
        let (ledger, install) = (&self.engine.ledger, &self.engine.install);
        let lacks = ledger.stands_in_for().is_some()
            || install.why_detached().is_some()
            || is_unknown(install)
            || self.is_stateless
            || has_lost_state(&self.engine);
        let pause = self.engine.settings.poll.interval.min(AGAIN);
        self.missing = lacks.then(|| Instant::now() + pause);
    }

    /// Looks whether it can be had by now. Whoever calls this has nothing under way.
    pub(super) async fn look_for_what_is_missing(&mut self) {
        self.begin_to_miss();
        let engine = self.engine.clone();
        let wants_state = self.is_stateless;
        let found = tokio::task::spawn_blocking(move || can_have_more(&engine, wants_state)).await.unwrap_or(false);
        if found {
            tracing::info!(event = "worker_asks_for_another", "what it lacks can be had by now");
            self.link.tell(&ToLauncher::Renew);
        }
    }
}

/// Whether this worker may change the install, and its launcher thought at its own start that it may not: nothing
/// is recorded there.
fn is_unknown(install: &Install) -> bool {
    install.why_detached().is_none() && matches!(install.committed(), Ok(None))
}

/// Whether the job's state was removed while the job runs.
fn has_lost_state(engine: &Engine) -> bool {
    let epoch = || state::epoch(&data(engine)?).ok();
    engine.schema.is_some() && epoch() == Some(None)
}

fn data(engine: &Engine) -> Option<PrivateDir> {
    PrivateDir::open_or_create(&engine.settings.data_dir, Loose::RefuseWritable).ok()
}

/// Whether another worker would have something that this one lacks.
fn can_have_more(engine: &Engine, wants_state: bool) -> bool {
    // As the next worker opens it, so that it will.
    let state = || {
        let (data, schema) = (data(engine)?, engine.schema?);
        state::open(&data, &schema, None, false, Timestamp::now()).ok()
    };
    let ledger = || Ledger::open(&data(engine)?, Timestamp::now()).ok();
    let install = || Install::open(&engine.install.committed_path(), &engine.product);
    (engine.ledger.stands_in_for().is_some() && ledger().is_some())
        || (engine.install.why_detached().is_some() && install().is_ok())
        || is_unknown(&engine.install)
        || ((wants_state || has_lost_state(engine)) && state().is_some())
}
