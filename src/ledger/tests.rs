#![allow(clippy::disallowed_methods, reason = "tests set up files")]

use super::*;
use crate::sys::{Loose, PrivateDir};
use crate::types::Version;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

struct Node {
    folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PrivateDir {
        PrivateDir::open_or_create(self.folder.path(), Loose::RefuseWritable).unwrap()
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(&self.dir(), at(1000)).unwrap()
    }

    fn sql(&self, statement: &str) {
        Connection::open(self.folder.path().join("ledger.db")).unwrap().execute_batch(statement).unwrap();
    }
}

fn attempt<'a>(from: &'a Version, to: &'a Version) -> NewAttempt<'a> {
    NewAttempt { kind: AttemptKind::Upgrade, from, to, digest: None }
}

fn ending(outcome: Outcome, output: &str) -> Ending<'_> {
    Ending { outcome, reason: Some("because"), digest: None, output: Some(output) }
}

#[test]
fn the_node_id_is_made_once() {
    let (node, other) = (Node::new(), Node::new());
    let id = node.ledger().node_id().to_owned();
    assert_eq!(id.len(), 32);
    assert_eq!(node.ledger().node_id(), id);
    assert_ne!(other.ledger().node_id(), id);
}

#[test]
fn its_files_are_private_and_its_writes_are_synchronous() {
    let node = Node::new();
    let ledger = node.ledger();
    ledger.first_seen(&v("1.0.0"), at(1)).unwrap();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let mode = std::fs::metadata(node.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    let pragma = |name: &str| {
        let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        format!("{:?}", ledger.connection().pragma_query_value(None, name, value).unwrap())
    };
    assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
    assert_eq!(pragma("synchronous"), "Integer(2)");
}

#[test]
fn a_first_sight_survives_and_is_never_moved_later() {
    let node = Node::new();
    assert_eq!(node.ledger().first_seen(&v("1.4.0"), at(1000)).unwrap(), at(1000));
    assert_eq!(node.ledger().first_seen(&v("1.4.0"), at(5000)).unwrap(), at(1000));
    let all = node.ledger().first_seen_all([&v("1.4.0"), &v("1.5.0")], at(6000)).unwrap();
    assert_eq!(all.into_values().collect::<Vec<_>>(), [at(1000), at(6000)]);
}

#[test]
fn a_first_sight_of_the_future_is_moved_to_now() {
    let node = Node::new();
    node.ledger().first_seen(&v("1.4.0"), at(4_000_000_000)).unwrap();
    assert_eq!(node.ledger().first_seen(&v("1.4.0"), at(1000)).unwrap(), at(1000));
    assert_eq!(node.ledger().first_seen(&v("1.4.0"), at(2000)).unwrap(), at(1000));
}

#[test]
fn a_veto_ends_by_itself_or_is_lifted() {
    let ledger = Node::new().ledger();
    let (one, two) = (v("1.4.0"), v("1.5.0"));
    ledger.veto(&NewVeto::after_failure(&one, None, "it died", at(1000)), at(1000)).unwrap();
    ledger.veto(&NewVeto { version: &two, digest: None, reason: "by hand", until: None }, at(1000)).unwrap();
    let end = at(1000) + VETO_SPAN;
    let vetoes = ledger.active_vetoes(at(1001)).unwrap();
    assert_eq!(vetoes.len(), 2);
    assert_eq!((&vetoes[0].version, vetoes[0].until, vetoes[0].reason.as_str()), (&one, Some(end), "it died"));
    assert_eq!(ledger.active_vetoes(end).unwrap().len(), 1);
    assert!(ledger.lift_veto(&two, at(2000)).unwrap());
    assert!(!ledger.lift_veto(&two, at(2000)).unwrap());
    assert_eq!(ledger.active_vetoes(end).unwrap(), []);
}

#[test]
fn a_veto_made_by_a_clock_that_was_ahead_keeps_its_length_and_no_more() {
    let ledger = Node::new().ledger();
    let future = at(4_000_000_000);
    ledger.veto(&NewVeto::after_failure(&v("1.4.0"), None, "it died", future), future).unwrap();
    assert_eq!(ledger.active_vetoes(at(1000)).unwrap()[0].until, Some(at(1000) + VETO_SPAN));
    assert_eq!(ledger.active_vetoes(at(2000)).unwrap()[0].until, Some(at(1000) + VETO_SPAN));
}

#[test]
fn an_attempt_is_told_with_its_events() {
    let node = Node::new();
    let (from, to) = (v("1.3.0"), v("1.4.0"));
    let id = node.ledger().begin_attempt(&attempt(&from, &to), at(1000)).unwrap();
    assert_eq!(node.ledger().open_attempts().unwrap()[0].id, id);
    assert!(node.ledger().event(id, "archive.verified", "by key abc", at(1001)).unwrap());
    assert!(node.ledger().finish(id, &ending(Outcome::RolledBack, "panicked"), at(1002)).unwrap());
    assert!(!node.ledger().finish(id, &ending(Outcome::Upgraded, ""), at(1003)).unwrap(), "an end stands");
    let (attempt, events) = node.ledger().attempt(id).unwrap().unwrap();
    assert_eq!((attempt.from, attempt.to, attempt.started), (from, to, at(1000)));
    assert_eq!((attempt.finished, attempt.outcome), (Some(at(1002)), Some(Outcome::RolledBack)));
    assert_eq!((attempt.reason.as_deref(), attempt.output.as_deref()), (Some("because"), Some("panicked")));
    assert_eq!(events, [Event { at: at(1001), name: "archive.verified".into(), detail: "by key abc".into() }]);
    assert!(node.ledger().open_attempts().unwrap().is_empty());
}

#[test]
fn an_event_of_no_attempt_is_not_recorded() {
    let ledger = Node::new().ledger();
    assert!(!ledger.event(AttemptId(7), "x", "", at(1)).unwrap());
    assert!(ledger.attempt(AttemptId(7)).unwrap().is_none());
}

#[test]
fn the_latest_attempts_come_first_and_ids_are_never_used_twice() {
    let node = Node::new();
    let (from, to) = (v("1.3.0"), v("1.4.0"));
    let ids: Vec<_> =
        (0..5).map(|n| node.ledger().begin_attempt(&attempt(&from, &to), at(1000 + n)).unwrap()).collect();
    let latest: Vec<_> = node.ledger().attempts(2).unwrap().into_iter().map(|attempt| attempt.id).collect();
    assert_eq!(latest, [ids[4], ids[3]]);
    node.sql("DELETE FROM attempt");
    assert!(node.ledger().begin_attempt(&attempt(&from, &to), at(2000)).unwrap() > ids[4]);
}

fn verdict<'a>(trial: &'a str, attempt: Option<AttemptId>, from: &'a Version, to: &'a Version) -> Verdict<'a> {
    Verdict {
        trial,
        attempt,
        kind: AttemptKind::Upgrade,
        from,
        to,
        digest: None,
        started: at(1000),
        finished: at(1010),
        outcome: Outcome::RolledBack,
        reason: Some("died in probation"),
        output: Some("segfault"),
        veto: Some(NewVeto::after_failure(to, None, "died in probation", at(1010))),
    }
}

