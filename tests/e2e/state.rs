//! The job's state goes forward and back with the version whose state it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use exuvia::install::START_TRIES;
use exuvia::state::rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::support::host::names;
use crate::support::node::run;
use crate::support::{Host, Node, builds, wait_for};

/// The epoch of the state of that node, and the note that epoch 2 adds; read beside whoever has it open.
fn state(host: &Host, node: &str) -> (u32, Option<String>) {
    let path = host.path("data").join(node).join("state.db");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    let epoch = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    (epoch, connection.query_row("SELECT note FROM life", [], |row| row.get(0)).ok())
}

/// The folders of the states that were set aside.
fn aside(host: &Host, node: &str) -> Vec<PathBuf> {
    let folder = host.path("data").join(node);
    let own = |name: &String| name.starts_with("state.rejected-");
    names(&folder).into_iter().filter(own).map(|name| folder.join(name)).collect()
}

fn note_of(aside: &Path) -> Option<String> {
    let connection = Connection::open(aside.join("state.db")).unwrap();
    connection.query_row("SELECT note FROM life", [], |row| row.get(0)).ok()
}

/// The snapshots that are kept for a way back.
fn kept(host: &Host, node: &str) -> Vec<String> {
    let names = names(&host.path("data").join(node).join("snapshots")).into_iter();
    names.filter(|name| name.ends_with(".exuvia-snapshot")).collect()
}

/// The latest attempt to go to that version, once it has ended.
fn ended(node: &Node, version: &str) -> Value {
    let at_version = |attempt: &Value| attempt["to"] == version && !attempt["outcome"].is_null();
    wait_for(|| format!("an attempt at {version} ends\n{}", node.log()), || node.history().into_iter().find(at_version))
}

/// Installs a build by hand, as an operator would.
fn install(host: &Host, version: &str, fault: &str) {
    let new = host.path("bin/new");
    builds::bad_node(version, fault, &new);
    fs::rename(new, host.binary()).unwrap();
}

#[test]
fn what_is_saved_before_a_migration_is_sealed_for_whom_the_configuration_names_and_comes_back_all_the_same() {
    let mut host = Host::new();
    let identity = host.path("operator.txt");
    let made = Command::new("age-keygen").arg("-o").arg(&identity).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let recipient = fs::read_to_string(&identity).unwrap();
    let recipient = recipient.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    host.set("state.recipients", &format!("[\"{recipient}\"]"));
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "epoch-2-idle");
    node.wait_until_it_runs("1.1.0");

    // Sealed, and the operator alone can open it, by other means than the node's.
    let snapshot = host.path("data/one/snapshots").join(&kept(&host, "one")[0]);
    let open = |identity: &Path| {
        let script = r#"tar xOf "$1" payload.tar.zst.age | age -d -i "$2" | zstd -dc | tar t"#;
        run(Command::new("bash").args(["-o", "pipefail", "-c", script, "-"]).args([&snapshot, identity]))
    };
    open(&identity).exits(0).says("state.db");
    open(&host.path("data/one/trust/snapshot.identity")).exits(0).says("state.db");
    let stranger = host.path("stranger.txt");
    assert!(Command::new("age-keygen").arg("-o").arg(&stranger).output().unwrap().status.success());
    open(&stranger).says("no identity matched");

    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.0.0");
    assert_eq!(state(&host, "one"), (1, None));
    assert!(node.stop().success());
}

