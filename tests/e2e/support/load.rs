//! A node under load from another process, through every change of worker that there is.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::{Host, builds};

/// How one kind of client fared in one phase.
#[derive(Debug, Deserialize)]
pub struct Report {
    pub phase: String,
    pub clients: String,
    pub requests: u64,
    pub refused: u64,
    pub failed: u64,
    pub longest_ms: f64,
    pub first_error: Option<String>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// `tests/support/load_generator.rs`: at a steady pace, and each request counts.
    Ours,
    /// wrk, which somebody else wrote (Debian: apt-get install wrk).
    Wrk,
}

impl Generator {
    /// Whether it is installed.
    pub fn is_there(self) -> bool {
        self == Self::Ours || Command::new("wrk").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }
}

/// The programs that ask, while they do.
pub enum Load {
    Ours { process: Child, phases: ChildStdin },
    Wrk { script: PathBuf, url: String, asking: Vec<(&'static str, Child)>, phase: String, reports: Vec<Report> },
}

/// A pause of four milliseconds between an answer and the next request, and the sums as JSON.
const SCRIPT: &str = r#"
function delay() return 4 end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"phase":"","clients":"","requests":%d,"refused":%d,"failed":%d,"longest_ms":%.3f,"first_error":null}\n',
    summary.requests, e.connect, e.read + e.write + e.status + e.timeout, latency.max / 1000))
end
"#;

impl Load {
    /// On a node, whose folder has room for a file.
    pub fn on(generator: Generator, host: &Host, port: u16, path: &str) -> Self {
        if generator == Generator::Wrk {
            let script = host.path("wrk.lua");
            fs::write(&script, SCRIPT).unwrap();
            let url = format!("http://127.0.0.1:{port}{path}");
            return Self::Wrk { script, url, asking: Vec::new(), phase: String::new(), reports: Vec::new() };
        }
        let mut command = Command::new(builds::load_generator());
        command.args([&format!("127.0.0.1:{port}"), path]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let phases = process.stdin.take().unwrap();
        Self::Ours { process, phases }
    }

    /// From here on, requests count for this phase.
    pub fn begin(&mut self, name: &str) {
        match self {
            Self::Ours { phases, .. } => writeln!(phases, "{name}").unwrap(),
            Self::Wrk { script, url, asking, phase, reports } => {
                let begun = [("wrk keep-alive", "keep-alive"), ("wrk fresh", "close")].map(|(clients, wish)| {
                    let mut wrk = Command::new("wrk");
                    wrk.args([
                        "-t",
                        "1",
                        "-c",
                        "4",
                        "-d",
                        "10m",
                        "--timeout",
                        "30s",
                        "-H",
                        &format!("Connection: {wish}"),
                        "-s",
                    ]);
                    (clients, wrk.arg(&*script).arg(&*url).stdout(Stdio::piped()).spawn().unwrap())
                });
                // The next ones ask already when those before end.
                stop_wrk(std::mem::replace(asking, begun.into()), phase, reports);
                name.clone_into(phase);
            }
        }
    }

    pub fn end(self) -> Vec<Report> {
        match self {
            Self::Ours { mut process, phases } => {
                drop(phases);
                let lines = BufReader::new(process.stdout.take().unwrap()).lines();
                let reports = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
                assert!(process.wait().unwrap().success());
                reports
            }
            Self::Wrk { asking, phase, mut reports, .. } => {
                stop_wrk(asking, &phase, &mut reports);
                reports
            }
        }
    }
}

/// Ends them, as an operator does, and hears their sums.
fn stop_wrk(asking: Vec<(&'static str, Child)>, phase: &str, reports: &mut Vec<Report>) {
    for (clients, wrk) in asking {
        kill_process(Pid::from_child(&wrk), Signal::INT).unwrap();
        let output = wrk.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("wrk said {said}"));
        let report: Report = serde_json::from_str(line).unwrap();
        reports.push(Report { phase: phase.to_owned(), clients: clients.to_owned(), ..report });
    }
}

/// The phase in which nothing changes.
pub const QUIET: &str = "quiet";

/// A node that is asked all the time: upgraded (a change of worker, then the launcher's exec), rolled
/// back (the same again), reloaded twice. `span` is the least that each phase lasts.
pub fn through_every_change(generator: Generator, span: Duration) -> Vec<Report> {
    let mut host = Host::new();
    // Longer than the slowest client waits, so that none is closed while it waits.
    host.set("trial.drain", "\"2s\"");
    // Long enough for the old worker to leave before the launcher hands over.
    host.set("trial.probation", "\"4s\"");
    let node = host.start_quiet("one");
    host.releases().publish("1.1.0");
    let mut load = Load::on(generator, &host, node.port(), "/readyz");
    let settle = || std::thread::sleep(span);

    load.begin(QUIET);
    settle();
    load.begin("upgrade");
    node.cli(&["upgrade", "--no-wait"]).exits(0);
    super::wait_for(
        || format!("the candidate serves alone\n{}", node.log()),
        || {
            let on_probation = node.record()?["trial"]["progress"] == "probation";
            (on_probation && node.worker_pids().len() == 1).then_some(())
        },
    );
    load.begin("launcher exec");
    node.wait_until_it_runs("1.1.0");
    settle();
    load.begin("rollback");
    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.0.0");
    settle();
    for again in 1..=2 {
        load.begin("reload");
        let before = node.worker_pids();
        node.reload();
        super::wait_for(
            || format!("reload {again}\n{}", node.log()),
            || {
                let now = node.worker_pids();
                (now.len() == 1 && now != before).then_some(())
            },
        );
        settle();
    }
    let reports = load.end();
    assert!(node.serves());
    reports
}