#[test]
fn a_verdict_counts_once_however_often_it_is_imported() {
    let ledger = Node::new().ledger();
    let (from, to) = (v("1.3.0"), v("1.4.0"));
    assert!(ledger.import_verdict(&verdict("t-1", None, &from, &to), at(1011)).unwrap());
    assert!(!ledger.import_verdict(&verdict("t-1", None, &from, &to), at(1012)).unwrap());
    assert_eq!(ledger.attempts(9).unwrap().len(), 1);
    assert_eq!(ledger.active_vetoes(at(1011)).unwrap().len(), 1);
    ledger.lift_veto(&to, at(1013)).unwrap();
    assert!(!ledger.import_verdict(&verdict("t-1", None, &from, &to), at(1014)).unwrap());
    assert_eq!(ledger.active_vetoes(at(1014)).unwrap(), [], "a lifted veto came back");
}

#[test]
fn a_verdict_completes_the_attempt_that_asked_for_it_and_no_other() {
    let ledger = Node::new().ledger();
    let (from, to, other) = (v("1.3.0"), v("1.4.0"), v("1.5.0"));
    let id = ledger.begin_attempt(&attempt(&from, &to), at(1000)).unwrap();
    ledger.import_verdict(&verdict("t-1", Some(id), &from, &to), at(1011)).unwrap();
    let (completed, _) = ledger.attempt(id).unwrap().unwrap();
    assert_eq!((completed.trial.as_deref(), completed.outcome), (Some("t-1"), Some(Outcome::RolledBack)));
    let open = ledger.begin_attempt(&attempt(&from, &to), at(1020)).unwrap();
    ledger.import_verdict(&verdict("t-2", Some(open), &from, &other), at(1021)).unwrap();
    assert_eq!(ledger.attempt(open).unwrap().unwrap().0.outcome, None);
    assert_eq!(ledger.attempts(1).unwrap()[0].to, other);
}