#[test]
fn x4_a_state_that_was_removed_is_begun_anew_before_a_candidate_can_make_its_own() {
    let host = Host::new();
    let node = host.start("one");
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        fs::remove_file(host.path("data/one").join(name)).unwrap();
    }
    host.releases().publish_bad("1.1.0", "epoch-2-dies 400");
    assert_eq!(ended(&node, "1.1.0")["outcome"], "rolled-back");
    node.wait_until_it_runs("1.0.0");
    assert_eq!(state(&host, "one"), (1, None), "the node can open it");
    assert!(node.log().contains("worker_asks_for_another"), "{}", node.log());
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn x4_a_file_that_belongs_to_the_state_comes_back_with_the_database() {
    let host = Host::new();
    install(&host, "1.0.0", "epoch-1-takes-notes before");
    let node = host.start("one");
    let notes = host.path("data/one/notes.txt");
    let hold = |text: &str| fs::read_to_string(&notes).is_ok_and(|held| held == text);
    wait_for(|| "notes are taken".to_owned(), || hold("before").then_some(()));

    host.releases().publish_bad("1.1.0", "epoch-2-writes-and-dies 400");
    assert_eq!(ended(&node, "1.1.0")["outcome"], "rolled-back");
    node.wait_until_it_runs("1.0.0");
    assert_eq!(state(&host, "one"), (1, None));
    assert!(hold("before"));
    let aside = aside(&host, "one");
    assert_eq!(fs::read_to_string(aside[0].join("notes.txt")).unwrap(), "written on probation");
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn x4_a_candidate_that_migrates_and_then_fails_leaves_the_old_binary_with_its_own_state() {
    let host = Host::new();
    let node = host.start("one");
    assert_eq!(state(&host, "one"), (1, None));
    let trust = host.path("data/one/trust");
    fs::create_dir_all(&trust).unwrap();
    fs::write(trust.join("floors"), "timestamp 7\n").unwrap();
    let id = node.status().unwrap()["node_id"].clone();

    host.releases().publish_bad("1.1.0", "epoch-2-writes-and-dies 400");
    let attempt = ended(&node, "1.1.0");
    assert_eq!(attempt["outcome"], "rolled-back", "{attempt:#}");
    node.wait_until_it_runs("1.0.0");
    assert_eq!(state(&host, "one"), (1, None), "the state of 1.0.0 is back");

    let aside = aside(&host, "one");
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(note_of(&aside[0]).as_deref(), Some("written on probation"), "nothing is deleted");
    let reason = attempt["reason"].as_str().unwrap();
    assert!(reason.contains(aside[0].file_name().unwrap().to_str().unwrap()), "the history names it: {reason}");
    assert!(reason.contains("what was written since"), "{reason}");

    // What must not go back has not: the veto, the node's id, the floors.
    let status = node.status().unwrap();
    assert_eq!((&status["vetoes"][0]["version"], &status["node_id"]), (&Value::from("1.1.0"), &id));
    assert_eq!(fs::read_to_string(trust.join("floors")).unwrap(), "timestamp 7\n");
    host.assert_committed("1.0.0");
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn a_migration_that_proves_itself_stays_and_an_operator_can_go_back_to_the_state_before_it() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "epoch-2-idle");
    node.wait_until_it_runs("1.1.0");
    assert_eq!(state(&host, "one"), (2, Some("migrated".to_owned())));
    assert_eq!((aside(&host, "one").len(), kept(&host, "one").len()), (0, 1));

    // A second migration fails, and the first one stays.
    host.releases().publish_bad("1.2.0", "epoch-3-dies");
    assert_eq!(ended(&node, "1.2.0")["outcome"], "rolled-back");
    node.wait_until_it_runs("1.1.0");
    assert_eq!(state(&host, "one"), (2, Some("migrated".to_owned())));
    assert_eq!(aside(&host, "one").len(), 1);

    // Days and restarts later.
    assert!(node.stop().success());
    node.start();
    node.wait_until_it_serves();
    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.0.0");
    assert_eq!(state(&host, "one"), (1, None));
    let aside = aside(&host, "one");
    assert_eq!(aside.len(), 2);
    assert_eq!(note_of(&aside[1]).as_deref(), Some("migrated"));
    let reason = ended(&node, "1.0.0")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(aside[1].file_name().unwrap().to_str().unwrap()), "{reason}");
    host.assert_committed("1.0.0");
}

