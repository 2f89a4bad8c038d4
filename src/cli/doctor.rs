use std::path::Path;
use std::process::ExitCode;

use super::args::Cli;
use super::error::CliError;
use super::session::{committed, for_operator, trust};
use crate::config::Settings;
use crate::console::{Exit, say, say_json};
use crate::doctor::{Facts, Finding, Severity, examine};
use crate::fetch::Local;
use crate::ledger::DistrustedKey;
use crate::node::App;
use crate::types::Target;

/// 0: nothing stands against running and upgrading. 3: it runs, and cannot upgrade itself. 9: it
/// cannot run. Settings that cannot be used end with 2 before anything is looked at.
pub(super) fn doctor(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    let settings = for_operator(app, cli)?;
    app.keyring()?;
    let mut facts = gather(app, &committed()?, &settings)?;
    facts.distrusted = withdrawn(app, &settings);
    let findings = examine(&facts);
    let worst = findings.iter().map(|finding| finding.severity).max();
    if cli.json {
        say_json(&serde_json::json!({
            "can_run": worst != Some(Severity::CannotRun),
            "can_upgrade": worst.is_none_or(|worst| worst == Severity::Note),
            "findings": findings,
        }));
    } else {
        findings.iter().for_each(tell);
        say(match worst {
            None | Some(Severity::Note) => "nothing stands against running and upgrading here",
            Some(Severity::NoUpgrades) => "the node can run here, and cannot upgrade itself: it only tells of releases",
            Some(Severity::CannotRun) => "the node cannot run here",
        });
    }
    Ok(match worst {
        None | Some(Severity::Note) => ExitCode::SUCCESS,
        Some(Severity::NoUpgrades) => Exit::Unsupported.into(),
        Some(Severity::CannotRun) => Exit::Storage.into(),
    })
}

/// The keys of this build that the node does not believe any more. What cannot be looked at is found by the rest.
fn withdrawn(app: &App, settings: &Settings) -> Vec<DistrustedKey> {
    let Ok(Some(trust)) = trust(app, settings) else { return Vec::new() };
    trust.distrusted.into_iter().filter(|distrusted| trust.pinned.contains(&distrusted.key)).collect()
}

fn tell(finding: &Finding) {
    let mark = match finding.severity {
        Severity::Note => "note",
        Severity::NoUpgrades => "no upgrades",
        Severity::CannotRun => "cannot run",
    };
    say(&format!("{mark}: {} [{}]", finding.what, finding.check));
    say(&format!("    why:  {}", finding.why));
    say(&format!("    mend: {}", finding.mend));
}

fn gather(app: &App, committed: &Path, settings: &Settings) -> Result<Facts, CliError> {
    let (product, target) = (app.product()?, Target::of_this_build());
    let local = Local { product: &product, target: &target, root: app.root, shared: None };
    Ok(Facts::gather(committed, settings, &local)?)
}

/// The same at a node's start, for its log. What stands against running is said by what fails.
pub(super) fn warn(app: &App, committed: &Path, settings: &Settings) {
    let Ok(facts) = gather(app, committed, settings) else { return };
    for finding in examine(&facts) {
        let Finding { check, severity, what, mend, .. } = finding;
        if severity == Severity::Note {
            tracing::info!(event = "environment", check, what, mend);
        } else {
            tracing::warn!(event = "environment", check, what, mend);
        }
    }
}
