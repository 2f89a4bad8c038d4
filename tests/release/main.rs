//! What ships around the programs: the release workflow, the scripts, the runbook, and what operators
//! watch nodes with. Scripts are run, pages are compared with the code.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

mod build;
mod events;
#[path = "../support/http_server.rs"]
mod http_server;
mod installer;
mod monitoring;
mod runbook;
mod units;
mod workflow;
mod yaml;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What a run came to.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = loop {
            match command.stdin(Stdio::null()).output() {
                // A script just copied is busy while a child of another test, between its fork and
                // its exec, still holds the handle through which it was written.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                ran => break ran.unwrap(),
            }
        };
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self { code: status.code().expect("not killed"), out: text(&stdout), err: text(&stderr) }
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn refused(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.contains(words), "{words:?} is not in: {}", self.err);
        self
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn keygen() -> &'static str {
    env!("CARGO_BIN_EXE_exuvia-keygen")
}

fn release() -> &'static str {
    env!("CARGO_BIN_EXE_exuvia-release")
}

/// A test key: its path.
fn key(name: &str) -> String {
    root().join("tests/keys").join(name).display().to_string()
}

/// An OpenSSL that knows ML-DSA: the one that `OPENSSL` names, or the one in `PATH`.
fn openssl() -> Option<PathBuf> {
    let program = std::env::var_os("OPENSSL").map_or_else(|| "openssl".into(), PathBuf::from);
    let output = Command::new(&program).arg("version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut number = text.strip_prefix("OpenSSL ")?.split(['.', ' ']).map(|part| part.parse::<u32>().unwrap_or(0));
    ((number.next()?, number.next()?) >= (3, 5)).then_some(program)
}

/// Every file below `folder` with that ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == ending) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
