//! A node under load from another process, through every change of worker that there is.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

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

/// The program that asks, while it does.
pub struct Load {
    process: Child,
    phases: ChildStdin,
}

impl Load {
    pub fn on(port: u16, path: &str) -> Self {
        let mut command = Command::new(builds::load_generator());
        command.args([&format!("127.0.0.1:{port}"), path]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let phases = process.stdin.take().unwrap();
        Self { process, phases }
    }

    /// From here on, requests count for this phase.
    pub fn begin(&mut self, phase: &str) {
        writeln!(self.phases, "{phase}").unwrap();
    }

    pub fn end(self) -> Vec<Report> {
        let Self { mut process, phases } = self;
        drop(phases);
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let reports = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        assert!(process.wait().unwrap().success());
        reports
    }
}

/// The phase in which nothing changes.
pub const QUIET: &str = "quiet";

/// A node that is asked all the time: upgraded (a change of worker, then the launcher's exec), rolled
/// back (the same again), reloaded twice. `span` is the least that each phase lasts.
pub fn through_every_change(span: Duration) -> Vec<Report> {
    let mut host = Host::new();
    // Longer than the slowest client waits, so that none is closed while it waits.
    host.set("trial.drain", "\"2s\"");
    let node = host.start_quiet("one");
    host.releases().publish("1.1.0");
    let mut load = Load::on(node.port(), "/readyz");
    let settle = || std::thread::sleep(span);

    load.begin(QUIET);
    settle();
    load.begin("upgrade");
    node.cli(&["upgrade"]).exits(0);
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