#[test]
fn a_ledger_of_a_newer_version_still_serves() {
    let node = Node::new();
    let (from, to) = (v("1.3.0"), v("1.4.0"));
    let id = node.ledger().begin_attempt(&attempt(&from, &to), at(1000)).unwrap();
    node.sql(
        "ALTER TABLE attempt ADD COLUMN wave INTEGER DEFAULT 1;
         CREATE TABLE floor (role TEXT PRIMARY KEY, version INTEGER);
         UPDATE attempt SET outcome = 'composted', kind = 'transplant';
         INSERT INTO veto (version, reason, since_ms) VALUES ('not a version', 'x', 0);
         PRAGMA user_version = 99;",
    );
    let ledger = node.ledger();
    assert_eq!(ledger.set_aside(), None);
    let (attempt_, _) = ledger.attempt(id).unwrap().unwrap();
    assert_eq!(attempt_.outcome, Some(Outcome::Other("composted".into())));
    assert_eq!(attempt_.kind.as_str(), "transplant");
    assert_eq!(ledger.active_vetoes(at(1)).unwrap(), []);
    ledger.begin_attempt(&attempt(&from, &to), at(1000)).unwrap();
    drop(ledger);
    let connection = Connection::open(node.folder.path().join("ledger.db")).unwrap();
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 99, "an older version must not turn the number back");
}

#[test]
fn many_users_at_once_agree() {
    let node = Node::new();
    let (from, to) = (v("1.3.0"), v("1.4.0"));
    let found = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let (node, from, to) = (&node, &from, &to);
                scope.spawn(move || {
                    let ledger = node.ledger();
                    let seen = ledger.first_seen(to, at(1000 + n)).unwrap();
                    let new = ledger.import_verdict(&verdict("t-1", None, from, to), at(2000)).unwrap();
                    let id = ledger.begin_attempt(&attempt(from, to), at(1000)).unwrap();
                    (ledger.node_id().to_owned(), seen, new, id)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(found.iter().map(|found| &found.0).collect::<BTreeSet<_>>().len(), 1, "one node id");
    assert_eq!(found.iter().filter(|found| found.2).count(), 1, "one import");
    assert_eq!(found.iter().map(|found| found.3).collect::<BTreeSet<_>>().len(), 8, "eight attempts");
}

#[test]
fn a_ledger_that_is_held_for_too_long_is_busy_and_nothing_is_recorded() {
    let node = Node::new();
    let ledger = node.ledger();
    ledger.connection().busy_timeout(std::time::Duration::from_millis(50)).unwrap();
    let holder = Connection::open(node.folder.path().join("ledger.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(ledger.first_seen(&v("1.4.0"), at(1)), Err(LedgerError::Busy)));
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(ledger.first_seen(&v("1.4.0"), at(2)).unwrap(), at(2));
}

#[test]
fn another_users_ledger_is_refused_and_left_alone() {
    let node = Node::new();
    drop(node.ledger());
    let path = node.folder.path().join("ledger.db");
    if std::os::unix::fs::chown(&path, Some(65534), None).is_err() {
        // Only root can give a file away.
        assert_ne!(rustix::process::geteuid().as_raw(), 0);
        return;
    }
    let before = std::fs::read(&path).unwrap();
    let error = Ledger::open(&node.dir(), at(1)).unwrap_err();
    let LedgerError::Sys(error) = error else { panic!("{error}") };
    assert!(matches!(error.refusal(), Some(crate::sys::Refusal::OtherOwner { owner: 65534, .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

proptest! {
    #[test]
    fn the_end_of_an_output_is_kept(text in "[a-zé🦀]{0,40}", repeat in 1_usize..1200) {
        let long = text.repeat(repeat);
        let kept = history::tail(&long);
        prop_assert!(kept.len() <= OUTPUT_LIMIT && long.ends_with(kept));
        prop_assert!(long.len() - kept.len() == 0 || kept.len() > OUTPUT_LIMIT - 4);
    }

    #[test]
    fn a_time_survives_its_column(seconds in -1_000_000_000_i64..10_000_000_000, millis in 0..1000_i64) {
        let moment = at(seconds) + SignedDuration::from_millis(millis);
        prop_assert_eq!(time::time(time::millis(moment)), moment);
    }
}
