//! The job's state, opened by versions of every age.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::sys::{Loose, PrivateDir};
use crate::types::Migration;

const ID: i32 = 0x7465_7374;
const TABLE: Step = Step::Sql("CREATE TABLE a (n INTEGER) STRICT; INSERT INTO a VALUES (1)");
const COLUMN: Step = Step::Sql("ALTER TABLE a ADD COLUMN m INTEGER; UPDATE a SET m = 2 * n");
const CODE: Step = Step::Code(|transaction| transaction.execute("UPDATE a SET m = m + 1", []).map(drop));
const FAILS: Step = Step::Sql("UPDATE a SET n = 7; INSERT INTO nowhere VALUES (1)");

const ONE: Schema = Schema::new(ID, 1, &[TABLE]);
const THREE: Schema = Schema::new(ID, 1, &[TABLE, COLUMN, CODE]);
const LATE: Schema = Schema::new(ID, 2, &[TABLE, COLUMN, CODE]);
const BROKEN: Schema = Schema::new(ID, 1, &[TABLE, COLUMN, FAILS]);

fn folder() -> (TempDir, PrivateDir) {
    let dir = TempDir::new().unwrap();
    let data = PrivateDir::open_or_create(dir.path().join("data"), Loose::Tighten).unwrap();
    (dir, data)
}

fn serve(data: &PrivateDir, schema: &Schema, word: impl Into<Option<Migration>>) -> Result<Opened, StateError> {
    open(data, schema, word.into(), false, jiff::Timestamp::now())
}

fn word(from: u32, to: u32) -> Migration {
    Migration { from, to }
}

fn numbers(data: &PrivateDir, schema: &Schema) -> (i64, Option<i64>) {
    let connection = connect(data, schema).unwrap();
    let n = connection.query_row("SELECT n FROM a", [], |row| row.get(0)).unwrap();
    (n, connection.query_row("SELECT m FROM a", [], |row| row.get(0)).ok())
}

#[test]
fn a_new_state_is_made_with_every_step_and_is_private() {
    let (dir, data) = folder();
    assert_eq!(epoch(&data).unwrap(), None);
    assert_eq!(serve(&data, &THREE, None).unwrap(), Opened { was: 0, set_aside: None });
    assert_eq!((epoch(&data).unwrap(), numbers(&data, &THREE)), (Some(3), (1, Some(3))));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(dir.path().join("data/state.db")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(serve(&data, &THREE, None).unwrap().was, 3);
}

#[test]
fn x4_a_state_is_migrated_only_by_who_was_given_the_word_for_that() {
    let (_dir, data) = folder();
    serve(&data, &ONE, None).unwrap();
    for refused in [None, Some(word(1, 2)), Some(word(2, 3)), Some(word(3, 3))] {
        let outcome = serve(&data, &THREE, refused);
        assert!(matches!(outcome, Err(StateError::NotAllowed { found: 1, writes: 3 })), "{refused:?}: {outcome:?}");
        assert_eq!((epoch(&data).unwrap(), numbers(&data, &ONE)), (Some(1), (1, None)), "nothing changed");
    }
    assert_eq!(serve(&data, &THREE, word(1, 3)).unwrap().was, 1);
    assert_eq!((epoch(&data).unwrap(), numbers(&data, &THREE)), (Some(3), (1, Some(3))));
}

#[test]
fn a_migration_that_was_stopped_half_way_goes_on_with_the_same_word() {
    let (_dir, data) = folder();
    serve(&data, &ONE, None).unwrap();
    let outcome = serve(&data, &BROKEN, word(1, 3));
    assert!(matches!(outcome, Err(StateError::Step { to: 3, .. })), "{outcome:?}");
    assert_eq!((epoch(&data).unwrap(), numbers(&data, &THREE)), (Some(2), (1, Some(2))), "whole steps stay");
    assert_eq!(serve(&data, &THREE, word(1, 3)).unwrap().was, 2);
    assert_eq!(numbers(&data, &THREE), (1, Some(3)));
}

#[test]
fn a_step_that_fails_in_a_new_state_leaves_none() {
    let (_dir, data) = folder();
    assert!(matches!(serve(&data, &BROKEN, None), Err(StateError::Step { to: 3, .. })));
    assert_eq!(epoch(&data).unwrap(), None);
    assert_eq!(serve(&data, &ONE, None).unwrap().was, 0);
}

#[test]
fn a_state_that_is_too_old_or_too_new_is_refused_and_left_as_it_is() {
    let (_dir, data) = folder();
    serve(&data, &ONE, None).unwrap();
    assert!(matches!(serve(&data, &LATE, word(1, 3)), Err(StateError::TooOld { found: 1, .. })));
    serve(&data, &THREE, word(1, 3)).unwrap();
    assert!(matches!(serve(&data, &ONE, word(3, 1)), Err(StateError::TooNew { found: 3, .. })));
    assert_eq!(numbers(&data, &THREE), (1, Some(3)));
    assert_eq!(data.names().unwrap(), ["state.db", "state.lock"]);
}

#[test]
fn l6_a_damaged_state_is_set_aside_and_begun_anew_and_never_by_a_candidate() {
    let (dir, data) = folder();
    let file = dir.path().join("data/state.db");
    let garbage = vec![b'x'; 4096];
    fs::write(&file, &garbage).unwrap();
    let candidate = open(&data, &ONE, None, true, jiff::Timestamp::now());
    assert!(matches!(candidate, Err(StateError::Damaged { damage: Damage::NotADatabase, .. })), "{candidate:?}");
    assert_eq!(fs::read(&file).unwrap(), garbage, "a candidate moves nothing");

    let opened = serve(&data, &ONE, None).unwrap();
    let aside = opened.set_aside.expect("it was damaged");
    assert_eq!(fs::read(&aside).unwrap(), garbage);
    assert_eq!((opened.was, epoch(&data).unwrap()), (0, Some(1)));
}

#[test]
fn l6_a_state_of_another_program_or_with_a_broken_page_is_set_aside() {
    let (dir, data) = folder();
    let file = dir.path().join("data/state.db");
    let theirs = rusqlite::Connection::open(&file).unwrap();
    theirs.execute_batch("CREATE TABLE theirs (n)").unwrap();
    drop(theirs);
    assert!(serve(&data, &ONE, None).unwrap().set_aside.is_some());

    let big = connect(&data, &ONE).unwrap();
    big.execute_batch("CREATE TABLE big (n TEXT); INSERT INTO big SELECT hex(randomblob(2000)) FROM a, a, a, a")
        .unwrap();
    big.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(big);
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[4096..end].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let opened = serve(&data, &ONE, None).unwrap();
    assert!(opened.set_aside.is_some());
    assert_eq!(numbers(&data, &ONE), (1, None));
}

#[test]
fn l6_a_link_or_folder_in_place_of_the_state_is_moved_and_not_followed() {
    let (dir, data) = folder();
    let outside = dir.path().join("outside");
    fs::write(&outside, b"somebody's").unwrap();
    symlink(&outside, dir.path().join("data/state.db")).unwrap();
    fs::write(dir.path().join("data/state.db-wal"), b"changes").unwrap();
    let aside = serve(&data, &ONE, None).unwrap().set_aside.expect("it is none");
    assert_eq!(fs::read(format!("{}-wal", aside.display())).unwrap(), b"changes", "what lies beside it goes with it");
    assert_eq!(fs::read(&outside).unwrap(), b"somebody's");
    assert!(fs::symlink_metadata(dir.path().join("data/state.db")).unwrap().is_file());
}
