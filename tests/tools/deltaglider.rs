//! What DeltaGlider kept, imported as release engineers do it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::pack::release;
use super::{Run, TARGET, run, snapshot, test_key};

struct Desk(tempfile::TempDir);

impl Desk {
    /// With a copy of these vectors in `kept`.
    fn new(vectors: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::create_dir(desk.path("kept")).unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/deltaglider").join(vectors);
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), desk.path("kept").join(entry.file_name())).unwrap();
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn import(&self, product: &str, out: &str, rest: &[&str]) -> Run {
        let key = test_key("a.key");
        let args = ["import-deltaglider", "kept", "--product", product, "--target", TARGET, "--key", &key];
        release(&[&args[..], &["--out", out, "--level", "3"], rest].concat(), self.0.path())
    }

    fn edit(&self, object: &str, change: impl Fn(&mut Value)) {
        let path = self.path("kept").join(format!("{object}.meta.json"));
        let mut sidecar: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut sidecar["Metadata"]);
        fs::write(path, sidecar.to_string()).unwrap();
    }
}

/// Each object's fate, and the reason where there is one.
fn fates(run: &Run) -> Vec<(String, String)> {
    let objects = run.json()["objects"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    objects.iter().map(|of| (text(&of["object"]), text(&of["fate"]) + " " + &text(&of["reason"]))).collect()
}

fn fate(run: &Run, object: &str) -> String {
    fates(run).into_iter().find(|(name, _)| name == object).unwrap().1
}

#[test]
fn every_packing_becomes_the_release_that_pack_would_make_of_its_program() {
    let desk = Desk::new("releases");
    let said = desk.import("exuvia", "site", &["--json"]).ok();
    let published: Vec<_> = fates(&said).into_iter().filter(|(_, fate)| fate == "published ").collect();
    assert_eq!(published.len(), 5, "{}", said.out);
    for version in ["1.0.0", "1.1.0", "1.2.0-rc.1", "1.3.0", "1.4.0"] {
        let archive = desk.path("site").join(version).join(format!("exuvia-{TARGET}.tar.zst"));
        let unpacked = run("tar", &["--zstd", "-xf", archive.to_str().unwrap()], desk.0.path());
        unpacked.ok();
        let program = fs::read(desk.path("exuvia")).unwrap();
        let says = format!("echo exuvia {}\n", version.replace("-rc.1", ""));
        assert!(program.starts_with(format!("#!/bin/sh\n{says}").as_bytes()), "{version}");
        let key = test_key("a.key");
        let args = ["pack", "--binary", "exuvia", "--product", "exuvia", "--version", version, "--target", TARGET];
        let args = [&args[..], &["--key", &key, "--out", "other", "--level", "3"]].concat();
        release(&args, desk.0.path()).ok();
        let other = desk.path("other").join(version).join(format!("exuvia-{TARGET}.tar.zst"));
        assert!(fs::read(archive).unwrap() == fs::read(other).unwrap(), "{version}");
    }
    release(&["verify", "site", "--key", &test_key("release/a.pem")], desk.0.path()).ok();

    // Again: nothing changes. By another key: what is published stays what it was.
    let before = snapshot(&desk.path("site"));
    let again = desk.import("exuvia", "site", &["--json"]).ok();
    assert!(fates(&again).iter().all(|(_, fate)| fate == "unchanged "), "{}", again.out);
    assert!(snapshot(&desk.path("site")) == before);
}

#[test]
fn what_the_real_deltaglider_kept_is_published() {
    let desk = Desk::new("tar");
    let program = ["--program", "node/bin/node"];
    let tried = desk.import("node", "site", &[&program[..], &["--dry-run", "--json"]].concat()).ok();
    assert_eq!(fate(&tried, "node-1.0.2.tar.delta"), "recoverable ");
    assert!(!desk.path("site").exists(), "a dry run writes nothing");
    // Neither a key nor a tree is needed to look.
    let args = ["import-deltaglider", "kept", "--product", "node", "--target", TARGET, "--dry-run"];
    release(&[&args[..], &program].concat(), desk.0.path()).ok().says("can be   node 1.0.2");

    let said = desk.import("node", "site", &program).ok();
    assert!(said.out.contains("with a patch from 1.0.1"), "{}", said.out);
    assert!(said.out.contains("without node/VERSION"), "{}", said.out);
    release(&["verify", "site", "--key", &test_key("release/a.pem")], desk.0.path()).ok().says("good     node 1.0.2");

    let other = Desk::new("tar");
    other.import("node", "site", &[]).refused(4, "3 of 4 objects").says("Name the program in it with --program");
    assert!(!other.path("site").exists(), "nothing is left of what was not published");
    other.import("exuvia", "site", &[]).ok().says("its name does not begin with \"exuvia-\"");
}

#[test]
fn i1_each_object_that_cannot_be_recovered_is_named_and_the_others_are_published() {
    let desk = Desk::new("releases");
    let kept = |name: &str| desk.path("kept").join(name);
    let copy = |name: &str, change: &dyn Fn(&mut Value)| {
        fs::copy(kept("exuvia-1.1.0.tar.delta"), kept(name)).unwrap();
        fs::copy(kept("exuvia-1.1.0.tar.delta.meta.json"), kept(&format!("{name}.meta.json"))).unwrap();
        desk.edit(name, |metadata| {
            metadata["dg-original-name"] = json!(name.trim_end_matches(".delta"));
            change(metadata);
        });
    };
    copy("exuvia-2.0.0.tar.delta", &|metadata| metadata["dg-original-name"] = json!("../../exuvia-9.9.9.tar"));
    copy("exuvia-2.1.0.tar.delta", &|metadata| metadata["dg-file-size"] = json!("99999999999999"));
    copy("exuvia-2.2.0.tar.delta", &|metadata| metadata["dg-file-size"] = json!("4096"));
    copy("exuvia-2.3.0.tar.delta", &|metadata| metadata["dg-file-sha256"] = json!("00".repeat(32)));
    copy("exuvia-2.4.0.tar.delta", &|metadata| metadata["dg-ref-sha256"] = json!("00".repeat(32)));
    copy("exuvia-2.5.0.tar.delta", &|metadata| metadata["dg-ref-sha256"] = json!("../reference"));
    copy("exuvia-2.6.0.tar.delta", &|metadata| metadata["dg-ref-key"] = json!("/etc/passwd"));
    copy("exuvia-2.7.0.tar.delta", &|_| ());
    fs::write(kept("exuvia-2.7.0.tar.delta"), b"\xd6\xc3\xc4\0").unwrap();
    fs::copy(kept("exuvia-1.1.0.tar.delta"), kept("exuvia-2.8.0.tar.delta")).unwrap();
    copy("exuvia-2.9.0.tar.delta", &|_| ());
    fs::write(kept("exuvia-2.9.0.tar.delta.meta.json"), "<html>").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", kept("exuvia-3.0.0.tar")).unwrap();
    fs::copy(kept("exuvia-1.3.0.tgz.meta.json"), kept("exuvia-3.0.0.tar.meta.json")).unwrap();
    desk.edit("exuvia-3.0.0.tar", |metadata| metadata["dg-original-name"] = json!("exuvia-3.0.0.tar"));
    fs::write(kept("notes.txt"), "x").unwrap();

    let said = desk.import("exuvia", "site", &["--json"]).refused(4, "11 of 17 objects could not be imported");
    for (object, reason) in [
        ("exuvia-2.0.0.tar.delta", "belong to \"../../exuvia-9.9.9.tar\""),
        ("exuvia-2.1.0.tar.delta", "at most"),
        ("exuvia-2.2.0.tar.delta", "more than it may"),
        ("exuvia-2.3.0.tar.delta", "not what its metadata state"),
        ("exuvia-2.4.0.tar.delta", "is not the one that its delta begins with"),
        ("exuvia-2.5.0.tar.delta", "no dg-ref-sha256 that can be meant"),
        ("exuvia-2.6.0.tar.delta", "no dg-ref-key that can be meant"),
        ("exuvia-2.7.0.tar.delta", "ends early"),
        ("exuvia-2.8.0.tar.delta", "has no metadata"),
        ("exuvia-2.9.0.tar.delta", "the file with its metadata is not one"),
        ("exuvia-3.0.0.tar", "symbolic link"),
    ] {
        let fate = fate(&said, object);
        assert!(fate.starts_with("lost ") && fate.contains(reason), "{object}: {fate}");
    }
    assert!(fate(&said, "notes.txt").starts_with("skipped "));
    assert_eq!(said.json()["lost"], 11);
    release(&["verify", "site", "--key", &test_key("release/a.pem")], desk.0.path()).ok();
    let versions = fs::read_dir(desk.path("site")).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(versions.count(), 5, "what was lost leaves nothing");
}

#[test]
fn i1_a_lost_reference_and_a_recompressed_file_are_named() {
    let desk = Desk::new("recompressed");
    desk.import("exuvia", "site", &[]).refused(4, "1 of 1").says("cannot be made again byte for byte");
    let desk = Desk::new("releases");
    fs::remove_file(desk.path("kept/reference.bin")).unwrap();
    let said = desk.import("exuvia", "site", &["--json"]).refused(4, "3 of 5");
    assert!(fate(&said, "exuvia-1.0.0.tar.delta").contains("there is none"));
    assert_eq!(fate(&said, "exuvia-1.3.0.tgz"), "published ");
}

#[test]
fn a_command_line_that_cannot_be_meant_is_refused() {
    let desk = Desk::new("releases");
    let from = |from: &str| {
        let args = ["import-deltaglider", from, "--product", "exuvia", "--target", TARGET];
        release(&[&args[..], &["--dry-run"]].concat(), desk.0.path())
    };
    from("nowhere").refused(9, "No such file");
    from("gs://bucket").refused(2, "is neither a folder nor an address");
    let args = ["import-deltaglider", "kept", "--product", "exuvia", "--target", TARGET];
    release(&args, desk.0.path()).refused(2, "--key");
    fs::create_dir(desk.path("empty")).unwrap();
    from("empty").ok().says("There is no object there");
}
