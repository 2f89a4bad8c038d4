//! A build without a proper folder of release keys does not come about, and says why.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

use std::fs;

/// The build script itself.
#[path = "../build.rs"]
#[allow(dead_code, reason = "its main is cargo's to call")]
mod build_script;

use build_script::{pinned_keys, pinned_root};

fn key(name: &str) -> String {
    fs::read_to_string(format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn refused(files: &[(&str, &str)], sentence: &str) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let error = pinned_keys(dir.path()).unwrap_err();
    assert!(error.contains(sentence), "{sentence:?} is not in: {error}");
    assert!(!error.contains('\n'), "cargo prints one line");
}

#[test]
fn a_folder_of_two_keys_is_taken_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (key("release/a.pem"), key("release/b.pem"));
    for (name, text) in [("2.pem", &b), ("1.pem", &a), ("README.md", &String::new())] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    assert_eq!(pinned_keys(dir.path()).unwrap(), format!("&[\n    {a:?},\n    {b:?},\n]"));
}

#[test]
fn a_folder_that_is_missing_empty_or_holds_one_key_builds_nothing() {
    let missing = tempfile::tempdir().unwrap().path().join("missing");
    assert!(pinned_keys(&missing).unwrap_err().contains("Set EXUVIA_KEYS_DIR to a folder of public keys"));
    let (a, advice) = (key("release/a.pem"), "needs at least two");
    refused(&[], advice);
    refused(&[], "exuvia-keygen new");
    refused(&[("a.pem", &a)], advice);
    refused(&[("a.pem", &a), ("b.txt", &key("release/b.pem"))], advice);
}

#[test]
fn a_root_of_trust_is_taken_as_it_is_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(pinned_root(dir.path()), Ok(None));
    let file = dir.path().join("root.json");
    let root = fs::read(format!("{}/tests/keys/release/root.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    fs::write(&file, &root).unwrap();
    assert_eq!(pinned_root(dir.path()), Ok(Some(root)));
    for bad in [Vec::new(), b"<html>".to_vec(), vec![b'{'; (1 << 20) + 1]] {
        fs::write(&file, &bad).unwrap();
        assert!(pinned_root(dir.path()).unwrap_err().contains("is not a root of release metadata"));
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(pinned_root(dir.path()).unwrap_err().contains("cannot read"));
}

#[test]
fn a_key_that_is_none_private_or_there_twice_builds_nothing() {
    let (a, b) = (key("release/a.pem"), key("release/b.pem"));
    refused(&[("a.pem", &a), ("b.pem", "hello")], "b.pem is not a public key");
    refused(&[("a.pem", &a), ("b.pem", &key("b.key"))], "b.pem holds a private key");
    refused(&[("a.pem", &a), ("b.pem", &b), ("c.pem", &a)], "c.pem repeats a key");
}
