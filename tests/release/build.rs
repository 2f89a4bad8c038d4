//! `scripts/build-release` builds what it was told from what is committed, and says from what.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Run, root};

fn build(args: &[&str], dir: &Path) -> Run {
    let mut command = Command::new(root().join("scripts/build-release"));
    // What cargo tells this test about its own package would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    let own = std::env::current_exe().unwrap();
    command.env("CARGO_TARGET_DIR", own.ancestors().nth(3).unwrap());
    command.env("EXUVIA_KEYS_DIR", "tests/keys/release").env_remove("SOURCE_DATE_EPOCH");
    Run::of(command.args(args).current_dir(dir))
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn what_is_no_version_target_or_profile_is_refused_before_anything_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("1.0.0-{}", "a".repeat(60));
    for version in ["", "1.0", "v1.0.0", "01.0.0", "1.0.0-01", "1.0.0+x", "1.0.0-", "1.0.0 ", "1.0.0;id", &long] {
        build(&["--version", version, "--out", "out"], dir.path()).refused(2, "othing was built");
    }
    let good = ["--version", "1.0.0-rc.1", "--out", "out", "--allow-dirty"];
    build(&[&good[..], &["--target", "../x"]].concat(), dir.path()).refused(2, "no target triple");
    build(&[&good[..], &["--profile", "bench"]].concat(), dir.path()).refused(2, "release or dev");
    build(&[&good[..], &["--sign"]].concat(), dir.path()).refused(2, "does not know --sign");
    build(&["--out", "out"], dir.path()).refused(2, "--version is missing");
    build(&["--version"], dir.path()).refused(2, "needs a value");
    assert!(is_empty(dir.path()));
    assert!(build(&["--help"], dir.path()).ok().out.contains("EXUVIA_KEYS_DIR"));
}

/// The script in a repository of its own: what is committed there is for the test to say.
#[test]
fn a_tree_that_differs_from_its_commit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(args);
        Run::of(command.current_dir(dir.path())).ok();
    };
    fs::create_dir(dir.path().join("scripts")).unwrap();
    let script = dir.path().join("scripts/build-release");
    fs::copy(root().join("scripts/build-release"), &script).unwrap();
    let run = || Run::of(Command::new(&script).args(["--version", "1.0.0", "--out", "out"]).current_dir(dir.path()));
    run().refused(3, "the tree is not what its commit says");
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "all"]);
    // Clean now: it goes on to the keys, which this repository has none of.
    let mut clean = Command::new(&script);
    clean.args(["--version", "1.0.0", "--out", "out"]).env_remove("EXUVIA_KEYS_DIR").current_dir(dir.path());
    Run::of(&mut clean).refused(2, "holds no public key");
    fs::write(dir.path().join("more"), "").unwrap();
    run().refused(3, "?? more");
    assert!(!dir.path().join("out").exists());
}

#[test]
fn a_build_comes_with_digests_and_a_manifest_and_never_replaces_another() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--version", "7.8.9", "--out", "out", "--profile", "dev", "--allow-dirty"];
    build(&args, dir.path()).ok();
    let out = dir.path().join("out");
    let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["SHA256SUMS", "build.json", "exuvia", "exuvia-keygen", "exuvia-release"]);
    Run::of(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&out)).ok();

    let manifest: Value = serde_json::from_str(&fs::read_to_string(out.join("build.json")).unwrap()).unwrap();
    let host = exuvia::types::Target::of_this_build().to_string();
    assert_eq!((&manifest["version"], &manifest["target"]), (&"7.8.9".into(), &host.into()));
    assert_eq!(manifest["profile"], "dev");
    assert!(manifest["rustc"].as_str().unwrap().starts_with("rustc 1."));
    let shown = Run::of(Command::new(out.join("exuvia-keygen")).args(["--json", "show", &super::key("release/a.pem")]));
    let shown: Value = serde_json::from_str(&shown.ok().out).unwrap();
    assert_eq!(manifest["pinned_keys"][0], shown["fingerprint"]);
    assert_eq!(manifest["pinned_keys"].as_array().unwrap().len(), 2);
    let said = Run::of(Command::new(out.join("exuvia")).arg("self-describe")).ok().out;
    assert!(said.contains("\"7.8.9\""), "{said}");

    fs::write(out.join("mark"), "").unwrap();
    build(&args, dir.path()).refused(2, "exists already");
    assert!(out.join("mark").exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");

    // Other tests run the program where it was built, as the package's own version.
    let own = ["--version", env!("CARGO_PKG_VERSION"), "--out", "own", "--profile", "dev", "--allow-dirty"];
    build(&own, dir.path()).ok();
}