#[test]
fn x4_a_migration_that_breaks_half_way_or_is_stopped_by_an_operator_is_undone() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "epoch-broken-idle");
    let attempt = ended(&node, "1.1.0");
    assert_eq!(attempt["outcome"], "rolled-back", "{attempt:#}");
    node.wait_until_it_runs("1.0.0");
    assert_eq!(state(&host, "one"), (1, None));

    node.configure("trial.probation", "\"1m\"");
    assert!(node.stop().success());
    node.start();
    host.releases().publish_bad("1.2.0", "epoch-2-idle");
    node.wait_for("on probation", |status| status["trial"]["progress"] == "probation");
    assert_eq!(state(&host, "one").0, 2);
    assert!(node.stop().success());
    node.configure("trial.probation", "\"500ms\"");
    node.start();
    node.wait_until_it_runs("1.2.0");
    assert_eq!(state(&host, "one"), (2, Some("migrated".to_owned())));
    let log = node.log();
    assert!(log.contains("state_restored"), "the old version had its own state in between:\n{log}");
    assert_eq!(aside(&host, "one").len(), 2);
}

#[test]
fn a_version_that_cannot_open_the_state_is_refused_before_anybody_stops() {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    let workers = node.worker_pids();
    host.releases().publish_bad("1.1.0", "epoch-late-idle");
    let said = node.cli_when_idle(&["upgrade"]).exits(5);
    let said = said.says("reads from epoch 3, writes 3").says("Go by a release in between that reads epoch 1");
    assert!(said.stderr.contains("cannot install exuvia 1.1.0"), "{said:?}");
    assert_eq!(node.worker_pids(), workers, "nobody stopped");
    assert_eq!((state(&host, "one").0, kept(&host, "one").len(), aside(&host, "one").len()), (1, 0, 0));
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn x4_an_older_version_without_its_state_is_refused_and_so_is_one_that_nobody_asked_for() {
    let mut host = Host::new();
    install(&host, "1.1.0", "epoch-2-idle");
    let node = host.start_quiet("one");
    assert_eq!(state(&host, "one").0, 2);
    host.releases().publish("1.0.0");
    node.cli_when_idle(&["upgrade", "--version", "1.0.0", "--allow-downgrade"])
        .exits(5)
        .says("no state is kept here that it could open");
    host.releases().publish("1.2.0");
    node.cli_when_idle(&["upgrade"]).exits(5).says("does not go to 1.2.0 by itself");
    assert_eq!(node.status().unwrap()["vetoes"][0]["version"], "1.2.0", "it is not looked at again and again");
    assert_eq!((state(&host, "one").0, aside(&host, "one").len()), (2, 0));
    assert_eq!(node.status().unwrap()["policy"]["pin"], Value::Null);
}

#[test]
fn x4_a_version_that_fails_at_its_next_cold_start_is_put_back_with_the_state_before_it() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "epoch-2-cold-exits 1");
    node.wait_until_it_runs("1.1.0");
    node.wait_for("told its verdict", |status| status["activity"]["activity"] == "idle");
    assert!(node.stop().success());
    for _ in 0..START_TRIES {
        node.rescue(&[], &[]).unwrap().exits(0);
        node.start();
        node.wait_until_it_ends();
    }
    assert_eq!(state(&host, "one").0, 2);
    node.rescue(&[], &[]).unwrap().exits(0).says("is committed again");
    node.start();
    node.wait_until_it_runs("1.0.0");
    assert_eq!(state(&host, "one"), (1, None));
    let aside = aside(&host, "one");
    assert_eq!(note_of(&aside[0]).as_deref(), Some("migrated"));
    let attempt = wait_for(
        || format!("the deed is in the history\n{}", node.log()),
        || node.history().into_iter().find(|attempt| attempt["outcome"] == "rolled-back"),
    );
    let reason = attempt["reason"].as_str().unwrap();
    assert!(reason.starts_with("cold-start: ") && reason.contains("state.rejected-"), "{reason}");
    host.assert_committed("1.0.0");
}

