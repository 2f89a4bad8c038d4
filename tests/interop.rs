//! Keys and signatures are what other implementations of FIPS 204 and RFC 9881 read and write.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ID: [&str; 6] = ["--product", "exuvia", "--version", "1.0.0", "--target", "x86_64-unknown-linux-gnu"];

fn context(purpose: &str, version: &str) -> String {
    format!("exuvia/v1/{purpose}/exuvia/{version}/x86_64-unknown-linux-gnu")
}

/// The Python that `scripts/setup-python` made, or the one that `EXUVIA_PYTHON` names.
fn python() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let python = std::env::var_os("EXUVIA_PYTHON").map_or(default, PathBuf::from);
    assert!(python.exists(), "there is no {}: run scripts/setup-python first", python.display());
    python
}

fn run(program: impl AsRef<OsStr>, args: &[&str], dir: &Path) -> (i32, String) {
    let Output { status, stdout, stderr } =
        Command::new(program.as_ref()).args(args).current_dir(dir).output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("not killed"), text)
}

fn peer(args: &[&str], dir: &Path) -> i32 {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/peer.py");
    let (code, text) = run(python(), &[&["-B", script], args].concat(), dir);
    assert!(code == 0 || code == 4, "{text}");
    code
}

fn keygen(args: &[&str], dir: &Path) -> i32 {
    let (code, text) = run(env!("CARGO_BIN_EXE_exuvia-keygen"), args, dir);
    assert!(code == 0 || code == 4, "{text}");
    code
}

/// Lengths around the pieces in which a message is read.
const LENGTHS: [usize; 6] = [0, 1, 65_535, 65_536, 65_537, 300_001];

fn files(dir: &Path) -> Vec<String> {
    LENGTHS
        .iter()
        .map(|&length| {
            let name = format!("f{length}");
            let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            fs::write(dir.join(&name), bytes).unwrap();
            name
        })
        .collect()
}

#[test]
fn key_files_are_byte_for_byte_what_another_implementation_writes() {
    let dir = tempfile::tempdir().unwrap();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(keygen(&["new", "--out", "ours"], dir.path()), 0);
    assert_eq!(peer(&["rewrite", "ours.key", "again.key", "again.pem"], dir.path()), 0);
    assert_eq!(read("ours.key"), read("again.key"));
    assert_eq!(read("ours.pem"), read("again.pem"));

    assert_eq!(peer(&["key", "theirs.key", "theirs.pem"], dir.path()), 0);
    let fingerprint = |name| run(env!("CARGO_BIN_EXE_exuvia-keygen"), &["show", name], dir.path()).1;
    let last_line = |text: String| text.lines().last().unwrap().to_owned();
    assert!(fingerprint("theirs.key").contains("private"));
    assert_eq!(last_line(fingerprint("theirs.key")), last_line(fingerprint("theirs.pem")));
}

#[test]
fn what_we_sign_other_implementations_verify_under_our_context_only() {
    let dir = tempfile::tempdir().unwrap();
    keygen(&["new", "--out", "k"], dir.path());
    for file in files(dir.path()) {
        for purpose in ["archive", "tar"] {
            let args = ["sign", "--key", "k.key", "--purpose", purpose, &file, "--out", "sig"];
            assert_eq!(keygen(&[&args[..], &ID].concat(), dir.path()), 0);
            assert_eq!(peer(&["verify", "k.pem", &file, "sig", &context(purpose, "1.0.0")], dir.path()), 0, "{file}");
        }
        assert_eq!(peer(&["verify", "k.pem", &file, "sig", &context("tar", "1.0.1")], dir.path()), 4);
        assert_eq!(peer(&["verify", "k.pem", &file, "sig", &context("archive", "1.0.0")], dir.path()), 4);
        assert_eq!(peer(&["verify", "k.pem", &file, "sig", ""], dir.path()), 4);
    }
}

#[test]
fn what_others_sign_under_our_context_we_verify() {
    let dir = tempfile::tempdir().unwrap();
    peer(&["key", "k.key", "k.pem"], dir.path());
    for file in files(dir.path()) {
        let verify = || keygen(&[&["verify", "--key", "k.pem", &file, "--sig", "sig"][..], &ID].concat(), dir.path());
        peer(&["sign", "k.key", &file, "sig", &context("archive", "1.0.0")], dir.path());
        assert_eq!(verify(), 0, "{file}");
        for other in [context("archive", "1.0.1"), context("tar", "1.0.0"), String::new()] {
            peer(&["sign", "k.key", &file, "sig", &other], dir.path());
            assert_eq!(verify(), 4, "{file}, signed as {other:?}");
        }
    }
}

#[test]
fn openssl_agrees_both_ways_where_it_knows_ml_dsa() {
    let openssl = std::env::var("EXUVIA_OPENSSL").unwrap_or_else(|_| "openssl".to_owned());
    let version =
        Command::new(&openssl).arg("version").output().map(|output| String::from_utf8(output.stdout).unwrap());
    let Some(version) = version.ok().filter(|version| knows_ml_dsa(version)) else {
        eprintln!("skipped: ML-DSA needs an openssl of 3.5 or newer; name one with EXUVIA_OPENSSL");
        return;
    };
    eprintln!("comparing with {}", version.trim());
    let dir = tempfile::tempdir().unwrap();
    keygen(&["new", "--out", "k"], dir.path());
    for file in files(dir.path()) {
        assert_eq!(keygen(&[&["sign", "--key", "k.key", &file][..], &ID].concat(), dir.path()), 0);
        // The very command that `show` prints, in a shell.
        let (_, shown) =
            run(env!("CARGO_BIN_EXE_exuvia-keygen"), &[&["show", "k.pem", &file][..], &ID].concat(), dir.path());
        let command = shown.lines().last().unwrap().trim();
        let command = command.replacen("openssl", &openssl, 1);
        assert_eq!(run("sh", &["-c", &command], dir.path()).0, 0, "{command}");
        let other = command.replace("/1.0.0/", "/1.0.1/");
        assert_ne!(run("sh", &["-c", &other], dir.path()).0, 0, "{other}");

        let option = format!("context-string:{}", context("archive", "1.0.0"));
        let sign = ["pkeyutl", "-sign", "-rawin", "-inkey", "k.key", "-in", &file, "-out", "sig", "-pkeyopt", &option];
        assert_eq!(run(&openssl, &sign, dir.path()).0, 0);
        let verify = ["verify", "--key", "k.pem", &file, "--sig", "sig"];
        assert_eq!(keygen(&[&verify[..], &ID].concat(), dir.path()), 0);
    }
}

fn knows_ml_dsa(version: &str) -> bool {
    let number = version.strip_prefix("OpenSSL ").and_then(|rest| rest.split(' ').next());
    let mut parts = number.unwrap_or_default().split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (3, 5)
}
