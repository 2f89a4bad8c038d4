//! Kills, full disks and writers at the wrong moment.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use exuvia::snapshot::{finish_restore, prepared_name, swap};
use rusqlite::Connection;

use crate::nodes::Node;

#[test]
fn a_writer_goes_on_during_a_snapshot_and_it_holds_one_moment() {
    let node = Node::with_state('a');
    let db = node.open_state();
    db.execute_batch(
        "CREATE TABLE a (n INTEGER); CREATE TABLE b (n INTEGER); INSERT INTO t VALUES (hex(randomblob(8000000)));",
    )
    .unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            let mut db = node.open_state();
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                let both = db.transaction().unwrap();
                both.execute("INSERT INTO a VALUES (1)", []).unwrap();
                both.execute("INSERT INTO b VALUES (1)", []).unwrap();
                both.commit().unwrap();
                count += 1;
            }
            count
        });
        std::thread::sleep(Duration::from_millis(50));
        let taken: Vec<_> = (0..3).map(|_| node.take()).collect();
        stop.store(true, Ordering::Relaxed);
        let taken: Vec<_> = taken.into_iter().map(Result::unwrap).collect();
        assert!(writer.join().unwrap() > 3, "the writer stood still");
        for taken in taken {
            node.restore(&taken).unwrap();
            let db = Connection::open(node.state()).unwrap();
            let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            let apart: i64 = db
                .query_row("SELECT (SELECT count(*) FROM a) - (SELECT count(*) FROM b)", [], |row| row.get(0))
                .unwrap();
            assert_eq!((check.as_str(), apart), ("ok", 0));
        }
    });
}

/// The steps of a restore after it was announced, each a rename; a kill may come behind any of them.
#[test]
fn a_restore_that_was_killed_behind_any_step_is_finished_by_the_next() {
    for kill_after in 0..=4 {
        let node = Node::with_state('a');
        let taken = node.take().unwrap();
        let keep = node.open_state();
        keep.execute("INSERT INTO t VALUES ('second')", []).unwrap();
        // As a kill leaves it: with a log.
        let files: Vec<_> = ["", "-wal", "-shm"].iter().map(|end| format!("state.db{end}")).collect();
        let content: Vec<_> = files.iter().map(|name| fs::read(node.data.path().join(name)).unwrap()).collect();
        drop(keep);
        for (name, content) in files.iter().zip(&content) {
            fs::write(node.data.path().join(name), content).unwrap();
        }
        node.verify(&taken.path).unwrap().prepare(&node.data, &[], &mut |_, _| {}).unwrap();
        let journal =
            format!("{{\"snapshot\":\"{}\",\"aside\":\"state.rejected-x\",\"roles\":[\"state.db\"]}}", taken.id);
        fs::write(node.data.path().join("restore.json"), journal).unwrap();
        let aside = node.data.path().join("state.rejected-x");
        let steps: [(&str, std::path::PathBuf); 4] = [
            ("state.db-wal", aside.join("state.db-wal")),
            ("state.db-shm", aside.join("state.db-shm")),
            ("state.db", aside.join("state.db")),
            (".restoring-state.db", node.state()),
        ];
        if kill_after > 0 {
            fs::create_dir(&aside).unwrap();
        }
        for (from, to) in &steps[..kill_after] {
            fs::rename(node.data.path().join(from), to).unwrap();
        }
        let lock = node.data.try_lock("node.lock").unwrap().unwrap();
        let restored = finish_restore(&node.data, &lock).unwrap().unwrap();
        assert_eq!(restored.snapshot, taken.id);
        assert_eq!(node.rows(), ["first"], "killed after step {kill_after}");
        for (name, content) in files.iter().zip(&content) {
            assert_eq!(&fs::read(aside.join(name)).unwrap(), content, "killed after step {kill_after}");
        }
        assert!(finish_restore(&node.data, &lock).unwrap().is_none());
        // Done once more, it does nothing.
        swap(&node.data, &["state.db".parse().unwrap()], &[], "state.rejected-x").unwrap();
        assert_eq!(node.rows(), ["first"]);
        assert!(!node.data.exists(&prepared_name(&"state.db".parse().unwrap())).unwrap());
    }
}

/// Runs the program with a bound on the length of any file: at each length, another step meets the full disk.
fn bounded(node: &Node, blocks: u64, args: &[&str]) -> std::process::Output {
    let config = node.folder.path().join("exuvia.toml");
    let root = node.folder.path().display();
    let text = format!(
        "data_dir = \"{root}/data\"\ncache_dir = \"{root}/cache\"\nsource.listing = \"{root}/none\"\nlisten = \"off\"\n"
    );
    fs::write(&config, text).unwrap();
    // A shell counts in blocks of 512 bytes (POSIX); without its signal, a write past the bound is an error.
    let line = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    // In a folder of its own: an install grows beside a program.
    let program = node.folder.path().join("bin/exuvia");
    if !program.exists() {
        fs::create_dir(program.parent().unwrap()).unwrap();
        // Another process writes it: a handle that a test beside this one inherits would keep it from being run.
        assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_exuvia")).arg(&program).status().unwrap().success());
    }
    Command::new("sh").args(["-c", &line]).arg(program).arg("--config").arg(config).args(args).output().unwrap()
}

#[test]
fn a_disk_that_is_full_at_any_step_leaves_the_state_and_no_half_snapshot() {
    let node = Node::with_state('a');
    node.open_state().execute("INSERT INTO t VALUES (hex(randomblob(40000)))", []).unwrap();
    let rows = node.rows();
    // The ledger and its log are there, so that the bound meets the snapshot alone.
    assert!(bounded(&node, 1 << 20, &["snapshot", "ls"]).status.success());
    let (mut failed, mut taken) = (0, None);
    for blocks in (64..400).step_by(12) {
        let output = bounded(&node, blocks, &["snapshot", "create"]);
        let names: Vec<_> = node.snapshots.list().unwrap().into_iter().map(|listed| listed.id).collect();
        let strays = fs::read_dir(node.snapshots.path()).unwrap().count() - names.len();
        assert!(strays <= 1, "only the lock stays");
        if output.status.success() {
            taken = names.first().cloned();
            break;
        }
        assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(names.is_empty());
        failed += 1;
    }
    let taken = taken.expect("at some length it succeeds").to_string();
    assert!(failed > 3, "{failed}");

    let before = fs::read(node.state()).unwrap();
    let (mut failed, mut done) = (0, false);
    for blocks in (64..400).step_by(12) {
        let output = bounded(&node, blocks, &["snapshot", "restore", &taken]);
        if output.status.success() {
            done = true;
            break;
        }
        assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::read(node.state()).unwrap(), before);
        let left: Vec<_> = fs::read_dir(node.data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let stray = |name: &std::ffi::OsString| {
            let name = name.to_str().unwrap();
            name.starts_with('.') || name.starts_with("state.rejected") || name == "restore.json"
        };
        assert!(!left.iter().any(stray), "{left:?}");
        failed += 1;
    }
    assert!(done && failed > 3, "{failed}");
    assert_eq!(node.rows(), rows);
}

#[test]
fn a_snapshot_that_another_process_takes_is_not_disturbed() {
    let node = Node::with_state('a');
    let folder = exuvia::sys::Dir::open(node.snapshots.path()).unwrap();
    let _theirs = folder.try_lock("lock").unwrap().unwrap();
    let began = Instant::now();
    assert!(matches!(node.take(), Err(exuvia::snapshot::SnapshotError::Busy(_))));
    assert!(began.elapsed() < Duration::from_secs(5));
}
