//! Compiles in the pinned release keys, the root of trust for release metadata and the exact target triple.
//!
//! `EXUVIA_KEYS_DIR` names another folder of keys, and so makes another build: there is no way to
//! change a program's keys once it is built.

#![allow(clippy::disallowed_methods, reason = "a build script reads the source tree, not a host")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=EXUVIA_KEYS_DIR");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=EXUVIA_TARGET={}", env::var("TARGET").expect("cargo sets TARGET"));

    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let dir = match env::var_os("EXUVIA_KEYS_DIR") {
        Some(dir) => root.join(dir),
        None => root.join("keys/release"),
    };
    println!("cargo::rerun-if-changed={}", dir.display());
    match pinned_keys(&dir) {
        Ok(source) => {
            let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
            fs::write(out.join("pinned_keys.rs"), source).expect("OUT_DIR is writable");
            match pinned_root(&dir) {
                Ok(root) => {
                    let source = match &root {
                        Some(_) => "Some(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/pinned_root.json\")))",
                        None => "None",
                    };
                    fs::write(out.join("pinned_root.json"), root.unwrap_or_default()).expect("OUT_DIR is writable");
                    fs::write(out.join("pinned_root.rs"), source).expect("OUT_DIR is writable");
                }
                Err(sentence) => println!("cargo::error={sentence}"),
            }
        }
        Err(sentence) => println!("cargo::error={sentence}"),
    }
}

/// The root of trust for release metadata, as it was published; a folder of keys need not have one. Whether
/// it is signed by itself is for a test of the program to say: see `src/bin/exuvia/main.rs`.
pub(crate) fn pinned_root(dir: &Path) -> Result<Option<Vec<u8>>, String> {
    let file = dir.join("root.json");
    println!("cargo::rerun-if-changed={}", file.display());
    match fs::read(&file) {
        Ok(root) if root.len() <= LONGEST_ROOT && root.trim_ascii_start().starts_with(b"{") => Ok(Some(root)),
        Ok(_) => Err(format!(
            "{} is not a root of release metadata: it must be the file <n>.root.json of the repository, of at most {LONGEST_ROOT} bytes.",
            file.display()
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}.", file.display())),
    }
}

/// What a client accepts for a root, in bytes.
const LONGEST_ROOT: usize = 1 << 20;

/// A Rust expression that lists the PEM texts, in the order of their file names.
pub(crate) fn pinned_keys(dir: &Path) -> Result<String, String> {
    let listing = fs::read_dir(dir).map_err(|error| {
        format!(
            "cannot read the release keys in {}: {error}. Set EXUVIA_KEYS_DIR to a folder of public keys (*.pem).",
            dir.display()
        )
    })?;
    let mut files: Vec<PathBuf> = listing
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .collect();
    files.sort();
    if files.len() < 2 {
        return Err(format!(
            "{} holds {} release key(s), and a build needs at least two: the one that signs now and the next one, so that a lost or retired key never strands a fleet. Make them with `exuvia-keygen new`.",
            dir.display(),
            files.len()
        ));
    }
    let mut source = String::from("&[\n");
    let mut seen = Vec::new();
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        let pem = fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}.", file.display()))?;
        if pem.contains("PRIVATE KEY") {
            return Err(format!(
                "{} holds a private key. Move it out of the keys folder now, and treat it as leaked if it was ever committed.",
                file.display()
            ));
        }
        if !pem.starts_with("-----BEGIN PUBLIC KEY-----") {
            return Err(format!("{} is not a public key in PEM form (SubjectPublicKeyInfo).", file.display()));
        }
        if seen.contains(&pem) {
            return Err(format!("{} repeats a key that another file of the folder holds already.", file.display()));
        }
        writeln!(source, "    {pem:?},").expect("writing to a String cannot fail");
        seen.push(pem);
    }
    source.push(']');
    Ok(source)
}
