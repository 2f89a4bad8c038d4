//! Bundles that take releases, and the metadata that vouches for them, to hosts that are not connected.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use exuvia::tuf::metadata::RoleType;
use jiff::Timestamp;

use crate::repository::{Repository, from_now};
use crate::support::host::names;
use crate::support::{Host, Node, wait_for};

/// A host that is connected, with a node that runs what the repository has newest.
struct Connected {
    repository: Repository,
    host: Host,
    node: Node,
}

impl Connected {
    fn at(version: &'static str) -> Self {
        let repository = Repository::new();
        let mut host = Host::new();
        host.set("source.listing", "");
        host.set("source.tuf", &repository.quoted());
        repository.publish(version);
        let node = host.start("one");
        node.wait_until_it_runs(version);
        Self { repository, host, node }
    }

    fn export(&self, name: &str) -> PathBuf {
        let bundle = self.host.path(name);
        self.node.cli(&["cache", "export", bundle.to_str().unwrap()]).exits(0).says("files of release metadata");
        bundle
    }
}

/// A host whose source nobody can reach, and a node of it.
fn remote() -> (Host, Node) {
    let mut host = Host::new();
    host.set("source.listing", "");
    host.set("source.tuf", "\"http://127.0.0.1:1/metadata/\"");
    let node = host.start_quiet("far");
    (host, node)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Unpacks a bundle, lets `change` spoil it, and packs it again.
fn changed(bundle: &Path, name: &str, change: impl FnOnce(&Path)) -> PathBuf {
    let folder = bundle.with_file_name(format!("{name}.d"));
    fs::create_dir(&folder).unwrap();
    let tar = |args: &[&str]| assert!(Command::new("tar").args(args).status().unwrap().success());
    tar(&["-xf", text(bundle), "-C", text(&folder)]);
    change(&folder);
    let to = bundle.with_file_name(name);
    tar(&["--format=ustar", "-cf", text(&to), "-C", text(&folder), "."]);
    to
}

fn archive_in(folder: &Path, version: &str) -> PathBuf {
    let files = fs::read_dir(folder.join("exuvia").join(version)).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|end| end == "zst")).unwrap()
}

fn cached(host: &Host) -> usize {
    fs::read_dir(host.path("cache/entries")).map_or(0, Iterator::count)
}

#[test]
fn a_bundle_takes_a_release_and_its_metadata_to_a_host_that_is_not_connected() {
    let near = Connected::at("1.1.0");
    let bundle = near.export("first.tar");
    let before = (names(near.host.path("").as_path()), fs::read(&bundle).unwrap());
    near.node.cli(&["cache", "export", text(&bundle)]).exits(9).says("exists");
    let missing = near.host.path("missing.tar");
    near.node.cli(&["cache", "export", text(&missing), "--version", "9.9.9"]).exits(2).says("not in the cache");
    assert!((names(near.host.path("").as_path()), fs::read(&bundle).unwrap()) == before, "something was left behind");
    let (host, node) = remote();
    node.cli_when_idle(&["upgrade", "--from", text(&bundle), "--dry-run"]).exits(0).says("1.0.0 -> 1.1.0");
    node.cli_when_idle(&["upgrade", "--from", text(&bundle)]).exits(0);
    node.wait_until_it_runs("1.1.0");
    // What the bundle vouched for is what the node trusts from now on.
    node.cli(&["status"]).exits(0).says("metadata   valid until");
    node.cli(&["cache", "import", text(&bundle)]).exits(0).says("1.1.0: there");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);

    // A tree as it is published is a bundle, too: with it, a newer one.
    near.repository.publish("1.2.0");
    near.node.wait_until_it_runs("1.2.0");
    let second = near.export("second.tar");
    node.cli(&["cache", "import", text(&second)]).exits(0).says("1.1.0: there").says("1.2.0: stored");
    node.cli(&["cache", "verify"]).exits(0).says("exuvia 1.2.0");
    assert_eq!(node.record().unwrap()["running"]["version"], "1.1.0", "nothing is upgraded by an import");
    node.cli_when_idle(&["upgrade", "--from", text(&second)]).exits(0);
    node.wait_until_it_runs("1.2.0");
    host.assert_committed("1.2.0");
}

