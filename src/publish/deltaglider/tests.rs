//! Recovery from a folder, with the files that the real DeltaGlider and the real xdelta3 made.

use std::io::Read;
use std::path::PathBuf;

use proptest::prelude::*;

use super::metadata::{Described, Metadata};
use super::recover::Recovery;
use super::shelf::Shelf;
use super::unrecovered::Unrecovered;
use crate::publish::repo::Folder;
use crate::sys::{Dir, FromStart, OperatorFile};
use crate::types::{ByteLimit, Packing};

const DELTA: &str = "exuvia-1.1.0.tar.delta";

fn vector(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/deltaglider").join(name);
    OperatorFile::read(&path, ByteLimit::mib(1)).unwrap()
}

struct Site {
    _root: tempfile::TempDir,
    dir: Dir,
    shelf: Shelf,
    scratch: Dir,
}

impl Site {
    fn new(folder: &str, names: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let top = Dir::of_operator(root.path()).unwrap();
        let (dir, scratch) = (top.public_subdir("shelf").unwrap(), top.public_subdir("scratch").unwrap());
        let site = Self { shelf: Shelf::Folder(Folder::open(dir.path()).unwrap()), dir, scratch, _root: root };
        for name in names {
            site.put(name, &vector(&format!("{folder}/{name}")));
            let sidecar = format!("{name}.meta.json");
            site.put(&sidecar, &vector(&format!("{folder}/{sidecar}")));
        }
        site
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        self.dir.replace(name, bytes, 0o644).unwrap();
    }

    fn recovery(&self) -> Recovery<'_> {
        Recovery { shelf: &self.shelf, scratch: &self.scratch, reference: None }
    }

    fn described(&self, name: &str) -> Described {
        self.shelf.metadata(name).unwrap().describe(name).unwrap()
    }

    fn recover(&self, recovery: &mut Recovery<'_>, name: &str) -> Result<Vec<u8>, Unrecovered> {
        let described = self.described(name);
        let outcome = recovery.recover(name, &described, Packing::Tar, &mut |_| ());
        assert_eq!(self.scratch.names().unwrap(), [""; 0], "private copies have no names");
        let mut bytes = Vec::new();
        FromStart::new(&outcome?, described.length).read_to_end(&mut bytes).unwrap();
        Ok(bytes)
    }
}

#[test]
fn every_version_that_the_real_deltaglider_kept_comes_back_as_its_metadata_state_it() {
    let names = ["node-1.0.0.tar.delta", "node-1.0.1.tar.delta", "node-1.0.2.tar.delta"];
    let site = Site::new("tar", &[&names[..], &["reference.bin", "node-1.0.0.tar.sha256"]].concat());
    assert_eq!(
        site.shelf.objects().unwrap(),
        [&["node-1.0.0.tar.delta", "node-1.0.0.tar.sha256"], &names[1..]].concat()
    );
    let mut recovery = site.recovery();
    for name in names {
        // What comes back has the digest: `recover` looks at nothing else.
        assert_eq!(site.recover(&mut recovery, name).unwrap().len(), 317_440, "{name}");
    }
    let sums = site.recover(&mut recovery, "node-1.0.0.tar.sha256").unwrap();
    assert!(sums.starts_with(site.described(names[0]).digest.to_string().as_bytes()));
}

