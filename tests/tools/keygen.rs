use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::{Run, TARGET, run, run_without_space, snapshot, test_key};

fn keygen(args: &[&str], dir: &Path) -> Run {
    run(env!("CARGO_BIN_EXE_exuvia-keygen"), args, dir)
}

fn with_release<'a>(verb: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&[verb, "--product", "exuvia", "--version", "1.0.0", "--target", TARGET], rest].concat()
}

#[test]
fn a_new_key_signs_and_its_public_half_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let made = keygen(&["new", "--out", "k", "--json"], dir.path()).ok().json();
    let bits = |name: &str| fs::metadata(dir.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!((bits("k.key"), bits("k.pem")), (0o600, 0o644));
    assert_eq!((&made["private"], &made["public"]), (&"k.key".into(), &"k.pem".into()));

    fs::write(dir.path().join("f"), vec![7; 100_000]).unwrap();
    for purpose in ["archive", "tar"] {
        let purpose = ["--purpose", purpose];
        let signed =
            keygen(&with_release("sign", &[&["--key", "k.key", "f", "--json"], &purpose[..]].concat()), dir.path());
        let signed = signed.ok().json();
        assert_eq!(signed["fingerprint"], made["fingerprint"]);
        assert_eq!(fs::metadata(dir.path().join("f.sig")).unwrap().len(), 3309);
        let verify = with_release("verify", &[&["--key", "k.pem", "f", "--json"], &purpose[..]].concat());
        let verified = keygen(&verify, dir.path()).ok().json();
        assert_eq!((&verified["fingerprint"], &verified["verified"]), (&made["fingerprint"], &true.into()));
    }
}

#[test]
fn a_key_never_replaces_another_and_half_a_pair_is_never_left() {
    let dir = tempfile::tempdir().unwrap();
    let out = ["new", "--out", "k"];
    keygen(&out, dir.path()).ok();
    let before = snapshot(dir.path());
    keygen(&out, dir.path()).refused(9, "exists already");
    assert_eq!(snapshot(dir.path()), before);
    fs::remove_file(dir.path().join("k.key")).unwrap();
    let before = snapshot(dir.path());
    keygen(&out, dir.path()).refused(9, "k.pem exists already");
    assert_eq!(snapshot(dir.path()), before);
    // Neither is a link followed to wherever it leads.
    fs::remove_file(dir.path().join("k.pem")).unwrap();
    symlink("elsewhere", dir.path().join("k.key")).unwrap();
    let before = snapshot(dir.path());
    keygen(&out, dir.path()).refused(9, "k.key exists already");
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn when_the_public_half_cannot_be_written_the_private_one_goes_too() {
    let dir = tempfile::tempdir().unwrap();
    let new = run_without_space(env!("CARGO_BIN_EXE_exuvia-keygen"), &["new", "--out", "k"], dir.path());
    new.refused(9, "cannot write k.pem");
    assert_eq!(snapshot(dir.path()), []);
}

#[test]
fn a_signature_that_cannot_be_written_leaves_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "bytes").unwrap();
    fs::write(dir.path().join("f.sig"), "old").unwrap();
    let before = snapshot(dir.path());
    let key = test_key("a.key");
    let args = with_release("sign", &["--key", &key, "f"]);
    run_without_space(env!("CARGO_BIN_EXE_exuvia-keygen"), &args, dir.path()).refused(9, "cannot write");
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn in_a_folder_keys_are_named_after_their_fingerprint() {
    let dir = tempfile::tempdir().unwrap();
    let made = keygen(&["new", "--out", ".", "--json"], dir.path()).ok().json();
    let fingerprint = made["fingerprint"].as_str().unwrap();
    assert_eq!(made["private"], format!("./release-{}.key", &fingerprint[..8]));
    keygen(&["new", "--out", "missing/"], dir.path()).refused(9, "missing");
    assert_eq!(snapshot(dir.path()).len(), 2);
}

#[test]
fn show_never_tells_private_material() {
    let dir = tempfile::tempdir().unwrap();
    let secret = fs::read_to_string(test_key("a.key")).unwrap();
    let body: String = secret.lines().filter(|line| !line.starts_with('-')).collect();
    let (private, public) = (test_key("a.key"), test_key("release/a.pem"));
    for args in [&["show", &private][..], &["show", &private, "--json"], &with_release("show", &[&private])] {
        let shown = keygen(args, dir.path()).ok();
        assert!(shown.out.contains("ML-DSA-65, private"));
        assert!(!(shown.out + &shown.err).contains(&body[20..]), "{args:?}");
    }
    let fingerprint = |path: &str| keygen(&["show", path, "--json"], dir.path()).ok().json()["fingerprint"].clone();
    assert_eq!(fingerprint(&private), fingerprint(&public));
}

#[test]
fn show_prints_the_context_and_the_command_for_a_check_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let public = test_key("release/a.pem");
    let shown = keygen(&with_release("show", &[&public, "it's.tar", "--purpose", "tar", "--json"]), dir.path()).ok();
    let context = format!("exuvia/v1/tar/exuvia/1.0.0/{TARGET}");
    assert_eq!(shown.json()["context"], context);
    let command = format!(
        r"openssl pkeyutl -verify -rawin -pubin -inkey {public} -in 'it'\''s.tar' -sigfile 'it'\''s.tar.sig' -pkeyopt context-string:{context}"
    );
    assert_eq!(shown.json()["check"], command);
}

