//! `upgrade --commit-untried`: verified, staged and probed as always, and then committed without a trial.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::args::Cli;
use crate::console::{say, say_json};
use crate::install::{Install, Installed, LeaseOutcome, NodeRecord, START_TRIES};
use crate::launcher::{TryReply, TryRequest};
use crate::ledger::{Ending, Outcome};
use crate::types::Version;
use crate::upgrade::{Ask, Done, Engine, Observer, UpgradeError, Work};

/// A commit takes no longer: after that, a sibling may try.
const SPAN: Duration = Duration::from_mins(1);

/// Goes the whole way to the commit. The caller holds the node's lock.
pub(super) async fn run(
    engine: &Arc<Engine>,
    work: Work,
    now: Timestamp,
    observer: &Observer,
) -> Result<Done, UpgradeError> {
    let done = engine.run(work, now, &Committer { engine: engine.clone() }, observer).await?;
    if let Done::OnTrial { attempt, .. } = &done {
        let reason = Some("committed-untried: an operator skipped the trial");
        let ending = Ending { outcome: Outcome::Upgraded, reason, digest: None, output: None };
        engine.ledger.finish(*attempt, &ending, Timestamp::now())?;
    }
    Ok(done)
}

pub(super) fn tell(cli: &Cli, version: &Version, before: &Version) {
    if cli.json {
        return say_json(&serde_json::json!({ "result": "committed-untried", "from": before, "to": version }));
    }
    say(&format!(
        "{version} is committed, untried; the next `run` starts it. A service manager that runs the rescue before each \
         start puts {before} back after {START_TRIES} starts that fail"
    ));
}

/// Stands in for the launcher: commits what it is asked to try.
struct Committer {
    engine: Arc<Engine>,
}

impl Ask for Committer {
    async fn ask(&self, request: TryRequest) -> TryReply {
        let TryRequest { id, candidate, .. } = request;
        let Engine { install, node, running, .. } = &*self.engine;
        let refused = |error: &dyn std::fmt::Display| TryReply::Refused { id: id.clone(), reason: error.to_string() };
        let epoch = match install.acquire_lease(node, &candidate, SPAN, 1) {
            Ok(LeaseOutcome::Mine { epoch, .. }) => epoch,
            Ok(LeaseOutcome::Held { by, remaining, .. }) => {
                return TryReply::Wait { id, by, seconds: remaining.as_secs() + 1 };
            }
            Err(error) => return refused(&error),
        };
        // The guard comes first: a commit arms it, or does not come about.
        let outcome = install.commit(&candidate, epoch);
        if let Err(error) = install.release_lease(epoch) {
            tracing::warn!(event = "lease_not_released", %error, "it ends by itself");
        }
        match outcome {
            Err(error) => refused(&error),
            // Also one that is not noted yet: the next start does that.
            Ok(_) => match record(install, node, running, &candidate) {
                Ok(()) => TryReply::Accepted { id },
                Err(error) => refused(&error),
            },
        }
    }
}

/// Without a verdict: nobody has found out anything.
fn record(
    install: &Install,
    node: &crate::types::NodeName,
    running: &Installed,
    committed: &Installed,
) -> Result<(), crate::install::InstallError> {
    let record = install.node(node)?;
    let mut record = record.unwrap_or_else(|| NodeRecord::new(running.clone(), 0));
    record.previous = Some(std::mem::replace(&mut record.running, committed.clone()));
    record.trial = None;
    install.write_node(node, &record)
}
