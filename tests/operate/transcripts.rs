//! Transcripts under `tests/cli`: what an operator types, and every word that comes back.
//!
//! `$ exuvia …` (or `$ exuvia-keygen …`, `$ exuvia-release …`) runs the program in a place of its own; the
//! lines below it are its standard output, and with `! ` before them its standard error; `? 5` is its exit
//! code where that is not 0. `@` lines prepare the place:
//! - `@ releases 1.4.0` lists releases; `@ config KEY = VALUE` and `@ unset KEY` change the configuration;
//! - `@ veto 1.4.0 REASON`, `@ write FILE TEXT`, `@ folder NAME`, `@ remove NAME`, `@ mode 644 FILE`;
//! - `@ serve WHAT` has a web server answer in the place of the folder of releases: `files`, `nothing` (nobody
//!   listens), a status such as `404`, `503 later`, `limit`, `cut`, `page`, `noise`, `redirect ADDRESS`;
//! - `@ metadata NAME` publishes release metadata among the releases: see `metadata.rs` beside this file;
//! - `@ start` and `@ stop` run the node; `@ sh COMMAND` runs a command of the shell in the place.
//!
//! What a running node tells of its progress depends on when it is looked at, and is left out.
//!
//! `[DIR]`, `[TARGET]` and `[KEYS]` stand for what they say in commands, too. Run the tests with
//! `UPDATE_TRANSCRIPTS=1` to write the files anew, and read the difference.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use exuvia::types::Target;

use crate::http_server::{Server, raw, redirect, reply, serve_file};
use crate::metadata;
use crate::place::{Place, Running};

const PROGRESS: [&str; 10] = [
    "looks for ",
    "verifies ",
    "does not find ",
    "does not use the patch ",
    "downloads ",
    "made ",
    "extracts ",
    "asks ",
    "hands ",
    "has ",
];

#[test]
fn every_transcript_is_what_the_program_says() {
    let keys = option_env!("EXUVIA_KEYS_DIR");
    assert_eq!(
        keys,
        Some("tests/keys/release"),
        "the program must pin the tests' keys: set EXUVIA_KEYS_DIR, or run scripts/test"
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|file| file.extension().is_some_and(|end| end == "txt"));
    assert!(!files.is_empty());
    let mut differ = Vec::new();
    for file in files {
        let expected = fs::read_to_string(&file).unwrap();
        let said = play(&expected);
        if said == expected {
            continue;
        }
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            fs::write(&file, &said).unwrap();
        } else {
            let line = said.lines().zip(expected.lines()).position(|(said, expected)| said != expected);
            differ.push(format!("{}, line {:?}:\n{said}", file.display(), line.map(|line| line + 1)));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n\n"));
}

/// The transcript as it should be: its own commands, and what they say now.
fn play(transcript: &str) -> String {
    let mut stage = Stage::default();
    let mut said = String::new();
    // What follows a command is its output, up to the next command, preparation or empty line.
    let mut in_output = false;
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("$ exuvia") {
            writeln!(said, "{line}").unwrap();
            stage.run(command, &mut said);
            in_output = true;
        } else if let Some(preparation) = line.strip_prefix("@ ") {
            writeln!(said, "{line}").unwrap();
            stage.prepare(preparation);
            in_output = false;
        } else if line.is_empty() || line.starts_with("# ") {
            writeln!(said, "{line}").unwrap();
            in_output = false;
        } else {
            assert!(in_output, "this line belongs to no command: {line}");
        }
    }
    said
}

/// Where a transcript plays.
struct Stage {
    // Stops before its place goes.
    running: Option<Running>,
    server: Option<Server>,
    place: Place,
    config: String,
}

impl Default for Stage {
    fn default() -> Self {
        Self { running: None, server: None, place: Place::new(), config: String::new() }
    }
}

