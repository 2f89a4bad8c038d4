//! One cache hit, measured beside its floors and beside the way that the incumbent works.
//!
//! `scripts/bench [--check] [--mib N]…`: machines differ and are noisy, so both sides of each ratio
//! are measured in one run, one after the other, in several rounds; a ratio is the median of the
//! rounds' ratios. A round in which other processes kept a processor busy is repeated, within
//! bounds: the two threads of a hit need both of a small machine's. Peak memory is that of a process of its own, above an idle one.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads and writes files of its own")]

mod fixture;
mod incumbent;
mod report;
mod sides;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use exuvia::types::ArchiveFormat;
use fixture::{Release, Site};
use report::{Goal, Report};
use sides::Spent;

/// Rounds per size and format; odd, so that the median is one of them.
const ROUNDS: usize = 5;
/// Rounds at most, when the machine is busy with something else: the quietest ones count.
const ROUNDS_MAX: usize = 25;
/// Processors that others may use, on average, in a quiet round.
const QUIET: f64 = 0.08;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut check, mut sizes) = (false, Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--check" => check = true,
            "--mib" => sizes.extend(arguments.next().and_then(|text| text.parse::<u64>().ok())),
            "--child" => {
                child(&arguments.collect::<Vec<_>>());
                return ExitCode::SUCCESS;
            }
            other => {
                eprintln!("cache_hit: unknown argument {other}; known are --check and --mib N");
                return ExitCode::from(2);
            }
        }
    }
    if sizes.is_empty() {
        sizes = vec![40, 200];
    }
    let site = Site::create();
    let mut report = Report::default();
    for mib in sizes {
        eprintln!("cache_hit: {mib} MiB, {ROUNDS} rounds");
        measure(&site, mib, &mut report);
    }
    print!("{}", report.table());
    report.write(Path::new("target/bench.json"));
    if check && !report.holds() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn measure(site: &Site, mib: u64, report: &mut Report) {
    let [gz, zst] = [ArchiveFormat::TarGz, ArchiveFormat::TarZst].map(|format| site.release(mib, format));
    let idle = peak(site, "idle", "");
    // The incumbent has gzip only: its hit on the same content is what both are held against.
    for (release, goal) in [(&gz, 2.0), (&zst, 2.5)] {
        let rounds = rounds(site, release, &gz);
        let name =
            |part: &str| format!("cache_hit.{}.{mib}mib.{part}", release.format.suffix().trim_start_matches(".tar."));
        let median_of = |of: &dyn Fn(&sides::Round) -> f64| median(rounds.iter().map(of).collect());
        let mut seconds = |part: &str, of: &dyn Fn(&sides::Round) -> Spent| {
            report.add(name(part), median_of(&|round| of(round).wall.as_secs_f64()), "s", Goal::None);
        };
        seconds("copy_verify", &|round| round.copy_verify);
        seconds("shake256_floor", &|round| round.shake);
        seconds("extract", &|round| round.extract);
        seconds("decoder_floor", &|round| round.decoder);
        seconds("whole", &|round| round.copy_verify + round.extract);
        seconds("incumbent", &|round| round.incumbent);
        let ratio = |above: Duration, below: Duration| above.as_secs_f64() / below.as_secs_f64();
        let mut ratios = |part: &str, goal, of: &dyn Fn(&sides::Round) -> f64| {
            report.add(name(part), median_of(of), "x", goal);
        };
        ratios("copy_verify_wall", Goal::AtMost(1.10), &|round| ratio(round.copy_verify.wall, round.shake.wall));
        ratios("copy_verify_cpu", Goal::AtMost(1.25), &|round| ratio(round.copy_verify.cpu, round.shake.cpu));
        ratios("extract_wall", Goal::AtMost(1.10), &|round| ratio(round.extract.wall, round.decoder.wall));
        ratios("faster_than_incumbent", Goal::AtLeast(goal), &|round| {
            ratio(round.incumbent.wall, round.copy_verify.wall + round.extract.wall)
        });
        let above_idle = peak(site, "hit", release.version()) - idle;
        report.add(name("peak_memory_above_idle"), above_idle, "MiB", Goal::AtMost(12.0));
    }
    let incumbent = peak(site, "incumbent", gz.version()) - idle;
    report.add(format!("incumbent.gz.{mib}mib.peak_memory_above_idle"), incumbent, "MiB", Goal::None);
}

fn rounds(site: &Site, release: &Release, gz: &Release) -> Vec<sides::Round> {
    let mut rounds = Vec::new();
    let quiet = |rounds: &[sides::Round]| rounds.iter().filter(|round| round.others <= QUIET).count();
    while quiet(&rounds) < ROUNDS && rounds.len() < ROUNDS_MAX {
        rounds.push(sides::round(site, release, gz, rounds.len()));
        eprint!("{}", if rounds.last().is_some_and(|round| round.others <= QUIET) { "." } else { "~" });
    }
    eprintln!();
    rounds.sort_by(|one, other| one.others.total_cmp(&other.others));
    rounds.truncate(ROUNDS);
    if quiet(&rounds) < ROUNDS {
        eprintln!("cache_hit: other processes kept this machine busy throughout; ratios are worse than they could be");
    }
    rounds
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs one side in a process of its own, and returns the most memory that it ever held, in MiB.
fn peak(site: &Site, part: &str, version: &str) -> f64 {
    let this = std::env::current_exe().expect("a running program has a path");
    let output = Command::new(this).args(["--child", part]).arg(site.root()).arg(version).output().expect("re-runs");
    assert!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
    let kib: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a child prints a number");
    kib / 1024.0
}

fn child(arguments: &[String]) {
    let [part, root, version] = arguments else { panic!("--child SIDE ROOT VERSION") };
    let site = Site::open(Path::new(root));
    match part.as_str() {
        "idle" => {}
        "hit" => drop(sides::extract(&site, &sides::copy_verify(&site, version))),
        "incumbent" => incumbent::hit(&site, version),
        other => panic!("no such side: {other}"),
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux counts it");
    println!("{}", peak.trim().trim_end_matches(" kB"));
}
