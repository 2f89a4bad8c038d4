use std::process::ExitCode;

use jiff::Timestamp;

use super::args::Cli;
use super::error::CliError;
use super::follow::no_node_runs;
use super::policy;
use super::session::{data, expect_node, for_operator, install};
use crate::console::{say, say_json};
use crate::fetch::ReleaseSource;
use crate::install::RescueState;
use crate::ledger::DistrustedKey;
use crate::node::{App, Event, Fact, Request, Status, connect};
use crate::tuf::Standing;

pub(super) fn status(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    let settings = for_operator(app, cli)?;
    expect_node(app, &settings)?;
    match connect(&data(&settings)?, &Request::Status) {
        Ok(mut lines) => match lines.next() {
            Some(Ok(Event::Status(status))) if cli.json => say_json(&status),
            Some(Ok(Event::Status(status))) => tell(&status),
            Some(Ok(Event::Failed(failure))) => return Err(CliError::Node(failure)),
            Some(Err(error)) => return Err(CliError::Talk(error)),
            Some(Ok(_)) | None => return Err(CliError::BrokenOff),
        },
        Err(error) if no_node_runs(&error) => {
            let install = install(app, &settings)?;
            let record = install.node(&settings.node)?;
            let policy = install.policy()?;
            let rescue = install.why_detached().is_none().then(|| install.rescue_state());
            let metadata = ReleaseSource::standing_on_disk(&settings);
            if cli.json {
                say_json(&serde_json::json!({
                    "node": settings.node, "activity": { "activity": "stopped" }, "record": record, "policy": policy,
                    "rescue": rescue, "metadata": metadata,
                }));
                return Ok(ExitCode::SUCCESS);
            }
            say(&format!("node       {} is not running; start it with `run`", settings.node));
            if let Some(record) = record {
                say(&format!("version    {}", record.running));
                if let Some(trial) = &record.trial {
                    say(&format!("trial      {trial}"));
                }
            }
            if let Some(reason) = install.why_detached() {
                say(&format!("upgrades   not from here: {reason}"));
            }
            rescue.iter().for_each(tell_rescue);
            metadata.iter().for_each(tell_metadata);
            say(&policy::describe(&policy));
        }
        Err(error) => return Err(CliError::Talk(error)),
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(status: &Status) {
    say(&format!("node       {} ({})", status.node, status.product));
    say(&format!("version    {} for {}", status.running, status.target));
    if let Some(previous) = &status.previous {
        say(&format!("previous   {previous}, where `rollback` goes"));
    }
    match &status.committed {
        Some(committed) if *committed != status.running => say(&format!(
            "committed  {committed}: another node of this install went ahead; this one follows by its own trial"
        )),
        _ => {}
    }
    status.rescue.iter().for_each(tell_rescue);
    say(&format!("doing      {}", status.activity));
    if let Some(vitals) = &status.vitals {
        say(&format!("vitals     {vitals}"));
    }
    for Fact { name, value } in &status.job {
        say(&format!("{name:<10} {value}"));
    }
    if let Some(trial) = &status.trial {
        say(&format!("trial      {trial}"));
        if let Some(before) = &trial.before {
            say(&format!("before it  {before}"));
        }
    }
    if let Some(problem) = &status.ledger_problem {
        say(&format!("history    cannot be opened, so it serves and upgrades to nothing: {problem}"));
    }
    if !status.can_upgrade {
        say("upgrades   not from here: this user cannot replace the binary; `upgrade` says why");
    }
    if let Some(policy) = &status.policy {
        say(&policy::describe(policy));
    }
    match (&status.source, &status.source_problem) {
        (Some(source), _) => say(&format!("source     {source} (trust: {})", status.trust)),
        (None, Some(problem)) => say(&format!("source     none that can be used: {problem}")),
        (None, None) => say("source     none: set source.tuf, source.listing or source.github"),
    }
    status.metadata.iter().for_each(tell_metadata);
    for sibling in &status.siblings {
        let trial = sibling.trial.as_ref().map_or_else(String::new, |trial| format!("; {trial}"));
        say(&format!("sibling    {} runs {}{trial}", sibling.node, sibling.running));
    }
    for DistrustedKey { key, withdrawn_by, since } in &status.distrusted_keys {
        say(&format!("distrusts  key {key}, which {withdrawn_by} withdrew ({since:.0})"));
    }
    if status.distrust_not_applied {
        say("           and believes them all the same: this build pins no other key; go to a newer version");
    }
    if let Some(last) = &status.last_check {
        say(&format!("checked    {:.0}: {}", last.at, last.detail));
    }
    if let Some(next) = status.next_check {
        say(&format!("next look  {next:.0}"));
    }
}

/// How long what is trusted is valid, and that nothing is gone to when it is not.
fn tell_metadata(standing: &Standing) {
    if let Some(role) = standing.expired(Timestamp::now()) {
        say(&format!(
            "metadata   {} {} expired {:.0}: upgrades are frozen until newer metadata comes; the node serves on",
            role.role, role.version, role.expires
        ));
    } else if let Some(role) = standing.first_to_expire() {
        say(&format!("metadata   valid until {:.0}: {} {} expires first", role.expires, role.role, role.version));
    }
}

/// Only what is out of the ordinary.
fn tell_rescue(rescue: &RescueState) {
    if let (Some(binary), Some(against)) = (&rescue.binary, &rescue.guards_against) {
        let starts = match rescue.starts {
            0 => String::new(),
            starts => format!(" (starts so far: {starts})"),
        };
        say(&format!("rescue     {binary}, until {against} has come up from a cold start{starts}"));
    }
    if let Some(last) = &rescue.last {
        say(&format!("rescued    {:.0}: {last}", last.at));
    }
}
