use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Run, TARGET, run, run_without_space, snapshot, test_key};

pub(crate) fn release(args: &[&str], dir: &Path) -> Run {
    run(env!("CARGO_BIN_EXE_exuvia-release"), args, dir)
}

pub(crate) struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Compresses somewhat, as a program does.
        let binary: Vec<u8> =
            (0..300_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect();
        fs::write(dir.path().join("binary"), binary).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn pack(&self, out: &str, version: &str, target: &str, rest: &[&str]) -> Run {
        let key = test_key("a.key");
        let args = ["pack", "--binary", "binary", "--product", "exuvia", "--version", version, "--target", target];
        release(&[&args[..], &["--key", &key, "--out", out, "--level", "3"], rest].concat(), self.path())
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    fn listing(&self, out: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(&format!("{out}/releases.json"))).unwrap()
    }
}

fn names(desk: &Desk, folder: &str) -> Vec<String> {
    let mut names: Vec<_> =
        snapshot(&desk.path().join(folder)).into_iter().map(|(path, _)| path.display().to_string()).collect();
    names.sort();
    names
}

#[test]
fn a_release_is_packed_signed_and_listed() {
    let desk = Desk::new();
    let packed = desk.pack("site", "1.0.0", TARGET, &["--json"]).ok().json();
    let stem = format!("1.0.0/exuvia-{TARGET}");
    let archive = format!("{stem}.tar.zst");
    let expected = [
        "1.0.0/".into(),
        "1.0.0/SHA256SUMS".into(),
        format!("{stem}.tar.sig"),
        archive.clone(),
        format!("{archive}.sig"),
        "releases.json".into(),
    ];
    assert_eq!(names(&desk, "site"), expected);
    let sums = String::from_utf8(desk.read("site/1.0.0/SHA256SUMS")).unwrap();
    assert_eq!(sums, format!("{}  exuvia-{TARGET}.tar.zst\n", packed["sha256"].as_str().unwrap()));
    let checked = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(desk.path().join("site/1.0.0"))
        .status();
    assert!(checked.unwrap().success());

    let entry = &desk.listing("site")[0];
    assert_eq!(
        (&entry["tag_name"], &entry["draft"], &entry["prerelease"]),
        (&"v1.0.0".into(), &false.into(), &false.into())
    );
    let listed: Vec<_> = entry["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|asset| asset["browser_download_url"].as_str().unwrap())
        .collect();
    assert_eq!(listed, ["1.0.0/SHA256SUMS", &format!("{stem}.tar.sig"), &archive, &format!("{archive}.sig")]);
    for asset in entry["assets"].as_array().unwrap() {
        let size = desk.read(&format!("site/{}", asset["browser_download_url"].as_str().unwrap())).len();
        assert_eq!(asset["size"], size);
    }

    // Both signatures hold, as another program of this package and another tar see it.
    let tar = zstd::decode_all(desk.read(&format!("site/{archive}")).as_slice()).unwrap();
    fs::write(desk.path().join("t.tar"), &tar).unwrap();
    let verify = |purpose: &str, file: &str, sig: &str| {
        let public = test_key("release/a.pem");
        let id = ["--product", "exuvia", "--version", "1.0.0", "--target", TARGET];
        let args = ["verify", "--key", &public, "--purpose", purpose, file, "--sig", sig];
        run(env!("CARGO_BIN_EXE_exuvia-keygen"), &[&args[..], &id].concat(), desk.path()).ok();
    };
    verify("archive", &format!("site/{archive}"), &format!("site/{archive}.sig"));
    verify("tar", "t.tar", &format!("site/{stem}.tar.sig"));
    let extracted = Command::new("tar").args(["-xf", "t.tar"]).current_dir(desk.path()).status();
    assert!(extracted.unwrap().success());
    assert_eq!(desk.read("exuvia"), desk.read("binary"));
}

#[test]
fn the_same_binary_makes_the_same_bytes_except_the_signatures() {
    for format in ["zst", "gz"] {
        let desk = Desk::new();
        let pack = |out: &str| {
            let key = test_key("a.key");
            let args = ["pack", "--binary", "binary", "--product", "exuvia", "--version", "1.0.0", "--target", TARGET];
            let status = Command::new(env!("CARGO_BIN_EXE_exuvia-release"))
                .args(args)
                .args(["--key", &key, "--out", out, "--format", format])
                .env("SOURCE_DATE_EPOCH", "1700000000")
                .current_dir(desk.path())
                .output()
                .unwrap();
            assert!(status.status.success());
            snapshot(&desk.path().join(out))
        };
        let (one, two) = (pack("one"), pack("two"));
        assert_eq!(one.len(), two.len());
        for ((name, bytes), (other_name, other_bytes)) in one.iter().zip(&two) {
            assert_eq!(name, other_name);
            let is_signature = name.extension().is_some_and(|extension| extension == "sig");
            assert_eq!(bytes == other_bytes, !is_signature, "{}", name.display());
        }
    }
}

#[test]
fn an_archive_needs_no_more_than_two_mebibytes_of_window() {
    let desk = Desk::new();
    let word = |n: u32| if n.is_multiple_of(16) { n.wrapping_mul(2_654_435_761) >> 7 } else { n % 64 };
    let noise: Vec<u8> = (0..9 << 18).flat_map(|n| word(n).to_le_bytes()).collect();
    fs::write(desk.path().join("binary"), noise).unwrap();
    desk.pack("site", "1.0.0", TARGET, &["--level", "22"]).refused(2, "--level");
    let key = test_key("a.key");
    let args = ["pack", "--binary", "binary", "--product", "exuvia", "--version", "1.0.0", "--target", TARGET];
    release(&[&args[..], &["--key", &key, "--out", "site", "--level", "22"]].concat(), desk.path()).ok();
    let archive = desk.read(&format!("site/1.0.0/exuvia-{TARGET}.tar.zst"));
    let mut decoder = zstd::stream::read::Decoder::new(archive.as_slice()).unwrap();
    decoder.window_log_max(21).unwrap();
    assert_eq!(std::io::copy(&mut decoder, &mut std::io::sink()).unwrap(), (9 << 20) + 512 + 1024);
}

#[test]
fn other_versions_and_targets_stay_and_the_newest_comes_first() {
    let desk = Desk::new();
    let other = "aarch64-unknown-linux-gnu";
    desk.pack("site", "1.0.0", TARGET, &[]).ok();
    desk.pack("site", "1.10.0-rc.1", TARGET, &[]).ok();
    desk.pack("site", "1.9.0", TARGET, &["--notes-url", "https://example.org/1.9.0"]).ok();
    desk.pack("site", "1.0.0", other, &["--format", "gz"]).ok();
    let listing = desk.listing("site");
    let tags: Vec<_> = listing.as_array().unwrap().iter().map(|entry| entry["tag_name"].as_str().unwrap()).collect();
    assert_eq!(tags, ["v1.10.0-rc.1", "v1.9.0", "v1.0.0"]);
    assert_eq!(listing[0]["prerelease"], true);
    assert_eq!(listing[1]["html_url"], "https://example.org/1.9.0");
    assert_eq!(listing[2]["assets"].as_array().unwrap().len(), 7);
    let sums = String::from_utf8(desk.read("site/1.0.0/SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 2);
}

#[test]
fn a_base_url_makes_addresses_absolute() {
    let desk = Desk::new();
    desk.pack("site", "1.0.0", TARGET, &["--base-url", "https://example.org/releases"]).ok();
    let address = desk.listing("site")[0]["assets"][0]["browser_download_url"].clone();
    assert_eq!(address, "https://example.org/releases/1.0.0/SHA256SUMS");
}

#[test]
fn what_is_published_stays_as_it_is() {
    let desk = Desk::new();
    desk.pack("site", "1.0.0", TARGET, &[]).ok();
    let before = snapshot(&desk.path().join("site"));
    let again = desk.pack("site", "1.0.0", TARGET, &["--json"]).ok();
    assert_eq!(again.json()["new"], false);
    assert_eq!(snapshot(&desk.path().join("site")), before);

    desk.pack("site", "1.0.0", TARGET, &["--format", "gz"]).refused(4, "published already, with other content");
    desk.pack("site", "1.0.0", "other-target", &["--prerelease"]).refused(4, "prerelease");
    fs::write(desk.path().join("binary"), "another build").unwrap();
    desk.pack("site", "1.0.0", TARGET, &[]).refused(4, "published already, with other content");
    assert_eq!(snapshot(&desk.path().join("site")), before);
}

#[test]
fn a_published_archive_that_was_tampered_with_is_not_called_the_same() {
    let desk = Desk::new();
    desk.pack("site", "1.0.0", TARGET, &[]).ok();
    let archive = desk.path().join(format!("site/1.0.0/exuvia-{TARGET}.tar.zst"));
    let mut bytes = fs::read(&archive).unwrap();
    bytes[100] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let before = snapshot(&desk.path().join("site"));
    desk.pack("site", "1.0.0", TARGET, &[]).refused(4, "exuvia-release verify");
    assert_eq!(snapshot(&desk.path().join("site")), before);
}

#[test]
fn a_run_that_fails_leaves_the_tree_as_it_was() {
    let desk = Desk::new();
    fs::write(desk.path().join("empty"), "").unwrap();
    let nothing = |run: Run, code: i32, word: &str| {
        run.refused(code, word);
        assert!(!desk.path().join("site").exists(), "{word}");
    };
    nothing(desk.pack("site", "1.0.0", TARGET, &["--binary", "missing"]), 2, "--binary");
    let pack = |binary: &str, key: &str, rest: &[&str]| {
        let key = test_key(key);
        let args = ["pack", "--binary", binary, "--product", "exuvia", "--version", "1.0.0", "--target", TARGET];
        release(&[&args[..], &["--key", &key, "--out", "site"], rest].concat(), desk.path())
    };
    nothing(pack("missing", "a.key", &[]), 9, "cannot open missing");
    nothing(pack("empty", "a.key", &[]), 2, "is empty");
    nothing(pack("binary", "release/a.pem", &[]), 2, "is not an ML-DSA-65 private key");
    nothing(pack("binary", "a.key", &["--level", "23"]), 2, "level 23");
    nothing(pack("binary", "a.key", &["--level", "10", "--format", "gz"]), 2, "level 10");
    nothing(pack(".", "a.key", &[]), 9, "not a regular file");

    // The listing cannot be replaced: by then everything else is in place, and is taken back.
    fs::create_dir_all(desk.path().join("site/releases.json")).unwrap();
    pack("binary", "a.key", &[]).refused(9, "not a regular file");
    assert_eq!(names(&desk, "site"), ["releases.json/"]);
    fs::remove_dir(desk.path().join("site/releases.json")).unwrap();
    fs::write(desk.path().join("site/releases.json"), "<html>").unwrap();
    pack("binary", "a.key", &[]).refused(4, "not a JSON array");
    assert_eq!(names(&desk, "site"), ["releases.json"]);
}

#[test]
fn a_failure_in_the_last_step_takes_everything_back() {
    let desk = Desk::new();
    desk.pack("site", "1.0.0", TARGET, &[]).ok();
    let before = snapshot(&desk.path().join("site"));
    // A name in the way of the tar's signature: the archive and its signature are in place by then.
    let blocker = desk.path().join("site/1.0.0/exuvia-other.tar.sig");
    fs::create_dir(&blocker).unwrap();
    desk.pack("site", "1.0.0", "other", &[]).refused(9, "exuvia-other.tar.sig");
    fs::remove_dir(&blocker).unwrap();
    assert_eq!(snapshot(&desk.path().join("site")), before);
}

#[test]
fn two_runs_at_once_both_end_up_in_the_listing() {
    let desk = Desk::new();
    std::thread::scope(|scope| {
        for target in ["a", "b", "c"] {
            let desk = &desk;
            scope.spawn(move || desk.pack("site", "1.0.0", target, &[]).ok());
        }
    });
    let listing = desk.listing("site");
    assert_eq!(listing[0]["assets"].as_array().unwrap().len(), 3 * 3 + 1);
    let sums = String::from_utf8(desk.read("site/1.0.0/SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 3);
}

#[test]
fn what_nodes_would_not_extract_is_not_published() {
    let desk = Desk::new();
    fs::write(desk.path().join("binary"), vec![0; 64 << 20]).unwrap();
    desk.pack("site", "1.0.0", TARGET, &[]).refused(4, "decompression bomb");
    assert!(!desk.path().join("site").exists());
}

#[test]
fn a_full_disk_leaves_the_tree_as_it_was() {
    let desk = Desk::new();
    let key = test_key("a.key");
    let pack = |version: &str| {
        let args = ["pack", "--binary", "binary", "--product", "exuvia", "--version", version, "--target", TARGET];
        let args = [&args[..], &["--key", &key, "--out", "site", "--level", "1"]].concat();
        run_without_space(env!("CARGO_BIN_EXE_exuvia-release"), &args, desk.path()).refused(9, "Nothing was published");
    };
    pack("1.0.0");
    assert!(!desk.path().join("site").exists());
    desk.pack("site", "1.0.0", TARGET, &[]).ok();
    let before = snapshot(&desk.path().join("site"));
    pack("1.1.0");
    assert_eq!(snapshot(&desk.path().join("site")), before);
    // The archive is small enough, its signature is not: what is in place by then is taken back.
    fs::write(desk.path().join("binary"), "tiny").unwrap();
    pack("1.2.0");
    assert_eq!(snapshot(&desk.path().join("site")), before);
}

#[test]
fn what_a_killed_run_left_is_swept() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path().join("site/1.0.0")).unwrap();
    for name in ["1.0.0/.new-0123456789abcdef", &format!("1.0.0/exuvia-{TARGET}.tar.zst")] {
        fs::write(desk.path().join("site").join(name), "half").unwrap();
    }
    desk.pack("site", "1.0.0", TARGET, &[]).ok();
    let public = test_key("release/a.pem");
    let report = release(&["verify", "site", "--key", &public, "--json"], desk.path()).ok().json();
    assert_eq!(report["ignored"], serde_json::json!([]));
}
