//! What a repository of many releases costs those who publish: `exuvia-release repo add-release` and `repo gc`, as they
//! are typed, each in a process of its own.
//!
//! `scripts/bench-repo` runs it: `--releases N` in a folder (1000), `--store N` in an object store (100; 0 leaves it
//! out, and so does a host without moto, which `scripts/setup-python` installs). Printed are:
//!
//! - the last publish beside the tenth: each writes the whole list of targets anew, so that this ratio grows with the
//!   list; medians of five;
//! - a gc that removes every superseded edition, beside one publish; and one right after it, that finds nothing;
//! - a gc after ten releases were withdrawn;
//! - for the store, how many requests each of these made, counted by somebody in between. A gc that finds nothing makes
//!   as many with a thousand releases as with ten, but for the pages of the list.
//!
//! Times include a process's start, and in the store moto's own, which is not a fast one: compare ratios.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads and writes files of its own")]
#![allow(unreachable_pub, dead_code, reason = "shared with the tests")]

#[path = "../tests/support/port.rs"]
mod port;
#[path = "../tests/store/server.rs"]
mod server;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use server::{Between, Moto, Verdict};

/// Around the tenth, and at the end.
const MEDIAN_OF: usize = 5;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn main() -> ExitCode {
    let (mut releases, mut in_store) = (1000, 100);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let number = arguments.next().and_then(|number| number.parse().ok());
        match (argument.as_str(), number) {
            ("--releases", Some(number)) if number >= 20 => releases = number,
            ("--store", Some(number)) if number == 0 || number >= 20 => in_store = number,
            _ => {
                eprintln!("repo: known are --releases N and --store N, of at least 20 (or --store 0)");
                return ExitCode::from(2);
            }
        }
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    eprintln!("repo: {processors} processors, load {}", load.trim());
    Desk::new(None).measure("repo", releases);
    if in_store == 0 {
        return ExitCode::SUCCESS;
    }
    if !root().join("target/venv/bin/moto_server").exists() {
        eprintln!("repo: there is no moto, and the store is left out: run scripts/setup-python first");
        return ExitCode::SUCCESS;
    }
    let (moto, requests) = (Moto::start(), Arc::new(AtomicUsize::new(0)));
    let counter = requests.clone();
    let between = Between::start(&moto, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Verdict::Pass
    });
    Desk::new(Some((between.endpoint(), requests))).measure("s3://releases/bench", in_store);
    ExitCode::SUCCESS
}

/// A release engineer's folder.
struct Desk {
    dir: tempfile::TempDir,
    store: Option<(String, Arc<AtomicUsize>)>,
}

/// How long it took, and how many requests it made.
#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    requests: usize,
}

impl Desk {
    fn new(store: Option<(String, Arc<AtomicUsize>)>) -> Self {
        let dir = tempfile::tempdir().expect("a folder for this run");
        for name in ["a.key", "b.key", "release/a.pem", "release/b.pem"] {
            let from = root().join("tests/keys").join(name);
            let to = dir.path().join(from.file_name().expect("a key has a name"));
            std::fs::copy(&from, &to).expect("the tests' keys are there");
        }
        std::fs::write(dir.path().join("program"), "#!/bin/sh\n").expect("a program");
        Self { dir, store }
    }

    fn run(&self, args: &[&str]) -> Cost {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exuvia-release"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        if let Some((endpoint, requests)) = &self.store {
            command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", "us-east-1");
            command.env("AWS_ACCESS_KEY_ID", "engineer").env("AWS_SECRET_ACCESS_KEY", "secret");
            requests.store(0, Ordering::SeqCst);
        }
        let begun = Instant::now();
        let output = command.output().expect("the program starts");
        let time = begun.elapsed();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Cost { time, requests: self.store.as_ref().map_or(0, |(_, requests)| requests.load(Ordering::SeqCst)) }
    }

    fn change(&self, place: &str, verb: &[&str], args: &[&str]) -> Cost {
        self.run(&[&["repo"], verb, &["--to", place, "--key", "a.key", "--key", "b.key"], args].concat())
    }

    fn publish(&self, place: &str, number: usize) -> Cost {
        let (version, target) = (format!("1.{number}.0"), "x86_64-unknown-linux-gnu");
        std::fs::remove_dir_all(self.dir.path().join("site")).ok();
        let what = ["--binary", "program", "--product", "exuvia", "--version", &version, "--target", target];
        self.run(&[&["pack"], &what[..], &["--key", "a.key", "--out", "site", "--level", "1"]].concat());
        self.change(place, &["add-release", &version], &["--from", "site", "--release-key", "a.pem"])
    }

    fn gc(&self, place: &str) -> Cost {
        self.run(&["repo", "gc", "--to", place, "--grace", "0s"])
    }

    fn measure(&self, place: &str, releases: usize) {
        let roles = ["--product", "exuvia", "--root", "a.pem", "--targets", "a.pem", "--timestamp", "b.pem"];
        self.change(place, &["init"], &roles);
        let mut publishes = Vec::new();
        for number in 1..=releases {
            publishes.push(self.publish(place, number));
            if number % 100 == 0 {
                eprintln!("repo: {number} of {releases} releases are in {place}");
            }
        }
        let tenth = median(&publishes[7..7 + MEDIAN_OF]);
        let last = median(&publishes[releases - MEDIAN_OF..]);
        let all = self.gc(place);
        let nothing = self.gc(place);
        let versions: Vec<_> = (1..=10).map(|number| format!("1.{number}.0")).collect();
        let versions: Vec<_> = versions.iter().map(String::as_str).collect();
        self.change(place, &[&["withdraw"], &versions[..]].concat(), &[]);
        let withdrawn = self.gc(place);

        println!("{place}: {releases} releases");
        let row = |what: &str, cost: Cost, beside: Cost| {
            let requests = if self.store.is_some() { format!("{:>8}", cost.requests) } else { format!("{:>8}", "-") };
            let ratio = cost.time.as_secs_f64() / beside.time.as_secs_f64();
            println!("  {what:<44} {:>9.1} ms {ratio:>8.2} x {requests} requests", cost.time.as_secs_f64() * 1000.0);
        };
        row("publish the 10th", tenth, tenth);
        row("publish the last, beside the 10th", last, tenth);
        row("gc of all superseded editions, beside that", all, last);
        row("gc that finds nothing, beside that", nothing, last);
        row("gc of ten withdrawn releases, beside that", withdrawn, last);
    }
}

fn median(costs: &[Cost]) -> Cost {
    let mut costs = costs.to_vec();
    costs.sort_by_key(|cost| cost.time);
    costs[costs.len() / 2]
}
