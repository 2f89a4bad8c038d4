//! Waiting for a verdict, across the change of worker that every upgrade is.

use std::io;
use std::time::{Duration, Instant};

use super::args::Cli;
use super::error::CliError;
use crate::config::Settings;
use crate::console::{say, say_json};
use crate::install::{Install, VerdictKind};
use crate::ledger::AttemptId;

/// Whether connecting failed because no node runs.
pub(super) fn no_node_runs(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

const PAUSE: Duration = Duration::from_millis(100);

/// Waits until the trial of `attempt` has its verdict in the node's record.
pub(super) fn follow(install: &Install, settings: &Settings, cli: &Cli, attempt: AttemptId) -> Result<(), CliError> {
    let trial = &settings.trial;
    // Every try at its longest, and time for a restart in between.
    let probation = trial.probation.max(trial.longest_probation);
    let checks = settings.health.timeout * 4;
    let patience = (trial.start + probation + trial.handoff + trial.drain + checks + Duration::from_secs(30))
        .saturating_mul(u32::from(trial.tries));
    let begun = Instant::now();
    let prefix = format!("{attempt}-");
    let mut said = None;
    while begun.elapsed() < patience {
        std::thread::sleep(PAUSE);
        // A record that is being replaced just now is there a moment later.
        let Ok(Some(record)) = install.node(&settings.node) else { continue };
        if let Some(verdict) = record.verdicts.iter().rev().find(|verdict| verdict.trial.starts_with(&prefix)) {
            let (version, running) = (verdict.candidate.version.clone(), record.running.version.clone());
            let reason = format!("{}: {}", verdict.reason, verdict.detail);
            return match verdict.kind {
                VerdictKind::Good => {
                    if cli.json {
                        say_json(
                            &serde_json::json!({ "result": "upgraded", "from": verdict.from.version, "to": version }),
                        );
                    } else {
                        say(&format!("runs {version} (before: {})", verdict.from.version));
                    }
                    Ok(())
                }
                VerdictKind::Bad => Err(CliError::RolledBack { version, reason, running }),
                VerdictKind::Inconclusive => Err(CliError::NoVerdict { version, reason, running }),
            };
        }
        if let Some(trial) = &record.trial
            && said != Some(trial.progress)
        {
            said = Some(trial.progress);
            if cli.json {
                say_json(&serde_json::json!({ "progress": trial.progress, "version": trial.candidate.version }));
            } else {
                say(&trial.to_string());
            }
        }
    }
    Err(CliError::OutOfPatience { waited_s: patience.as_secs() })
}
