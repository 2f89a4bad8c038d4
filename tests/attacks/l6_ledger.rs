//! L6: the ledger was damaged by an accident.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use exuvia::ledger::{Corruption, Ledger, NewVeto};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::Version;
use jiff::Timestamp;

/// Something that happens to the file at this path.
type Damage = fn(&Path);

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn version() -> Version {
    "1.4.0".parse().unwrap()
}

fn open(folder: &Path) -> Ledger {
    Ledger::open(&PrivateDir::open_or_create(folder, Loose::RefuseWritable).unwrap(), now()).unwrap()
}

/// A ledger with a veto and enough history for several pages, at rest.
fn used(folder: &Path) {
    let ledger = open(folder);
    ledger.veto(&NewVeto { version: &version(), digest: None, reason: "it died", until: None }, now()).unwrap();
    for n in 0..300 {
        ledger.first_seen(&format!("1.0.{n}").parse().unwrap(), now()).unwrap();
    }
}

fn damage_pages(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    assert!(bytes.len() > 4 * 4096);
    bytes[4096..].fill(0xA5);
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2 + 7]).unwrap();
}

fn text_instead(path: &Path) {
    fs::write(path, "this was a ledger once".repeat(400)).unwrap();
}

fn folder_instead(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    fs::write(path.join("inside"), "kept").unwrap();
}

fn foreign_database(path: &Path) {
    fs::remove_file(path).unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("CREATE TABLE sheep (name TEXT); PRAGMA application_id = 7;").unwrap();
}

fn lost_table(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("DROP TABLE veto").unwrap();
}

fn wrong_number(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA user_version = 0").unwrap();
}

#[test]
fn l6_a_corrupt_ledger_is_set_aside_and_rebuilt() {
    let cases: [(Damage, Corruption); 7] = [
        (damage_pages, Corruption::Damaged),
        (truncate, Corruption::Damaged),
        (text_instead, Corruption::NotADatabase),
        (folder_instead, Corruption::NotAFile),
        (foreign_database, Corruption::Foreign),
        (lost_table, Corruption::Incomplete),
        (wrong_number, Corruption::Incomplete),
    ];
    for (damage, why) in cases {
        let data = tempfile::tempdir().unwrap();
        used(data.path());
        let file = data.path().join("ledger.db");
        damage(&file);
        let damaged = fs::read(&file).ok();

        let ledger = open(data.path());
        let set_aside = ledger.set_aside().unwrap_or_else(|| panic!("{why:?} was not noticed"));
        assert_eq!(set_aside.why, why);
        assert_eq!(set_aside.path, data.path().join("ledger.db.corrupt-20270115T080000Z"));
        match damaged {
            Some(bytes) => assert!(fs::read(&set_aside.path).unwrap() == bytes, "{why:?}: the evidence was changed"),
            None => assert_eq!(fs::read(set_aside.path.join("inside")).unwrap(), b"kept"),
        }

        // The new one is empty, private, and works.
        assert_eq!(ledger.active_vetoes(now()).unwrap(), []);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(ledger.first_seen(&version(), now()).unwrap(), now());
        let id = ledger.node_id().to_owned();
        drop(ledger);
        let again = open(data.path());
        assert_eq!((again.set_aside(), again.node_id()), (None, id.as_str()), "{why:?}: it was set aside twice");
    }
}

#[test]
fn l6_a_ledger_that_is_a_link_is_not_followed() {
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victim = elsewhere.path().join("ledger.db");
    used(elsewhere.path());
    let before = fs::read(&victim).unwrap();
    symlink(&victim, data.path().join("ledger.db")).unwrap();

    let ledger = open(data.path());
    assert_eq!(ledger.set_aside().unwrap().why, Corruption::NotAFile);
    assert_eq!(ledger.active_vetoes(now()).unwrap(), []);
    assert!(fs::read(&victim).unwrap() == before, "what the link names was changed");
}

#[test]
fn l6_a_damaged_journal_loses_at_most_what_it_held() {
    let data = tempfile::tempdir().unwrap();
    used(data.path());
    fs::write(data.path().join("ledger.db-wal"), vec![0xA5; 100_000]).unwrap();
    fs::write(data.path().join("ledger.db-shm"), vec![0xA5; 32_768]).unwrap();

    let ledger = open(data.path());
    assert_eq!(ledger.set_aside(), None);
    assert_eq!(ledger.active_vetoes(now()).unwrap().len(), 1, "the veto was in the file itself");
}

#[test]
fn l6_several_damages_in_one_second_keep_all_the_evidence() {
    let data = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        fs::write(data.path().join("ledger.db"), "junk".repeat(1000)).unwrap();
        for companion in ["ledger.db-wal", "ledger.db-shm"] {
            let _ = fs::remove_file(data.path().join(companion));
        }
        assert!(open(data.path()).set_aside().is_some());
    }
    let names = fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let aside = names.filter(|name| name.to_string_lossy().starts_with("ledger.db.corrupt-")).count();
    assert_eq!(aside, 3);
}

#[test]
fn l6_many_processes_that_meet_the_damage_at_once_rebuild_it_once() {
    let data = tempfile::tempdir().unwrap();
    used(data.path());
    text_instead(&data.path().join("ledger.db"));
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(data.path()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(opened.iter().filter(|ledger| ledger.set_aside().is_some()).count(), 1);
    assert!(opened.iter().all(|ledger| ledger.node_id() == opened[0].node_id()));
}
