//! A snapshot is recovered by hand, with tools that were there before this program: and by `exuvia-recover`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use age::secrecy::ExposeSecret;
use exuvia::snapshot::Identity;
use rusqlite::Connection;

use crate::nodes::Node;

fn sh(folder: &Path, line: &str) -> Output {
    Command::new("bash").args(["-euo", "pipefail", "-c", line]).current_dir(folder).output().unwrap()
}

#[track_caller]
fn succeeds(folder: &Path, line: &str) -> String {
    let output = sh(folder, line);
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn rows(database: &Path) -> i64 {
    Connection::open(database).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// The Python that `scripts/setup-python` made, or the one that `EXUVIA_PYTHON` names.
fn python() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let python = std::env::var_os("EXUVIA_PYTHON").map_or(default, PathBuf::from);
    assert!(python.exists(), "there is no {}: run scripts/setup-python first", python.display());
    python
}

#[test]
fn tar_age_zstd_sha256sum_and_another_implementation_of_fips_204_recover_a_sealed_snapshot() {
    assert!(
        Command::new("age").arg("--version").stdout(Stdio::null()).status().is_ok(),
        "this test needs age (Debian: apt-get install age)"
    );
    let node = Node::with_state('a');
    let operator = Identity::generate();
    let taken = node.take_for(&[operator.to_public()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::copy(&taken.path, at.join("snapshot.tar")).unwrap();
    fs::copy(node.data.path().join("trust/snapshot.pem"), at.join("snapshot.pem")).unwrap();
    fs::write(at.join("operator.txt"), operator.to_string().expose_secret()).unwrap();

    succeeds(at, "tar xf snapshot.tar && ls manifest.json manifest.sig payload.tar.zst.age");
    let context = format!("exuvia/v1/snapshot/{}/{}", node.product, node.id);
    let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/peer.py");
    let check = format!("{} -B {peer} verify snapshot.pem manifest.json manifest.sig {context}", python().display());
    succeeds(at, &check);
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(at.join("manifest.json")).unwrap()).unwrap();
    let sha = |value: &serde_json::Value| value["sha256"].as_str().unwrap().to_owned();
    succeeds(at, &format!("echo '{}  payload.tar.zst.age' | sha256sum -c", sha(&manifest["payload"])));
    succeeds(at, "age -d -i operator.txt payload.tar.zst.age | zstd -dq | tar x");
    succeeds(at, &format!("echo '{}  state.db' | sha256sum -c", sha(&manifest["files"][0])));
    assert_eq!(rows(&at.join("state.db")), 1);

    // The check by hand notices what a check should.
    succeeds(at, "sed -i 's/\"sequence\":1/\"sequence\":2/' manifest.json");
    assert_eq!(sh(at, &check).status.code(), Some(4));
}

#[test]
fn the_recovery_program_opens_what_the_node_took_and_refuses_what_it_did_not() {
    let (node, stranger) = (Node::with_state('a'), Node::with_state('b'));
    let operator = Identity::generate();
    let taken = node.take_for(&[operator.to_public()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("operator.txt"), operator.to_string().expose_secret()).unwrap();
    let recover =
        |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_exuvia-recover")).args(args).current_dir(at).output().unwrap();
    let file = taken.path.to_str().unwrap();
    let keys = node.data.path().join("trust/snapshot.pem").display().to_string();
    let others = stranger.data.path().join("trust/snapshot.pem").display().to_string();

    assert!(recover(&["inspect", file]).status.success());
    assert!(recover(&["verify", "--trusted-keys", &keys, file]).status.success());
    assert!(recover(&["verify", "--trusted-keys", &keys, "--node-id", node.id.as_str(), file]).status.success());
    assert_eq!(recover(&["verify", "--trusted-keys", &others, file]).status.code(), Some(4));
    let other_node = recover(&["verify", "--trusted-keys", &keys, "--node-id", stranger.id.as_str(), file]);
    assert_eq!(other_node.status.code(), Some(5));

    let open = ["open", "--trusted-keys", &keys, "--identity", "operator.txt", "--out", "state", file];
    let opened = recover(&open);
    assert!(opened.status.success(), "{opened:?}");
    assert_eq!(rows(&at.join("state/state.db")), 1);
    assert_eq!(recover(&open).status.code(), Some(9), "nothing is replaced");
    let sealed = recover(&["open", "--trusted-keys", &keys, "--out", "without", file]);
    assert_eq!(sealed.status.code(), Some(4));
    assert!(!at.join("without").exists());
}

#[test]
fn the_recovery_program_is_built_without_a_network() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--no-default-features", "--edges", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"rusqlite") && names.contains(&"age"));
    for absent in ["reqwest", "tokio", "axum", "rustls", "hyper", "mio", "url"] {
        assert!(!names.contains(&absent), "{absent} is in it");
    }
}
