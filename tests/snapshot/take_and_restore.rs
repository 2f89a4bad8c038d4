use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use exuvia::snapshot::{Identity, Kind, OlderSchema, Rehearse, Retention, Schema, SnapshotError, StateFiles};
use sha2::{Digest, Sha256};

use crate::nodes::{Node, PROGRAM};

#[test]
fn a_snapshot_holds_what_was_written_and_a_restore_brings_it_back() {
    let node = Node::with_state('a');
    fs::set_permissions(node.state(), fs::Permissions::from_mode(0o640)).unwrap();
    let taken = node.take().unwrap();
    assert_eq!((taken.manifest.application_id, taken.manifest.user_version), (PROGRAM, 1));
    let bytes = fs::read(&taken.path).unwrap();
    assert_eq!(taken.digest.as_bytes()[..], Sha256::digest(&bytes)[..]);
    assert_eq!(taken.length, bytes.len() as u64);
    assert_eq!(fs::metadata(&taken.path).unwrap().permissions().mode() & 0o777, 0o600);

    node.open_state().execute("INSERT INTO t VALUES ('second')", []).unwrap();
    let restored = node.restore(&taken).unwrap();
    assert_eq!(restored.snapshot, taken.id);
    assert_eq!(node.rows(), ["first"]);
    assert_eq!(fs::metadata(node.state()).unwrap().permissions().mode() & 0o777, 0o640);

    // What was there before is whole, beside it.
    let aside = rusqlite::Connection::open(restored.aside.unwrap().join("state.db")).unwrap();
    let rows: i64 = aside.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2);
}

#[test]
fn what_only_the_log_holds_is_in_the_snapshot_too() {
    let node = Node::with_state('a');
    let writer = node.open_state();
    writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    writer.execute("INSERT INTO t VALUES ('in the log')", []).unwrap();
    let taken = node.take().unwrap();
    drop(writer);
    node.restore(&taken).unwrap();
    assert_eq!(node.rows(), ["first", "in the log"]);
}

#[test]
fn a_sealed_snapshot_opens_for_the_node_and_for_its_recipients_and_for_nobody_else() {
    let node = Node::with_state('a');
    let (operator, stranger) = (Identity::generate(), Identity::generate());
    let taken = node.take_for(&[operator.to_public()]).unwrap();
    assert!(taken.manifest.payload.sealed);
    let open = |identity: &Identity| {
        let out = tempfile::tempdir().unwrap();
        let into = exuvia::sys::Dir::open(out.path()).unwrap();
        let mut verified = node.verify(&taken.path).unwrap();
        let outcome = verified.unpack(&into, &[identity], &|role| (role.to_string(), 0o600), &mut |_, _| {});
        (outcome, fs::read_dir(out.path()).unwrap().count())
    };
    assert!(matches!(open(&operator), (Ok(()), 1)));
    assert!(matches!(open(node.keys.identity()), (Ok(()), 1)));
    assert!(matches!(open(&stranger), (Err(SnapshotError::Sealed), 0)));
}

#[test]
fn several_databases_and_files_go_together() {
    let node = Node::with_state('a');
    fs::write(node.data.path().join("notes.txt"), "small").unwrap();
    fs::write(node.data.path().join("empty"), "").unwrap();
    let state = StateFiles::with(&[
        ("notes.txt", Kind::File),
        ("empty", Kind::File),
        ("later.txt", Kind::File),
        ("index.db", Kind::Database),
        ("later.db", Kind::Database),
    ])
    .unwrap();
    let index = rusqlite::Connection::open(node.data.path().join("index.db")).unwrap();
    index
        .execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE word (text TEXT); INSERT INTO word VALUES ('old')")
        .unwrap();
    let taken = node.take_of(&state, &[]).unwrap();
    let held: Vec<_> = taken.manifest.files.iter().map(|file| file.role.as_str()).collect();
    assert_eq!(held, ["state.db", "notes.txt", "empty", "index.db"], "what is missing is not held");

    fs::write(node.data.path().join("notes.txt"), "changed").unwrap();
    fs::write(node.data.path().join("later.txt"), "new").unwrap();
    index.execute_batch("UPDATE word SET text = 'new'").unwrap();
    drop(index);
    let later = rusqlite::Connection::open(node.data.path().join("later.db")).unwrap();
    later.execute_batch("CREATE TABLE word (text TEXT)").unwrap();
    drop(later);

    let restored = node.restore_of(&taken, &state).unwrap();
    assert_eq!(fs::read(node.data.path().join("notes.txt")).unwrap(), b"small");
    let index = rusqlite::Connection::open(node.data.path().join("index.db")).unwrap();
    assert_eq!(index.query_row("SELECT text FROM word", [], |row| row.get::<_, String>(0)).unwrap(), "old");
    let aside = restored.aside.unwrap();
    assert_eq!(fs::read(aside.join("notes.txt")).unwrap(), b"changed");
    // What was missing then is missing again, and lies with what was set aside.
    for name in ["later.txt", "later.db"] {
        assert!(!node.data.path().join(name).exists() && aside.join(name).exists(), "{name}");
    }
}

