//! Repositories in an object store: a real server that speaks S3, somebody in between who counts, kills, delays and
//! lies, and the publisher's program as release engineers run it.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

mod cut;
mod deltaglider;
mod doctor;
mod gc;
mod large;
#[path = "../support/port.rs"]
mod port;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use server::{Between, Moto, Sees, Verdict};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A release engineer's folder: keys, and two packed versions.
struct Desk {
    dir: tempfile::TempDir,
    endpoint: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Desk {
    fn new(endpoint: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.key", "b.key", "stranger.key", "release/a.pem", "release/b.pem", "stranger.pem"] {
            let from = root().join("tests/keys").join(name);
            let to = dir.path().join(from.file_name().unwrap());
            fs::copy(&from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let desk = Self { dir, endpoint: endpoint.to_owned() };
        for version in ["1.0.0", "1.1.0"] {
            fs::write(desk.path("program"), format!("#!/bin/sh\necho {version}\n")).unwrap();
            let what = ["--binary", "program", "--product", "exuvia", "--version", version, "--target", TARGET];
            desk.ok(&[&["pack"], &what[..], &["--key", "a.key", "--out", "site", "--level", "1"]].concat());
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exuvia-release"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("AWS_ENDPOINT_URL", &self.endpoint).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "engineer").env("AWS_SECRET_ACCESS_KEY", "a secret that nobody prints");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, code: i32, words: &str, args: &[&str]) {
        let output = self.run(args);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(words), "{words:?} is not in: {said}");
        assert!(!said.contains("a secret that nobody prints"), "{said}");
    }

    /// With both keys.
    fn change<'a>(place: &'a str, verb: &[&'a str], args: &[&'a str]) -> Vec<&'a str> {
        [&["repo"], verb, &["--to", place, "--key", "a.key", "--key", "b.key"], args].concat()
    }

    fn init(&self, place: &str) {
        let roles = ["--product", "exuvia", "--root", "a.pem", "--targets", "a.pem", "--timestamp", "b.pem"];
        self.ok(&Self::change(place, &["init"], &roles));
    }

    fn add<'a>(place: &'a str, version: &'a str) -> Vec<&'a str> {
        Self::change(place, &["add-release", version], &["--from", "site", "--release-key", "a.pem"])
    }