#[test]
fn a_version_that_an_operator_installs_migrates_only_what_was_kept_and_the_one_before_gets_it_back() {
    let host = Host::new();
    let mut node = host.start("one");
    assert!(node.stop().success());
    install(&host, "1.1.0", "epoch-2-idle");
    node.start();
    node.wait_until_it_serves();
    assert_eq!((state(&host, "one").0, kept(&host, "one").len()), (2, 1));
    assert!(node.stop().success());
    host.install("1.0.0");
    node.start();
    node.wait_until_it_serves();
    assert_eq!((state(&host, "one"), aside(&host, "one").len()), ((1, None), 1));
}

#[test]
fn x4_a_state_that_cannot_be_saved_is_not_migrated_and_the_release_is_not_vetoed() {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    fs::write(host.path("data/one/snapshots"), "somebody's").unwrap();
    host.releases().publish_bad("1.1.0", "epoch-2-idle");
    node.cli(&["upgrade"]).exits(8).says("could not save the job's state");
    node.wait_until_it_runs("1.0.0");
    assert_eq!((state(&host, "one"), aside(&host, "one").len()), ((1, None), 0));
    assert_eq!(node.status().unwrap()["vetoes"], Value::Array(Vec::new()));
    assert_eq!(fs::read_to_string(host.path("data/one/snapshots")).unwrap(), "somebody's");

    fs::remove_file(host.path("data/one/snapshots")).unwrap();
    node.cli_when_idle(&["upgrade"]).exits(0);
    node.wait_until_it_runs("1.1.0");
    assert_eq!(state(&host, "one").0, 2);
}

#[test]
fn x4_a_kept_state_that_was_changed_is_not_brought_back_and_no_worker_runs_on_another_ones() {
    let host = Host::new();
    let node = host.start("one");
    host.releases().publish_bad("1.1.0", "epoch-2-dies 1500");
    node.wait_for("on probation", |status| status["trial"]["progress"] == "probation");
    let path = host.path("data/one/snapshots").join(&kept(&host, "one")[0]);
    let whole = fs::read(&path).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&path, changed).unwrap();
    let said = || format!("it says so\n{}", node.log());
    wait_for(said, || node.log().contains("errand_failed").then_some(()));
    assert!(!node.serves(), "no version runs on a state that is not its own");
    assert_eq!((state(&host, "one").0, aside(&host, "one").len()), (2, 0), "nothing moved");
    fs::write(&path, whole).unwrap();
    node.wait_until_it_runs("1.0.0");
    assert_eq!((state(&host, "one"), aside(&host, "one").len()), ((1, None), 1));
}

#[test]
fn what_a_node_served_is_known_over_restarts_and_shown() {
    let host = Host::new();
    let mut node = host.start("one");
    for _ in 0..5 {
        node.get("/status").unwrap();
    }
    assert!(node.stop().success());
    node.start();
    node.wait_until_it_serves();
    let shown = |status: &Value| {
        let fact = status["job"].as_array().and_then(|facts| facts.first().cloned()).unwrap_or_default();
        let number = fact["value"].as_str().and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        number.is_some_and(|number| number >= 5)
    };
    node.wait_for("told what it served", shown);
    node.cli(&["status"]).exits(0).says("requests, 0 failed, since");
    assert!(node.get("/").unwrap().1.contains("requests, 0 failed"));
}

#[test]
fn l6_a_node_whose_state_is_damaged_moves_it_aside_and_serves() {
    let host = Host::new();
    let mut node = host.start("one");
    assert!(node.stop().success());
    fs::write(host.path("data/one/state.db"), vec![b'x'; 4096]).unwrap();
    node.start();
    node.wait_until_it_serves();
    assert_eq!(state(&host, "one"), (1, None));
    assert!(names(&host.path("data/one")).iter().any(|name| name.starts_with("state.db.corrupt-")));
    assert!(node.log().contains("state_set_aside"), "{}", node.log());
}
