use std::fs;
use std::path::Path;

use super::pack::{Desk, release};
use super::{Run, TARGET, snapshot, test_key};

fn verify(desk: &Desk, rest: &[&str]) -> Run {
    let public = test_key("release/a.pem");
    release(&[&["verify", "site", "--key", &public], rest].concat(), desk.path())
}

/// A tree of one release, and a check that it is good to begin with.
fn published() -> Desk {
    let desk = Desk::new();
    desk.pack("site", "1.0.0", TARGET, &[]).ok();
    verify(&desk, &[]).ok();
    desk
}

fn change(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    edit(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// After `spoil`, the tree has exactly one problem: at that place, for that reason.
fn one_problem(spoil: impl FnOnce(&Path), at: &str, reason: &str) {
    let desk = published();
    let site = desk.path().join("site");
    spoil(&site);
    let before = snapshot(&site);
    let run = verify(&desk, &["--json"]).refused(4, "Do not serve this tree");
    let problems = run.json()["problems"].clone();
    let problem = problems[0].clone();
    assert_eq!(problems.as_array().unwrap().len(), 1, "{problems}");
    assert!(problem["at"].as_str().unwrap().ends_with(at), "{problem}");
    assert!(problem["reason"].as_str().unwrap().contains(reason), "{problem}");
    assert_eq!(snapshot(&site), before, "a check changes nothing");
}

fn archive() -> String {
    format!("1.0.0/exuvia-{TARGET}.tar.zst")
}

#[test]
fn every_release_of_a_good_tree_is_checked() {
    let desk = published();
    desk.pack("site", "1.1.0", TARGET, &["--format", "gz", "--base-url", "https://example.org/x"]).ok();
    desk.pack("site", "1.1.0", "aarch64-unknown-linux-gnu", &["--base-url", "https://example.org/x"]).ok();
    fs::write(desk.path().join("site/README"), "hello").unwrap();
    let before = snapshot(&desk.path().join("site"));
    let report = verify(&desk, &["--json"]).ok().json();
    let releases: Vec<_> =
        report["good"].as_array().unwrap().iter().map(|good| good["release"]["version"].as_str().unwrap()).collect();
    assert_eq!(releases, ["1.1.0", "1.1.0", "1.0.0"]);
    assert_eq!(report["ignored"], serde_json::json!(["README"]));
    assert_eq!(snapshot(&desk.path().join("site")), before);
    assert!(verify(&desk, &[]).ok().out.contains("good     exuvia 1.1.0 for aarch64-unknown-linux-gnu"));
}

#[test]
fn a_tree_signed_by_another_key_is_refused() {
    let desk = published();
    let stranger = test_key("stranger.pem");
    let run = release(&["verify", "site", "--key", &stranger], desk.path()).refused(4, "1 problem(s)");
    assert!(run.out.contains("not made by a trusted release key"), "{}", run.out);
    let public = test_key("release/a.pem");
    release(&["verify", "site", "--key", &stranger, "--key", &public], desk.path()).ok();
}

#[test]
fn every_flaw_of_a_tree_is_named() {
    let flip = |bytes: &mut Vec<u8>| bytes[100] ^= 1;
    let (tar_sig, sig) = (format!("1.0.0/exuvia-{TARGET}.tar.sig"), format!("{}.sig", archive()));
    one_problem(|site| change(&site.join(archive()), flip), &archive(), "the listing says SHA-256");
    one_problem(|site| change(&site.join(&sig), flip), &archive(), "not made by a trusted release key");
    one_problem(|site| change(&site.join(&tar_sig), flip), &tar_sig, "not made by any of the named keys");
    let sums = "1.0.0/SHA256SUMS";
    let digit = |bytes: &mut Vec<u8>| bytes[0] = if bytes[0] == b'0' { b'1' } else { b'0' };
    one_problem(|site| change(&site.join(sums), digit), &archive(), "SHA256SUMS says SHA-256");
    let garbage = |bytes: &mut Vec<u8>| bytes[64] = b'!';
    one_problem(|site| change(&site.join(sums), garbage), sums, "line 1 is not a SHA-256 digest");
}

#[test]
fn a_listing_that_leads_nodes_astray_is_named() {
    let edit = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |site: &Path| {
            let path = site.join("releases.json");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(&from));
            fs::write(path, text.replace(&from, &to)).unwrap();
        }
    };
    one_problem(edit("\"1.0.0/SHA256SUMS\"", "\"1.0.1/SHA256SUMS\""), "1.0.0/SHA256SUMS", "1.0.1/SHA256SUMS");
    one_problem(edit("\"size\": 106", "\"size\": 105"), "1.0.0/SHA256SUMS", "the listing says 105 bytes");
    one_problem(edit("\"name\": \"exuvia 1.0.0\"", "\"name\": \"other 1.0.0\""), &archive(), "--product");
    one_problem(edit("\"tag_name\": \"v1.0.0\"", "\"tag_name\": \"nightly\""), "nightly", "nodes skip this entry");
}

#[test]
fn a_release_under_another_version_is_refused_by_its_signature() {
    let desk = published();
    let site = desk.path().join("site");
    fs::rename(site.join("1.0.0"), site.join("2.0.0")).unwrap();
    let listing = fs::read_to_string(site.join("releases.json")).unwrap().replace("1.0.0", "2.0.0");
    fs::write(site.join("releases.json"), listing).unwrap();
    let run = verify(&desk, &["--json"]).refused(4, "1 problem(s)");
    assert!(run.out.contains("not made by a trusted release key for exuvia 2.0.0"), "{}", run.out);
    assert_eq!(run.json()["good"], serde_json::json!([]));
}

#[test]
fn a_tree_without_a_readable_listing_is_refused() {
    let desk = Desk::new();
    verify(&desk, &[]).refused(9, "cannot open the folder site");
    fs::create_dir(desk.path().join("site")).unwrap();
    verify(&desk, &[]).refused(9, "releases.json");
    fs::write(desk.path().join("site/releases.json"), "<html>").unwrap();
    verify(&desk, &[]).refused(4, "nodes cannot read");
}