    #[track_caller]
    fn verify(&self, place: &str) -> String {
        self.ok(&["repo", "verify", "--to", place, "--release-key", "a.pem"])
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_whole_life_of_a_repository_is_the_same_in_an_object_store_as_in_a_folder() {
    let moto = Moto::start();
    let desk = Desk::new(&moto.endpoint());
    let listed: Vec<Vec<String>> = ["folder", "s3://releases/site/exuvia"]
        .map(|place| {
            desk.init(place);
            desk.ok(&Desk::add(place, "1.0.0"));
            desk.ok(&[&Desk::add(place, "1.1.0")[..], &["--channel", "beta"]].concat());
            desk.ok(&Desk::change(place, &["promote", "1.1.0"], &["--channel", "stable"]));
            desk.ok(&Desk::change(place, &["rollout", "start", "1.1.0"], &["--waves", "10%@0h,100%@6h"]));
            desk.ok(&Desk::change(place, &["rollout", "halt", "1.1.0"], &[]));
            desk.ok(&Desk::change(place, &["rotate", "--role", "root"], &["--add", "stranger.pem"]));
            desk.ok(&Desk::change(place, &["renew", "--role", "targets"], &[]));
            desk.ok(&Desk::change(place, &["withdraw", "1.1.0"], &[]));
            let good = desk.verify(place);
            assert!(good.contains("good     exuvia 1.0.0") && !good.contains("1.1.0"), "{good}");
            let status = desk.ok(&["repo", "status", "--to", place]);
            assert!(status.contains("root       version 2"), "{status}");
            match place {
                "folder" => server::files_below(&desk.path("folder")),
                _ => moto.keys("site/exuvia/"),
            }
        })
        .into_iter()
        .collect();
    assert_eq!(listed[0], listed[1], "the same files, and no claim is left");
}

#[test]
fn a_publisher_that_is_killed_at_any_request_leaves_readers_whole_and_is_finished_by_the_next() {
    let moto = Moto::start();
    let base = Desk::new(&moto.endpoint());
    base.init("s3://releases/base");
    base.ok(&Desk::add("s3://releases/base", "1.0.0"));

    let add: cut::Verb = |place| Desk::add(place, "1.1.0");
    let (changes, _) = cut::count(&moto, &base, Sees::changes, add);
    assert!(changes >= 10, "{changes}");

    cut::at_each(&moto, &base, Sees::changes, changes, add, &mut |killed| {
        let (place, prefix) = (killed.place(), &killed.prefix);
        // Whoever reads now is served the state before, or the one after.
        let good = base.verify(&place);
        assert!(good.contains("good     exuvia 1.0.0"), "{prefix}: {good}");
        // Its claim still counts, where it got as far as that; what ten minutes do is done here by hand.
        if !moto.keys(&format!("{prefix}/claims/")).is_empty() {
            // Waits for twelve seconds: once is enough.
            if killed.at == changes / 2 && killed.arrived {
                base.refused(8, "another run is changing", &Desk::add(&place, "1.1.0"));
            }
            moto.remove_all(&format!("{prefix}/claims/"));
        }
        base.ok(&Desk::add(&place, "1.1.0"));
        let good = base.verify(&place);
        assert!(good.contains("exuvia 1.0.0") && good.contains("exuvia 1.1.0"), "{prefix}: {good}");
        assert_eq!(moto.keys(&format!("{prefix}/staged/")), [""; 0], "{prefix}: nothing half-done stays");
    });
}

/// The same keys and packed versions, in a folder of its own.
fn copy_of(desk: &Desk) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let from = format!("{}/.", desk.dir.path().display());
    assert!(Command::new("cp").arg("-a").arg(from).arg(copy.path()).status().unwrap().success());
    copy
}

#[test]
fn of_two_publishers_at_once_one_wins_and_the_other_is_told() {
    let moto = Moto::start();
    let desk = Desk::new(&moto.endpoint());
    let place = "s3://releases/both";
    desk.init(place);
    for round in 0..3 {
        let changes: [Vec<&str>; 2] = ["1.0.0", "1.1.0"].map(|version| Desk::add(place, version));
        let changes = if round == 0 {
            changes
        } else {
            [&["often"], &["never"]].map(|_| Desk::change(place, &["renew", "--role", "targets"], &[]))
        };
        let running =
            changes.map(|args| desk.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let ended = running.map(|publisher| publisher.wait_with_output().unwrap());
        let won = ended.iter().filter(|output| output.status.success()).count();
        assert!(won >= 1, "{} {}", said(&ended[0]), said(&ended[1]));
        for output in ended.iter().filter(|output| !output.status.success()) {
            assert_eq!(output.status.code(), Some(8), "{}", said(output));
            assert!(said(output).contains("another run is changing"), "{}", said(output));
        }
        desk.verify(place);
        assert_eq!(moto.keys("both/claims/"), [""; 0]);
    }
}

#[test]
fn a_store_that_lies_is_not_published_to() {
    let moto = Moto::start();
    let desk = |rule: fn(&Sees) -> Verdict| {
        let between = Between::start(&moto, rule);
        let desk = Desk::new(&between.endpoint());
        (between, desk)
    };
    let add = ["--root", "a.pem", "--targets", "a.pem", "--timestamp", "b.pem", "--product", "exuvia"];

    // It says that it wrote, and did something else.
    let (_between, other) = desk(|request| match request.method.as_str() {
        "GET" if request.path.contains(".json") => Verdict::Answer(b"{}".to_vec()),
        _ => Verdict::Pass,
    });
    other.refused(4, "", &Desk::change("s3://releases/lies", &["init"], &add));

    // It sends without an end.
    let (_between, endless) = desk(|request| match request.method.as_str() {
        "GET" if request.path.contains(".json") => Verdict::Endless,
        _ => Verdict::Pass,
    });
    endless.refused(4, "longer than", &["repo", "status", "--to", "s3://releases/endless"]);

    // It does not list what was just written: two runs could not see each other.
    let (_between, late) = desk(|request| {
        let empty = "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>";
        if request.path.contains("list-type=2") { Verdict::Answer(empty.into()) } else { Verdict::Pass }
    });
    late.refused(4, "does not list what was just written", &Desk::change("s3://releases/late", &["init"], &add));
}

#[test]
fn a_store_that_cannot_be_used_is_named_with_what_may_help() {
    let moto = Moto::start();
    let desk = Desk::new(&moto.endpoint());
    let roles = ["--root", "a.pem", "--targets", "a.pem", "--timestamp", "b.pem", "--product", "exuvia"];
    desk.refused(6, "Make the bucket first", &Desk::change("s3://no-such-bucket/x", &["init"], &roles));
    desk.refused(2, "holds no repository", &["repo", "status", "--to", "s3://releases/empty"]);
    for wrong in [
        "gs://releases/x",
        "s3://",
        "s3://user@releases/x",
        "s3://releases/a//b",
        "s3://releases/../b",
        "s3://releases:1/x",
    ] {
        desk.refused(2, "is neither a folder nor an address", &["repo", "status", "--to", wrong]);
    }
}