#[test]
fn i1_a_kept_delta_with_any_byte_changed_gives_the_file_that_is_stated_or_none() {
    let site = Site::new("releases", &["reference.bin", DELTA]);
    let good = vector(&format!("releases/{DELTA}"));
    let (mut recovery, mut refused) = (site.recovery(), 0);
    let expected = site.recover(&mut recovery, DELTA).unwrap();
    for at in 0..good.len() {
        let mut other = good.clone();
        other[at] ^= 0x10;
        site.put(DELTA, &other);
        match site.recover(&mut recovery, DELTA) {
            Ok(bytes) => assert!(bytes == expected, "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > good.len() / 2, "{refused}");
}

#[test]
fn i1_a_reference_exchanged_after_it_was_verified_changes_nothing() {
    let site = Site::new("releases", &["reference.bin", DELTA, "exuvia-1.0.0.tar.delta"]);
    let mut recovery = site.recovery();
    let expected = site.recover(&mut recovery, DELTA).unwrap();
    site.put("reference.bin", b"another one");
    assert_eq!(site.recover(&mut recovery, DELTA).unwrap(), expected);
    site.recover(&mut recovery, "exuvia-1.0.0.tar.delta").unwrap();
    // Whoever comes now sees that it is another one.
    let refused = site.recover(&mut site.recovery(), DELTA);
    assert!(matches!(refused, Err(Unrecovered::OtherReference)));
    site.dir.remove("reference.bin").unwrap();
    assert!(matches!(site.recover(&mut site.recovery(), DELTA), Err(Unrecovered::NoReference)));
}

fn described(pairs: &[(&str, &str)], name: &str) -> Result<Described, Unrecovered> {
    Metadata::new(pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))).describe(name)
}

#[test]
fn i1_metadata_that_lie_crash_nothing_and_name_no_path() {
    let digest = "ab".repeat(32);
    let good = [
        ("dg-original-name", "node-1.0.0.tar"),
        ("dg-file-size", "10"),
        ("dg-file-sha256", digest.as_str()),
        ("dg-ref-key", "releases/tar/reference.bin"),
        ("dg-ref-sha256", digest.as_str()),
    ];
    let name = "node-1.0.0.tar.delta";
    let expected = described(&good, name).unwrap();
    assert_eq!((expected.length, expected.reference), (10, Some(expected.digest)));
    let with = |key: &str, text: &'static str| {
        let mut pairs = good.to_vec();
        pairs.retain(|(name, _)| *name != key);
        if text != "-" {
            pairs.push((good.iter().find(|(name, _)| *name == key).map_or("dg-compression", |(name, _)| name), text));
        }
        described(&pairs, name)
    };
    for key in ["dg-file-size", "dg-file-sha256", "dg-ref-key", "dg-ref-sha256"] {
        assert!(matches!(with(key, "-"), Err(Unrecovered::Missing(missing)) if missing == key), "{key}");
        assert!(matches!(with(key, "  "), Err(Unrecovered::Missing(missing)) if missing == key), "{key}");
        assert!(matches!(with(key, "../../etc/passwd"), Err(Unrecovered::Malformed(other)) if other == key), "{key}");
    }
    for size in ["-1", "+1", "1e3", "0x10", "18446744073709551616", "1 0"] {
        assert!(matches!(with("dg-file-size", size), Err(Unrecovered::Malformed(_))), "{size}");
    }
    for other in ["node-9.9.9.tar", "../node-1.0.0.tar", "node-1.0.0.tar\n", "/etc/passwd"] {
        let outcome = with("dg-original-name", other);
        assert!(other.trim() == "node-1.0.0.tar" || matches!(outcome, Err(Unrecovered::OtherName(_))), "{other}");
    }
    assert!(with("dg-original-name", "-").is_ok());
    assert!(matches!(with("dg-compression", "zstd"), Err(Unrecovered::Malformed(_))));
    assert_eq!(with("dg-compression", "none").unwrap().reference, None);
    assert!(matches!(described(&[("owner", "me")], name), Err(Unrecovered::NoMetadata)));

    // As stores spell them that know no hyphens, or that keep capitals; the first that is not empty counts.
    let aliased = good.map(|(name, text)| (name.replace('-', "_").to_uppercase(), text));
    let aliased: Vec<_> = aliased.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    assert_eq!(described(&aliased, name).unwrap(), expected);
    assert_eq!(described(&[&aliased[..], &[("dg-file-size", "")]].concat(), name).unwrap(), expected);
    assert_eq!(described(&[&aliased[..], &[("dg-file-size", "11")]].concat(), name).unwrap().length, 11);
}

#[test]
fn i1_lengths_that_lie_are_found_before_or_after_anything_is_made() {
    let site = Site::new("releases", &["reference.bin", DELTA]);
    let good = site.described(DELTA);
    let with =
        |length| site.recovery().recover(DELTA, &Described { length, ..good }, Packing::Tar, &mut |_| ()).unwrap_err();
    assert!(matches!(with(0), Unrecovered::TooLong { .. }));
    assert!(matches!(with(1 << 40), Unrecovered::TooLong { .. }));
    assert!(matches!(with(u64::MAX), Unrecovered::TooLong { .. }));
    assert!(matches!(with(good.length - 1), Unrecovered::Delta(_)));
    assert!(matches!(with(good.length + 1), Unrecovered::Delta(_)));
    let other = Described { digest: crate::types::Sha256Digest::from_bytes([7; 32]), ..good };
    let refused = site.recovery().recover(DELTA, &other, Packing::Tar, &mut |_| ());
    assert!(matches!(refused, Err(Unrecovered::OtherContent)));
}

proptest! {
    #[test]
    fn no_file_of_metadata_crashes_its_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,40}") {
        let _ = Metadata::of_sidecar(&bytes).and_then(|metadata| metadata.describe("node-1.0.0.tar.delta"));
        let json = serde_json::json!({ "Metadata": { "dg-file-sha256": text, "dg-file-size": text, "dg-original-name": text } });
        let read = Metadata::of_sidecar(json.to_string().as_bytes()).unwrap();
        let _ = read.describe(&text);
    }
}