#[test]
fn a_signature_for_anything_else_is_refused_with_exit_4() {
    let dir = tempfile::tempdir().unwrap();
    let (key, public, stranger) = (test_key("a.key"), test_key("release/a.pem"), test_key("stranger.pem"));
    fs::write(dir.path().join("f"), "bytes").unwrap();
    keygen(&with_release("sign", &["--key", &key, "f"]), dir.path()).ok();
    let before = snapshot(dir.path());
    let check = |product: &str, version: &str, target: &str, purpose: &str, key: &str| {
        let id = ["--product", product, "--version", version, "--target", target, "--purpose", purpose];
        keygen(&[&["verify", "--key", key, "f"], &id[..]].concat(), dir.path())
    };
    check("exuvia", "1.0.0", TARGET, "archive", &public).ok();
    for refused in [
        check("exuvia", "1.0.1", TARGET, "archive", &public),
        check("exuvib", "1.0.0", TARGET, "archive", &public),
        check("exuvia", "1.0.0", "x86_64-unknown-linux-musl", "archive", &public),
        check("exuvia", "1.0.0", TARGET, "tar", &public),
        check("exuvia", "1.0.0", TARGET, "archive", &stranger),
    ] {
        let refused = refused.refused(4, "does NOT verify");
        assert!(refused.err.contains("Do not use the file"), "the error says what to do");
        assert_eq!(refused.out, "");
    }
    // One key of several suffices.
    keygen(&with_release("verify", &["--key", &stranger, "--key", &public, "f"]), dir.path()).ok();
    assert_eq!(snapshot(dir.path()), before);

    fs::write(dir.path().join("f"), "bytez").unwrap();
    let refused = check("exuvia", "1.0.0", TARGET, "archive", &public).refused(4, "does NOT verify");
    assert_eq!(refused.code, 4);
    fs::write(dir.path().join("f.sig"), "short").unwrap();
    check("exuvia", "1.0.0", TARGET, "archive", &public).refused(4, "exactly 3309 bytes");
}

#[test]
fn bad_input_has_a_reason_a_code_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (key, public) = (test_key("a.key"), test_key("release/a.pem"));
    fs::write(dir.path().join("f"), "bytes").unwrap();
    fs::write(dir.path().join("binary"), [0xff, 0xfe]).unwrap();
    let status = std::process::Command::new("mkfifo").arg(dir.path().join("fifo")).status().unwrap();
    assert!(status.success());
    let count = || fs::read_dir(dir.path()).unwrap().count();
    let before = count();
    let sign = |args: &[&str]| keygen(&with_release("sign", args), dir.path());
    sign(&["--key", &public, "f"]).refused(2, "is not an ML-DSA-65 private key");
    sign(&["--key", "binary", "f"]).refused(2, "is not a PEM text");
    sign(&["--key", "missing", "f"]).refused(9, "cannot open missing");
    sign(&["--key", &key, "missing"]).refused(9, "cannot open missing");
    sign(&["--key", &key, "fifo"]).refused(9, "FIFO, not a regular file");
    sign(&["--key", &key, "."]).refused(9, "folder, not a regular file");
    sign(&["--key", "/dev/zero", "f"]).refused(9, "device, not a regular file");
    sign(&["--key", &key, "f", "--out", "no/where.sig"]).refused(9, "no");
    let verify = |args: &[&str]| keygen(&with_release("verify", args), dir.path());
    verify(&["--key", &key, "f"]).refused(2, "is a private key");
    verify(&["--key", &public, "f"]).refused(9, "cannot open f.sig");
    verify(&["--key", &public, "--key", &public, "f"]).refused(2, "repeats an earlier one");
    keygen(&["sign", "--key", &key, "f"], dir.path()).refused(2, "--product");
    keygen(&["show", &public, "--product", "exuvia"], dir.path()).refused(2, "--version");
    for version in ["1.0", "v1.0.0", "1.0.0+a", "01.0.0"] {
        let id = ["--product", "exuvia", "--version", version, "--target", TARGET];
        keygen(&[&["sign", "--key", &key, "f"], &id[..]].concat(), dir.path()).refused(2, "--version");
    }
    assert_eq!(count(), before);
}

#[test]
fn a_private_key_that_others_may_read_is_pointed_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "bytes").unwrap();
    fs::copy(test_key("a.key"), dir.path().join("k.key")).unwrap();
    let sign = |mode| {
        fs::set_permissions(dir.path().join("k.key"), fs::Permissions::from_mode(mode)).unwrap();
        keygen(&with_release("sign", &["--key", "k.key", "f"]), dir.path()).ok().err
    };
    assert!(sign(0o640).contains("chmod 600"));
    assert_eq!(sign(0o600), "");
}

#[test]
fn failures_are_json_too_where_scripts_read_along() {
    let dir = tempfile::tempdir().unwrap();
    let run = keygen(&["show", "missing", "--json"], dir.path()).refused(9, "missing");
    assert_eq!((&run.json()["exit"], &run.json()["kind"]), (&9.into(), &"storage".into()));
}
