//! `.exuvia/rescue recover`: what a service manager runs before each start, and after each end.
//!
//! It reads no configuration, opens no socket and asks the committed binary nothing: whatever is wrong with
//! those is what it is for.

use std::env;
use std::process::ExitCode;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use super::args::{Cli, Recover};
use super::error::CliError;
use crate::console::{Exit, say, say_json};
use crate::install::{Binary, Install, START_TRIES, StartCheck, StartEnd};
use crate::node::App;
use crate::sys::SysError;
use crate::types::NodeName;

pub(super) fn recover(app: &App, cli: &Cli, args: &Recover) -> Result<ExitCode, CliError> {
    let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info")).with_writer(std::io::stderr);
    lines.with_target(false).with_ansi(false).try_init().ok();
    let committed = std::path::absolute(&args.committed).map_err(|error| SysError::read_of(&args.committed, error))?;
    let install = Install::open(&committed, &app.product()?)?;
    // The configuration may name the node otherwise; then this is but the name of its starts.
    let node = cli.node.clone().unwrap_or_else(|| NodeName::from_str("default").expect("it is a name"));
    let invocation = env::var("INVOCATION_ID").ok();
    if args.ended {
        let variable = |name| env::var(name).unwrap_or_default();
        let (result, status) = (variable("SERVICE_RESULT"), variable("EXIT_STATUS"));
        if let Some(end) = judge(&result, &status) {
            install.note_end(&node, invocation.as_deref(), end)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let check = install.check_start(&Binary::running()?, &node, invocation.as_deref(), args.now)?;
    match &check {
        StartCheck::Nothing => {}
        StartCheck::Counted { against, start } => {
            tracing::info!(event = "start_counted", version = %against.version, start, of = START_TRIES);
        }
        StartCheck::PutBack(put_back) => {
            tracing::error!(event = "rescue_put_back", failed = %put_back.failed, restored = %put_back.restored);
        }
    }
    if cli.json {
        say_json(&check);
    } else {
        say(&match check {
            StartCheck::Nothing if args.now => {
                "there is nothing to put back: what is committed has come up before; `rollback` goes to the version before"
                    .to_owned()
            }
            StartCheck::Nothing => "what is committed has come up before; it is started as it is".to_owned(),
            StartCheck::Counted { against, start } => {
                format!("{against} has not come up from a cold start yet; this is start {start} of {START_TRIES}")
            }
            StartCheck::PutBack(put_back) => put_back.to_string(),
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// What systemd's words say of a start: `SERVICE_RESULT`, and `EXIT_STATUS`, a number or the name of a
/// signal. `None`: nothing, and the start stays counted.
fn judge(result: &str, status: &str) -> Option<StartEnd> {
    // No version can start with these: a configuration that cannot be meant, an install that is not
    // the node's, a node that runs already.
    let excuses = [Exit::Usage, Exit::Unsupported, Exit::Busy].map(|exit| (exit as u8).to_string());
    match (result, status) {
        ("", _) => None,
        // A stop, also one that the node answered late.
        ("success", _) => Some(StartEnd::Excused),
        ("exit-code", code) if excuses.iter().any(|excuse| excuse == code) => Some(StartEnd::Excused),
        // Somebody's `kill`. A start that took too long says `timeout`, and one without memory `oom-kill`.
        ("signal", "KILL" | "TERM" | "INT" | "HUP" | "QUIT") => Some(StartEnd::Excused),
        _ => Some(StartEnd::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_causes_is_no_failed_start() {
        for (result, status) in [
            ("success", "0"),
            ("success", "TERM"),
            ("exit-code", "2"),
            ("exit-code", "3"),
            ("exit-code", "8"),
            ("signal", "KILL"),
            ("signal", "TERM"),
        ] {
            assert_eq!(judge(result, status), Some(StartEnd::Excused), "{result} {status}");
        }
    }

    #[test]
    fn crashes_time_outs_and_errors_are_failed_starts_and_silence_says_nothing() {
        for (result, status) in [
            ("exit-code", "1"),
            ("exit-code", "101"),
            ("exit-code", "203"),
            ("timeout", "TERM"),
            ("timeout", "KILL"),
            ("watchdog", "ABRT"),
            ("core-dump", "SEGV"),
            ("signal", "SEGV"),
            ("oom-kill", "KILL"),
            ("protocol", "0"),
            ("resources", ""),
            ("something-new", ""),
        ] {
            assert_eq!(judge(result, status), Some(StartEnd::Failed), "{result} {status}");
        }
        assert_eq!(judge("", "1"), None);
    }
}
