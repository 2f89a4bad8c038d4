//! What DeltaGlider kept in an object store, imported from there.

use std::fs;

use crate::server::{Between, Moto, Verdict};
use crate::{Desk, TARGET, root};

/// Fills a folder of the bucket as DeltaGlider does: what a copy has in files are notes of each object.
fn fill(moto: &Moto, vectors: &str, prefix: &str) {
    for entry in fs::read_dir(root().join("tests/vectors/deltaglider").join(vectors)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".meta.json") {
            continue;
        }
        let mut notes = Vec::new();
        if let Ok(text) = fs::read(path.with_file_name(format!("{name}.meta.json"))) {
            let sidecar: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let texts = sidecar["Metadata"].as_object().unwrap();
            notes.extend(texts.iter().map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned())));
        }
        moto.put_noted(&format!("{prefix}{name}"), &fs::read(&path).unwrap(), &notes);
    }
}

fn import<'a>(from: &'a str, product: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    let args = ["import-deltaglider", from, "--product", product, "--target", TARGET, "--level", "1"];
    [&args[..], &["--key", "a.key", "--out", "imported"], rest].concat()
}

#[test]
fn a_bucket_of_deltaglider_is_imported_with_all_its_folders_and_nothing_is_written_there() {
    let moto = Moto::start();
    let desk = Desk::new(&moto.endpoint());
    fill(&moto, "tar", "dg/node/");
    fill(&moto, "releases", "dg/exuvia/linux/");
    let before = moto.keys("dg/");
    let said = desk.ok(&import("s3://releases/dg", "node", &["--program", "node/bin/node"]));
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        assert!(
            said.contains(&format!("new      node {version} for {TARGET}, from node/node-{version}.tar.delta")),
            "{said}"
        );
    }
    assert!(said.contains("skipped  exuvia/linux/exuvia-1.0.0.tar.delta"), "{said}");
    desk.ok(&["verify", "imported", "--key", "a.pem"]);

    let mut args = import("s3://releases/dg/exuvia/", "exuvia", &["--json"]);
    args[11] = "others";
    let said = desk.ok(&args);
    assert_eq!(said.matches("\"fate\":\"published\"").count(), 5, "{said}");
    desk.ok(&["verify", "others", "--key", "a.pem"]);
    assert_eq!(moto.keys("dg/"), before);
    // The whole bucket, as DeltaGlider has it.
    let said = desk.ok(&import("s3://releases", "node", &["--program", "node/bin/node"]));
    assert_eq!(said.matches("same     node").count(), 3, "{said}");
}

#[test]
fn i1_a_bucket_that_lies_or_has_no_metadata_gives_nothing() {
    let moto = Moto::start();
    fill(&moto, "tar", "dg/");
    let names: Vec<_> = moto.keys("dg/");
    for name in names {
        let bytes = fs::read(root().join("tests/vectors/deltaglider/tar").join(&name)).unwrap();
        moto.put_noted(&format!("bare/{name}"), &bytes, &[]);
    }
    let desk = Desk::new(&moto.endpoint());
    desk.refused(4, "has no metadata of DeltaGlider", &import("s3://releases/bare", "node", &[]));
    desk.refused(6, "no-such-bucket", &import("s3://no-such-bucket", "node", &[]));

    // Another reference than the one that was kept there.
    let between = Between::start(&moto, |request| {
        let asked = request.method == "GET" && request.path.contains("reference.bin");
        if asked { Verdict::Answer(b"other".to_vec()) } else { Verdict::Pass }
    });
    let desk = Desk::new(&between.endpoint());
    desk.refused(4, "is not the one", &import("s3://releases/dg", "node", &["--program", "node/bin/node"]));
    assert!(!desk.path("imported").exists(), "nothing is left");
}