#[test]
fn what_was_saved_before_a_migration_goes_when_no_record_names_it_and_what_an_operator_took_stays() {
    let node = Node::with_state('a');
    let mut taken = vec![node.take().unwrap().id];
    taken.extend((0..3).map(|_| node.take_before_migration().unwrap().id));
    taken.push(node.take_before_migration().unwrap().id);
    let named = [taken[2].clone()].into_iter().collect();
    let now = SystemTime::now();
    assert_eq!(node.snapshots.prune_outlived(&named, now).unwrap(), [], "it may not be in the record yet");
    let gone = node.snapshots.prune_outlived(&named, now + Duration::from_hours(25)).unwrap();
    assert_eq!(gone, [taken[3].clone(), taken[1].clone()]);
    let left: Vec<_> = node.snapshots.list().unwrap().into_iter().map(|listed| listed.id).collect();
    assert_eq!(left, [taken[0].clone(), taken[2].clone(), taken[4].clone()]);
}

#[test]
fn each_snapshot_names_the_one_before() {
    let node = Node::with_state('a');
    let (first, second) = (node.take().unwrap(), node.take().unwrap());
    assert_eq!((first.manifest.sequence, first.manifest.previous), (1, None));
    assert_eq!((second.manifest.sequence, second.manifest.previous), (2, Some(first.id.clone())));
    let listed: Vec<_> = node.snapshots.list().unwrap().into_iter().map(|listed| listed.id).collect();
    assert_eq!(listed, [first.id, second.id]);
}

#[test]
fn pruning_keeps_the_newest_and_what_a_record_names() {
    let node = Node::with_state('a');
    let taken: Vec<_> = (0..4).map(|_| node.take().unwrap().id).collect();
    let later = SystemTime::now() + Duration::from_secs(1000);
    let left = || node.snapshots.list().unwrap().into_iter().map(|listed| listed.id).collect::<Vec<_>>();

    let mut keep =
        Retention { count: 2, max_age: Duration::from_secs(10_000), named: [taken[0].clone()].into_iter().collect() };
    assert_eq!(node.snapshots.prune(&keep, later, Rehearse::Yes).unwrap().len(), 1);
    assert_eq!(left(), taken);
    node.snapshots.prune(&keep, later, Rehearse::No).unwrap();
    assert_eq!(left(), [taken[0].clone(), taken[2].clone(), taken[3].clone()]);

    keep.max_age = Duration::from_secs(10);
    node.snapshots.prune(&keep, later, Rehearse::No).unwrap();
    assert_eq!(left(), [taken[0].clone(), taken[3].clone()]);
}

#[test]
fn a_wrong_folder_makes_no_snapshot_of_nothing() {
    let node = Node::new('a');
    let before = node.everything();
    assert!(matches!(node.take(), Err(SnapshotError::NoState(_))));
    fs::write(node.state(), "").unwrap();
    assert!(matches!(node.take(), Err(SnapshotError::EmptyDatabase(_))));
    fs::write(node.state(), "no database".repeat(100)).unwrap();
    assert!(matches!(node.take(), Err(SnapshotError::NotADatabase(_))));
    fs::remove_file(node.state()).unwrap();
    let left: Vec<_> = node.everything().into_iter().filter(|(path, _)| !path.ends_with("snapshots/lock")).collect();
    assert_eq!(left, before);
}

#[test]
fn a_schema_that_does_not_fit_is_refused_and_only_the_older_one_can_be_allowed() {
    let node = Node::with_state('a');
    let verified = node.verify(&node.take().unwrap().path).unwrap();
    let fits =
        |application_id, present, newest, older| verified.fits(&Schema { application_id, present, newest, older });
    let (refuse, allow) = (OlderSchema::Refuse, OlderSchema::Allow);
    assert!(fits(Some(PROGRAM), Some(1), Some(1), refuse).is_ok());
    assert!(matches!(fits(Some(7), None, None, allow), Err(SnapshotError::OtherProgram { found: PROGRAM, wanted: 7 })));
    assert!(matches!(fits(None, Some(2), None, refuse), Err(SnapshotError::OlderSchema { found: 1, present: 2 })));
    assert!(fits(None, Some(2), None, allow).is_ok());
    assert!(matches!(fits(None, None, Some(0), allow), Err(SnapshotError::NewerSchema { found: 1, newest: 0 })));
}
