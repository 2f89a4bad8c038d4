//! The release engineers' programs, run as they are run: real files, real processes.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

mod deltaglider;
mod keygen;
mod memory;
mod pack;
mod patches;
mod verify;
mod withdraw;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What a run came to.
struct Run {
    code: i32,
    out: String,
    err: String,
}

fn run(program: &str, args: &[&str], dir: &Path) -> Run {
    let Output { status, stdout, stderr } =
        Command::new(program).args(args).current_dir(dir).env_remove("SOURCE_DATE_EPOCH").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: status.code().expect("not killed"), out: text(stdout), err: text(stderr) }
}

/// As [`run`], where no file may grow beyond a KiB: the disk is full, so to speak.
fn run_without_space(program: &str, args: &[&str], dir: &Path) -> Run {
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    run("sh", &[&["-c", script, program], args].concat(), dir)
}

impl Run {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }

    #[track_caller]
    fn refused(self, code: i32, word: &str) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.contains(word), "{word:?} is not in: {}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    #[track_caller]
    fn says(self, words: &str) -> Self {
        assert!(self.out.contains(words), "{words:?} is not in: {}{}", self.out, self.err);
        self
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Every file below `dir`, by its relative path, with its content. Folders end with a slash.
fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_owned();
            if path.is_dir() && !path.is_symlink() {
                found.push((name.join(""), Vec::new()));
                open.push(path);
            } else if path.is_symlink() {
                found.push((name, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()));
            } else {
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn test_key(name: &str) -> String {
    format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}
