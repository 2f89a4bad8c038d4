//! Nodes that follow a repository which `exuvia-release repo` made, with the programs of a release engineer: from
//! the first root on, over a new root, to a release that is taken back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use exuvia::types::Target;

use crate::support::node::run;
use crate::support::{Host, builds};

/// The repository, in a folder that a host's web server serves, and the keys beside it.
struct Desk<'a> {
    host: &'a Host,
    keys: &'static [&'static str],
}

impl<'a> Desk<'a> {
    /// One person, and one machine that is online.
    fn new(host: &'a Host) -> Self {
        let desk = Self { host, keys: &["a.key", "b.key"] };
        for name in ["a.key", "b.key", "stranger.key", "release/a.pem", "release/b.pem", "stranger.pem"] {
            let from = builds::root().join("tests/keys").join(name);
            let to = host.path(from.file_name().unwrap().to_str().unwrap());
            fs::copy(from, &to).unwrap();
            fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let roles = ["--root", "a.pem", "--targets", "a.pem", "--timestamp", "b.pem"];
        desk.repo(&["init", "--product", "exuvia"], &roles);
        desk
    }

    /// `exuvia-release repo …`, signed by whoever holds a key at that time.
    fn repo(&self, verb: &[&str], args: &[&str]) {
        let keys = self.keys.iter().flat_map(|key| ["--key", key]);
        let signed: Vec<_> = verb.iter().copied().chain(["--to", "releases/repo"]).chain(keys).collect();
        self.release(&[&["repo"], &signed[..], args].concat());
    }

    #[track_caller]
    fn release(&self, args: &[&str]) {
        run(Command::new(env!("CARGO_BIN_EXE_exuvia-release")).args(args).current_dir(self.host.path(""))).exits(0);
    }

    /// Makes a real build whose root of trust is this repository's first.
    fn build(&self, version: &str) -> PathBuf {
        let binary = self.host.path("built");
        let root = self.host.path("releases/repo/public/metadata/1.root.json");
        builds::bad_node(version, &format!("trusts {}", root.display()), &binary);
        binary
    }

    /// Packs such a build, and lists it.
    fn publish(&self, version: &str, how: &[&str]) {
        self.build(version);
        let target = Target::of_this_build().to_string();
        let pack = ["pack", "--binary", "built", "--product", "exuvia", "--version", version, "--target", &target];
        self.release(&[&pack[..], &["--key", "a.key", "--out", "site", "--level", "1"]].concat());
        let from = ["--from", "site", "--release-key", "a.pem"];
        self.repo(&["add-release", version], &[&from, how].concat());
    }
}

#[test]
fn a_node_follows_what_release_engineers_publish_over_a_new_root_and_leaves_what_they_take_back() {
    let mut host = Host::new();
    let address = format!("http://{}/repo/public", host.server_addr());
    host.set("source.listing", "");
    host.set("source.tuf", &format!("\"{address}/metadata\""));
    let mut desk = Desk::new(&host);
    fs::rename(desk.build("1.0.0"), host.binary()).unwrap();

    let node = host.start("one");
    desk.publish("1.1.0", &["--waves", "100%@0h"]);
    node.wait_until_it_runs("1.1.0");
    node.cli(&["status"]).exits(0).says("(trust: archive signature and release metadata)");

    // Another person joins, and the machine that is online is another one. No node has to be told.
    desk.repo(&["rotate", "--role", "root"], &["--add", "stranger.pem"]);
    for role in ["snapshot", "timestamp"] {
        let keys = ["--add", "stranger.pem", "--remove", "b", "--key", "stranger.key"];
        desk.repo(&["rotate", "--role", role], &keys);
    }
    desk.keys = &["a.key", "stranger.key"];

    // Halted, nobody goes there; another one is there for all.
    desk.publish("1.2.0", &["--waves", "100%@1h"]);
    desk.repo(&["rollout", "halt", "1.2.0"], &[]);
    desk.publish("1.1.1", &[]);
    node.wait_until_it_runs("1.1.1");
    let root: serde_json::Value =
        serde_json::from_slice(&fs::read(host.path("data/one/trust/root.json")).unwrap()).unwrap();
    assert!(root["signed"]["version"].as_u64() > Some(1), "{root}");

    // Resumed, it waits for its wave; begun anew, it is there. Withdrawn, nobody else goes there.
    desk.repo(&["rollout", "resume", "1.2.0"], &[]);
    node.wait_for("waiting for the wave", |status| status["last_check"]["result"] == "waiting");
    desk.repo(&["rollout", "start", "1.2.0"], &["--waves", "100%@0h"]);
    node.wait_until_it_runs("1.2.0");
    desk.repo(&["withdraw", "1.2.0"], &[]);
    node.wait_for("back with nothing to go to", |status| status["last_check"]["result"] == "up-to-date");
    desk.release(&["repo", "verify", "--to", "releases/repo", "--release-key", "a.pem"]);
    host.assert_clean(&["1.1.1", "1.2.0"], &[&node]);
}

#[test]
fn a_repository_is_a_bundle_as_it_is() {
    let mut host = Host::new();
    host.set("source.listing", "");
    host.set("source.tuf", "\"http://127.0.0.1:1/metadata/\"");
    let desk = Desk::new(&host);
    fs::rename(desk.build("1.0.0"), host.binary()).unwrap();
    desk.publish("1.1.0", &["--waves", "100%@1h"]);
    let mut node = host.node("one");
    node.configure("poll.interval", "\"1h\"");
    node.start();
    node.wait_for("done with its first look", |status| !status["last_check"].is_null());
    let public = host.path("releases/repo/public");
    // Who carries it here does not wait for its wave.
    node.cli_when_idle(&["upgrade", "--from", public.to_str().unwrap()]).exits(0);
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}
