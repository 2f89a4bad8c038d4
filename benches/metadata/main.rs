//! What a client of release metadata reads, and how long it takes, beside python-tuf on the same
//! repository in the same run.
//!
//! Both read ML-DSA-65 metadata over HTTP from loopback, each update in a process of its own; what is timed
//! begins when the process has loaded everything and ends with the last file stored. Rounds alternate
//! between the two, ratios are medians of the rounds' ratios. Bytes are those of answers' bodies.
//!
//! Times are taken with the client's files on disk and in memory: ours flushes each file before it asks for
//! the next one, because a floor must survive a power cut, and python-tuf leaves that to the kernel. The
//! time of a processor is what a busy machine changes least. Goals are those that no machine changes.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads and writes files of its own")]
#![allow(unreachable_pub, dead_code, reason = "shared with the tests")]

mod repository;
mod sides;

#[path = "../../tests/support/http_server.rs"]
mod http_server;
#[path = "../../examples/tuf_client/remote.rs"]
mod remote;
#[path = "../cache_hit/report.rs"]
mod report;
#[path = "../../tests/tuf/sim.rs"]
mod sim;

use std::path::Path;
use std::process::ExitCode;

use report::{Goal, Report};
use repository::Published;
use sides::{Measured, Side};

/// Rounds per case; odd, so that the median is one of them.
const ROUNDS: usize = 7;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut check = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--check" => check = true,
            "--child" => {
                sides::child(&arguments.collect::<Vec<_>>());
                return ExitCode::SUCCESS;
            }
            other => {
                eprintln!("metadata: unknown argument {other}; known is --check");
                return ExitCode::from(2);
            }
        }
    }
    if !sides::python().exists() {
        eprintln!("metadata: there is no {}: run scripts/setup-python first", sides::python().display());
        return ExitCode::from(2);
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    eprintln!("metadata: {ROUNDS} rounds; {processors} processors, load {}", load.trim());
    let mut report = Report::default();
    let idle = [Side::Ours, Side::Python].map(sides::idle);
    for side in [0, 1] {
        let name = format!("metadata.idle.{}.memory", NAMES[side]);
        report.add(name, idle[side], "MiB", Goal::None);
    }
    measure(&repository::small(), "nothing_new", true, &idle, &mut report);
    measure(&repository::small(), "full", false, &idle, &mut report);
    measure(&repository::bins(), "bins", false, &idle, &mut report);
    measure(&repository::chain(), "root_chain", false, &idle, &mut report);
    print!("{}", report.table());
    report.write(Path::new("target/bench-metadata.json"));
    if check && !report.holds() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

const NAMES: [&str; 2] = ["exuvia", "python_tuf"];

/// `warm`: whether each has been up to date once before.
fn measure(published: &Published, case: &str, warm: bool, idle: &[f64; 2], report: &mut Report) {
    let mut rounds: Vec<[Measured; 2]> = Vec::new();
    for round in 0..ROUNDS {
        let ours = || sides::update(published, Side::Ours, warm);
        let theirs = || sides::update(published, Side::Python, warm);
        // Every other round the other way round, so that neither always runs on a warmer machine.
        let pair = if round.is_multiple_of(2) {
            let ours = ours();
            [ours, theirs()]
        } else {
            let theirs = theirs();
            [ours(), theirs]
        };
        rounds.push(pair);
        eprint!(".");
    }
    eprintln!(" {case}");
    let mut add = |part: String, of: &dyn Fn(&[Measured; 2]) -> f64, unit, goal| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        report.add(format!("metadata.{case}.{part}"), values[values.len() / 2], unit, goal);
    };
    let requests = if case == "nothing_new" { Goal::AtMost(2.0) } else { Goal::None };
    for side in [0, 1] {
        let (name, is_ours) = (NAMES[side], side == 0);
        add(format!("{name}.requests"), &|it| it[side].requests, "", if is_ours { requests } else { Goal::None });
        add(format!("{name}.bytes"), &|it| it[side].bytes / 1024.0, "KiB", Goal::None);
        add(format!("{name}.time"), &|it| it[side].seconds * 1000.0, "ms", Goal::None);
        add(format!("{name}.time_without_disk"), &|it| it[side].seconds_without_disk * 1000.0, "ms", Goal::None);
        add(format!("{name}.cpu"), &|it| it[side].cpu * 1000.0, "ms", Goal::None);
        add(format!("{name}.peak_memory_above_idle"), &|it| it[side].peak - idle[side], "MiB", Goal::None);
    }
    add("bytes_of_python_tufs".to_owned(), &|it| it[0].bytes / it[1].bytes, "x", Goal::AtMost(1.0));
    let ratio = |of: fn(&Measured) -> f64| move |it: &[Measured; 2]| of(&it[1]) / of(&it[0]);
    add("faster_than_python_tuf".to_owned(), &ratio(|it| it.seconds), "x", Goal::None);
    let without_disk = ratio(|it| it.seconds_without_disk);
    add("faster_than_python_tuf_without_disk".to_owned(), &without_disk, "x", Goal::None);
    add("python_tufs_cpu".to_owned(), &ratio(|it| it.cpu), "x", Goal::None);
}
