//! L1, for the ledger: its writer is killed at any moment.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use exuvia::ledger::{AttemptKind, Ledger, NewAttempt, NewVeto, Outcome, Verdict};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::Version;
use jiff::Timestamp;

/// Turns a run of this test program into the writer, and names its folder.
const WRITER: &str = "LEDGER_WRITER_FOLDER";

fn open(folder: &Path) -> Ledger {
    Ledger::open(&PrivateDir::open_or_create(folder, Loose::RefuseWritable).unwrap(), Timestamp::now()).unwrap()
}

/// Writes until it is killed, and says what has been recorded once it is. Does nothing unless the test
/// below starts it.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os(WRITER) else { return };
    let ledger = open(Path::new(&folder));
    let from: Version = "1.0.0".parse().unwrap();
    for n in 0_u64.. {
        let (now, to) = (Timestamp::now(), format!("2.0.{n}").parse().unwrap());
        let attempt = NewAttempt { kind: AttemptKind::Upgrade, from: &from, to: &to, digest: None };
        let id = ledger.begin_attempt(&attempt, now).unwrap();
        ledger.event(id, "staged", "", now).unwrap();
        let verdict = Verdict {
            trial: &format!("{}-{n}", std::process::id()),
            attempt: Some(id),
            kind: AttemptKind::Upgrade,
            from: &from,
            to: &to,
            digest: None,
            started: now,
            finished: now,
            outcome: Outcome::RolledBack,
            reason: Some("died"),
            output: Some("output"),
            veto: Some(NewVeto::after_failure(&to, None, "died", now)),
        };
        ledger.import_verdict(&verdict, now).unwrap();
        println!("\nrecorded {id}");
    }
}

#[test]
fn l1_a_killed_writer_loses_nothing_that_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorded = Vec::new();
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["l1_ledger::writer", "--exact", "--nocapture"])
            .env(WRITER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut lines =
            output.lines().map_while(Result::ok).filter_map(|line| Some(line.strip_prefix("recorded ")?.to_owned()));
        recorded.push(lines.next().expect("the writer has begun"));
        std::thread::sleep(Duration::from_micros(round * 1700));
        child.kill().unwrap();
        child.wait().unwrap();
        recorded.extend(lines);

        let ledger = open(folder.path());
        assert_eq!(ledger.set_aside(), None, "a kill was taken for damage");
        let vetoed = ledger.active_vetoes(Timestamp::now()).unwrap();
        for id in &recorded {
            let (attempt, events) = ledger.attempt(id.parse().unwrap()).unwrap().expect("it was recorded");
            assert_eq!((attempt.outcome, events.len()), (Some(Outcome::RolledBack), 1));
            assert!(vetoed.iter().any(|veto| veto.version == attempt.to));
        }
        // A verdict and its veto are there together or not at all.
        let verdicts = ledger.attempts(u32::MAX).unwrap().iter().filter(|attempt| attempt.trial.is_some()).count();
        assert_eq!(verdicts, vetoed.len());
    }
}