impl Stage {
    fn prepare(&mut self, preparation: &str) {
        let (verb, rest) = preparation.split_once(' ').unwrap_or((preparation, ""));
        let place = &self.place;
        match verb {
            "releases" => place.publish(&rest.split_whitespace().collect::<Vec<_>>()),
            "config" => {
                writeln!(self.config, "{}", self.written(rest)).unwrap();
                place.configure(&self.config);
            }
            "unset" => place.unset(rest),
            "veto" => {
                let (version, reason) = rest.split_once(' ').unwrap();
                place.veto(version, reason);
            }
            "write" => {
                let (file, text) = rest.split_once(' ').unwrap();
                fs::write(place.path(file), text).unwrap();
            }
            "sh" => {
                let mut shell = std::process::Command::new("sh");
                shell.args(["-euc", &self.written(rest)]).current_dir(place.root());
                assert!(shell.status().unwrap().success(), "{rest}");
            }
            "folder" => fs::create_dir_all(place.path(rest)).unwrap(),
            "remove" => drop(fs::remove_dir_all(place.path(rest)).or_else(|_| fs::remove_file(place.path(rest)))),
            "mode" => {
                let (mode, file) = rest.split_once(' ').unwrap();
                let mode = fs::Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap());
                fs::set_permissions(place.path(file), mode).unwrap();
            }
            "metadata" => metadata::publish(&place.path("releases"), rest),
            "serve" => self.serve(rest),
            "start" => self.running = Some(place.start_and_look()),
            "stop" => self.running = None,
            other => panic!("{other} prepares nothing"),
        }
    }

    fn serve(&mut self, what: &str) {
        let (tree, what) = (self.place.path("releases"), what.to_owned());
        let stands_still = what == "nothing";
        let server = Server::start(move |request, stream| {
            let (what, rest) = what.split_once(' ').unwrap_or((&what, ""));
            match what {
                "files" => serve_file(&tree, request, stream),
                "cut" => drop(raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[{")),
                "page" => reply(stream, 200, &[("Content-Type", "text/html")], b"<html>log in, please</html>"),
                "noise" => drop(raw(stream, b"SSH-2.0-OpenSSH_9.2\r\n")),
                "redirect" => redirect(stream, rest),
                "limit" => {
                    let fields = [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "7258118400")];
                    reply(stream, 403, &fields, b"{}");
                }
                status if rest == "later" => {
                    reply(stream, status.parse().unwrap(), &[("Retry-After", "3600")], b"");
                }
                status => reply(stream, status.parse().unwrap(), &[], b""),
            }
        });
        self.place.edit("source.listing", &server.url("/releases.json"));
        self.place.edit("source.tuf", &server.url("/metadata/"));
        self.place.edit("source.github_api", &server.url("/api/v3"));
        // A port that was open a moment ago: whoever asks there now is turned away.
        self.server = (!stands_still).then_some(server);
    }

    /// A text of the transcript as it is meant.
    fn written(&self, text: &str) -> String {
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys");
        let text = text.replace("[DIR]", &self.place.root().display().to_string()).replace("[KEYS]", keys);
        text.replace("[TARGET]", &Target::of_this_build().to_string())
    }

    fn run(&self, command: &str, said: &mut String) {
        let command = self.written(command);
        // Words in '' may hold spaces.
        let mut words: Vec<String> = command
            .split('\'')
            .enumerate()
            .flat_map(|(n, part)| match n % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .collect();
        let output = match command.split_whitespace().next() {
            Some("-keygen") => self.place.run_program(env!("CARGO_BIN_EXE_exuvia-keygen"), &words.split_off(1)),
            Some("-release") => self.place.run_program(env!("CARGO_BIN_EXE_exuvia-release"), &words.split_off(1)),
            _ => self.place.run(&words),
        };
        assert!(!output.stderr.contains("panicked"), "{output:#?}");
        let mut lines = output.stdout.lines();
        while let Some(line) = lines.next() {
            if line.ends_with("[container]") {
                // True of some machines that run tests: this, its reason and its remedy.
                lines.by_ref().take(2).for_each(drop);
                continue;
            }
            if self.running.is_some() && PROGRESS.iter().any(|words| line.starts_with(words)) {
                continue;
            }
            // An empty line would end the output.
            writeln!(said, "{}", self.normal(if line.is_empty() { "." } else { line })).unwrap();
        }
        for line in output.stderr.lines().filter(|line| !line.contains("check=\"container\"")) {
            writeln!(said, "{}", self.normal(&format!("! {line}")).trim_end()).unwrap();
        }
        if output.code != 0 {
            writeln!(said, "? {}", output.code).unwrap();
        }
    }

    /// Replaces what differs between two runs.
    fn normal(&self, line: &str) -> String {
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys");
        let line = line.replace(&self.place.root().display().to_string(), "[DIR]").replace(keys, "[KEYS]");
        let line = line.replace(Target::of_this_build().to_string().as_str(), "[TARGET]");
        let line = line.replace(option_env!("EXUVIA_VERSION").unwrap_or(env!("CARGO_PKG_VERSION")), "[VERSION]");
        match line.split_once(", ").filter(|_| line.starts_with("vitals ")) {
            // Requests, memory and descriptors are this run's own.
            Some((ready, _)) => format!("{ready}, [NUMBERS]"),
            None => scrub(&without_ports(&line)),
        }
    }
}

/// Servers stand at another port each time.
fn without_ports(line: &str) -> String {
    let mut parts = line.split("127.0.0.1:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("[SERVER]");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

/// Replaces times, digests and long numbers.
fn scrub(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let run = |of: fn(char) -> bool| rest.len() - rest.trim_start_matches(of).len();
        let time = run(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | 'T' | 'Z' | '.'));
        let hex = run(|c| matches!(c, '0'..='9' | 'a'..='f'));
        let digits = run(|c| c.is_ascii_digit());
        let (shown, length) = if time >= 20 && rest.as_bytes().get(10) == Some(&b'T') {
            ("[TIME]", rest[..time].find('Z').map_or(time, |end| end + 1))
        } else if hex >= 12 || (hex == 8 && (out.ends_with("sha256:") || out.ends_with("] ("))) {
            ("[HEX]", hex)
        } else if digits >= 6 {
            ("[NUMBER]", digits)
        } else {
            let length = first.len_utf8().max(if first.is_ascii_alphanumeric() {
                run(|c| c.is_ascii_alphanumeric())
            } else {
                0
            });
            (&rest[..length], length)
        };
        out.push_str(shown);
        rest = &rest[length..];
    }
    out
}