#[test]
fn b9_a_bundle_counts_until_its_metadata_expires_or_at_the_time_that_the_operator_names() {
    let near = Connected::at("1.1.0");
    let fresh = Timestamp::now();
    let until = from_now(3);
    near.repository.expire(RoleType::Timestamp, until);
    near.node.wait_for("trusting the new timestamp", |status| {
        status["metadata"]["roles"][1]["expires"]
            .as_str()
            .is_some_and(|at| at.parse::<Timestamp>().is_ok_and(|at| at == until))
    });
    let bundle = near.export("late.tar");
    wait_for(|| "it expires".to_owned(), || (Timestamp::now() > until).then_some(()));
    let (host, node) = remote();
    let expired = format!("expired at {until:.0}");
    node.cli_when_idle(&["upgrade", "--from", text(&bundle)]).exits(4).says(&expired);
    let later = Timestamp::now().to_string();
    node.cli_when_idle(&["upgrade", "--from", text(&bundle), "--valid-at", &later]).exits(4).says(&expired);
    node.cli(&["upgrade", "--from", text(&bundle), "--valid-at", "2199-01-01T00:00:00Z"]).exits(2).says("future");
    node.cli(&["upgrade", "--valid-at", "2026-01-01T00:00:00Z"]).exits(2);
    assert_eq!((node.record().unwrap()["running"]["version"].as_str(), cached(&host)), (Some("1.0.0"), 0));

    // Without metadata, nothing says until when it counted.
    let bare = changed(&bundle, "bare.tar", |folder| fs::remove_dir_all(folder.join("metadata")).unwrap());
    let at = fresh.to_string();
    node.cli_when_idle(&["upgrade", "--from", text(&bare), "--valid-at", &at]).exits(6).says("no release metadata");
    node.cli_when_idle(&["upgrade", "--from", text(&bundle), "--valid-at", &at]).exits(0);
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn b9_an_older_a_mixed_and_a_changed_bundle_are_refused_and_leave_nothing() {
    let near = Connected::at("1.1.0");
    let old = near.export("old.tar");
    near.repository.publish("1.2.0");
    near.node.wait_until_it_runs("1.2.0");
    let new = near.export("new.tar");
    let (host, node) = remote();

    // Other bytes under the name and the length that the metadata describes.
    let flipped = changed(&new, "flipped.tar", |folder| {
        let archive = archive_in(folder, "1.2.0");
        let mut bytes = fs::read(&archive).unwrap();
        bytes[50] ^= 1;
        fs::write(archive, bytes).unwrap();
    });
    node.cli_when_idle(&["upgrade", "--from", text(&flipped)]).exits(4).says("not the file that the release metadata");
    node.cli(&["cache", "import", text(&flipped)]).exits(4).says("1.1.0: stored").says("1.2.0: refused");
    let kept = cached(&host);
    assert_eq!(kept, 1);

    // The archive of another version, with its own good signature.
    let swapped = changed(&new, "swapped.tar", |folder| {
        let (from, to) = (archive_in(folder, "1.1.0"), archive_in(folder, "1.2.0"));
        for end in ["", ".sig"] {
            let with = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
            fs::copy(with(&from), with(&to)).unwrap();
        }
    });
    node.cli_when_idle(&["upgrade", "--from", text(&swapped)]).exits(4);
    node.cli(&["cache", "import", text(&swapped)]).exits(4).says("1.2.0: refused");
    assert_eq!(cached(&host), kept);

    // Put together from two.
    let mixed = changed(&new, "mixed.tar", |folder| {
        let old_folder = folder.with_file_name("old.d");
        fs::create_dir(&old_folder).unwrap();
        assert!(Command::new("tar").args(["-xf", text(&old), "-C", text(&old_folder)]).status().unwrap().success());
        fs::copy(old_folder.join("metadata/timestamp.json"), folder.join("metadata/timestamp.json")).unwrap();
    });
    node.cli_when_idle(&["upgrade", "--from", text(&mixed)]).exits(4);
    assert_eq!(node.record().unwrap()["running"]["version"], "1.0.0");

    // An older one than what the node trusts by now.
    node.cli_when_idle(&["upgrade", "--from", text(&new)]).exits(0);
    node.wait_until_it_runs("1.2.0");
    let allow = ["upgrade", "--from", text(&old), "--version", "1.1.0", "--allow-downgrade"];
    node.cli_when_idle(&allow).exits(4).says("not trusted");
    assert_eq!(node.record().unwrap()["running"]["version"], "1.2.0");
    host.assert_clean(&["1.0.0", "1.2.0"], &[&node]);
}
