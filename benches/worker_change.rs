//! What those who ask a node notice when its worker, and its launcher, become other ones: see
//! `scripts/bench-worker-change`.

#![allow(clippy::disallowed_methods, reason = "it sets up hosts, and reads what machine this is")]
#![allow(unreachable_pub, reason = "shared with the end-to-end tests")]

use std::process::ExitCode;
use std::time::Duration;

#[path = "../tests/support/http_server.rs"]
mod http_server;
#[path = "machine.rs"]
mod machine;
#[path = "../tests/support/port.rs"]
mod port;
#[path = "../tests/support/program.rs"]
mod program;
#[path = "../tests/e2e/support/mod.rs"]
mod support;

use support::load::{Generator, QUIET, Report, through_every_change};

/// What a change may add to the longest answer of quiet times.
const GOAL_MS: f64 = 250.0;

fn main() -> ExitCode {
    println!(
        "{:<14} {:<16} {:>9} {:>8} {:>7} {:>11} {:>13}",
        "", "", "requests", "refused", "failed", "longest/ms", "beyond quiet"
    );
    let mut holds = true;
    for generator in [Generator::Ours, Generator::Wrk] {
        if generator.is_there() {
            holds &= tell(&through_every_change(generator, Duration::from_secs(5)));
        } else {
            println!("wrk is not installed (Debian: apt-get install wrk): only our own generator asked");
        }
    }
    println!("\n{}", machine::machine());
    let verdict = if holds { "holds" } else { "DOES NOT HOLD" };
    println!("goal: none refused, none failed, at most {GOAL_MS} ms beyond the longest of quiet times: {verdict}");
    if holds || !std::env::args().any(|word| word == "--check") { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line for each phase and kind of client. Returns whether the goal holds.
fn tell(reports: &[Report]) -> bool {
    let quiet = reports.iter().filter(|report| report.phase == QUIET).map(|report| report.longest_ms);
    let quiet = quiet.fold(0.0, f64::max);
    let mut holds = true;
    for report in reports {
        let beyond = (report.longest_ms - quiet).max(0.0);
        println!(
            "{:<14} {:<16} {:>9} {:>8} {:>7} {:>11.1} {:>13.1}",
            report.phase, report.clients, report.requests, report.refused, report.failed, report.longest_ms, beyond
        );
        if let Some(error) = &report.first_error {
            println!("           first error: {error}");
        }
        holds &= report.refused == 0 && report.failed == 0 && beyond <= GOAL_MS;
    }
    holds
}
