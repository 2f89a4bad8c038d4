//! Transcripts under `tests/cli`: what an operator types, and every word that comes back.
//!
//! `$ exuvia …` runs the program in a place of its own; the lines below it are its standard output,
//! and with `! ` before them its standard error; `? 5` is its exit code where that is not 0. `@`
//! lines prepare the place: `@ releases 1.4.0`, `@ config KEY = VALUE`, `@ veto 1.4.0 REASON`,
//! `@ write FILE TEXT`. Run the tests with `UPDATE_TRANSCRIPTS=1` to write the files anew, and read
//! the difference.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use exuvia::types::Target;

use crate::place::Place;

#[test]
fn every_transcript_is_what_the_program_says() {
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
    let place = Place::new();
    let mut said = String::new();
    let mut config = String::new();
    // What follows a command is its output, up to the next command, preparation or empty line.
    let mut in_output = false;
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("$ exuvia") {
            writeln!(said, "{line}").unwrap();
            run(&place, command, &mut said);
            in_output = true;
        } else if let Some(preparation) = line.strip_prefix("@ ") {
            writeln!(said, "{line}").unwrap();
            prepare(&place, preparation, &mut config);
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

fn prepare(place: &Place, preparation: &str, config: &mut String) {
    let (verb, rest) = preparation.split_once(' ').unwrap_or((preparation, ""));
    match verb {
        "releases" => place.publish(&rest.split_whitespace().collect::<Vec<_>>()),
        "config" => {
            writeln!(config, "{rest}").unwrap();
            place.configure(config);
        }
        "veto" => {
            let (version, reason) = rest.split_once(' ').unwrap();
            place.veto(version, reason);
        }
        "write" => {
            let (file, text) = rest.split_once(' ').unwrap();
            fs::write(place.path(file), text).unwrap();
        }
        other => panic!("{other} prepares nothing"),
    }
}

fn run(place: &Place, command: &str, said: &mut String) {
    // Words in '' may hold spaces.
    let words: Vec<String> = command
        .split('\'')
        .enumerate()
        .flat_map(|(n, part)| match n % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect();
    let output = place.run(&words);
    assert!(!output.stderr.contains("panicked"), "{output:#?}");
    let mut lines = output.stdout.lines();
    while let Some(line) = lines.next() {
        if line.ends_with("[container]") {
            // True of some machines that run tests: this, its reason and its remedy.
            lines.by_ref().take(2).for_each(drop);
            continue;
        }
        // An empty line would end the output.
        writeln!(said, "{}", normal(place, if line.is_empty() { "." } else { line })).unwrap();
    }
    for line in output.stderr.lines() {
        writeln!(said, "{}", normal(place, &format!("! {line}")).trim_end()).unwrap();
    }
    if output.code != 0 {
        writeln!(said, "? {}", output.code).unwrap();
    }
}

/// Replaces what differs between two runs.
fn normal(place: &Place, line: &str) -> String {
    let line = line.replace(&place.root().display().to_string(), "[DIR]");
    let line = line.replace(Target::of_this_build().to_string().as_str(), "[TARGET]");
    let line = line.replace(option_env!("EXUVIA_VERSION").unwrap_or(env!("CARGO_PKG_VERSION")), "[VERSION]");
    let mut out = String::new();
    let mut rest = line.as_str();
    while let Some(first) = rest.chars().next() {
        let run = |of: fn(char) -> bool| rest.len() - rest.trim_start_matches(of).len();
        let time = run(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | 'T' | 'Z' | '.'));
        let hex = run(|c| matches!(c, '0'..='9' | 'a'..='f'));
        let digits = run(|c| c.is_ascii_digit());
        let (shown, length) = if time >= 20 && rest.as_bytes().get(10) == Some(&b'T') {
            ("[TIME]", rest[..time].find('Z').map_or(time, |end| end + 1))
        } else if hex >= 12 {
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
