use std::process::ExitCode;

use jiff::Timestamp;

use super::args::{Cli, History, Unveto};
use super::error::CliError;
use super::session::{data, expect_node, for_operator};
use crate::console::{say, say_json};
use crate::ledger::{Attempt, Ledger};
use crate::node::App;

pub(super) fn history(app: &App, cli: &Cli, args: &History) -> Result<ExitCode, CliError> {
    let settings = for_operator(app, cli)?;
    expect_node(app, &settings)?;
    let ledger = Ledger::open(&data(&settings)?, Timestamp::now())?;
    if let Some(id) = args.attempt {
        let (attempt, events) = ledger.attempt(id)?.ok_or(CliError::NoSuchAttempt(id))?;
        if cli.json {
            say_json(&serde_json::json!({ "attempt": attempt, "events": events }));
            return Ok(ExitCode::SUCCESS);
        }
        say(&line(&attempt));
        for event in events {
            say(&format!("      {:.0}  {} {}", event.at, event.name, event.detail));
        }
        if let Some(output) = attempt.output {
            say("      the end of what the candidate wrote:");
            output.lines().for_each(|line| say(&format!("      | {line}")));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let attempts = ledger.attempts(args.limit)?;
    let vetoes = ledger.active_vetoes(Timestamp::now())?;
    if cli.json {
        let vetoes: Vec<_> = vetoes
            .iter()
            .map(|veto| serde_json::json!({ "version": veto.version, "until": veto.until, "reason": veto.reason }))
            .collect();
        say_json(&serde_json::json!({ "attempts": attempts, "vetoes": vetoes }));
        return Ok(ExitCode::SUCCESS);
    }
    if attempts.is_empty() {
        say("nothing was attempted yet");
    }
    for attempt in &attempts {
        say(&line(attempt));
    }
    for veto in vetoes {
        let until = veto.until.map_or_else(|| "until it is lifted".to_owned(), |until| format!("until {until:.0}"));
        say(&format!("veto  {} is not tried again {until}: {}", veto.version, veto.reason));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lifts the node's veto on a version, whether the node runs or not: its next look heeds it.
pub(super) fn unveto(app: &App, cli: &Cli, Unveto { version }: &Unveto) -> Result<ExitCode, CliError> {
    let settings = for_operator(app, cli)?;
    let ledger = Ledger::open(&data(&settings)?, Timestamp::now())?;
    if !ledger.lift_veto(version, Timestamp::now())? {
        return Err(CliError::NoSuchVeto(version.clone()));
    }
    if cli.json {
        say_json(&serde_json::json!({ "lifted": version }));
    } else {
        say(&format!("lifted: {version} may be tried again from the next look on; `upgrade` looks now"));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(attempt: &Attempt) -> String {
    let outcome = attempt.outcome.as_ref().map_or("under way", |outcome| outcome.as_str());
    let reason = attempt.reason.as_deref().map_or_else(String::new, |reason| format!("  {reason}"));
    format!(
        "{:>4}  {:.0}  {} {} -> {}  {outcome}{reason}",
        attempt.id.to_string(),
        attempt.started,
        attempt.kind,
        attempt.from,
        attempt.to
    )
}
