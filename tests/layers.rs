//! The house keeps its order: a room imports only rooms that `src/lib.rs` lists before it, and the file
//! system is reached through one room alone.

#![allow(clippy::disallowed_methods, reason = "this test reads the source tree")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms that the launcher may know: it stays small, and parses nothing untrusted.
const LAUNCHER_KNOWS: [&str; 4] = ["types", "sys", "config", "install"];

/// What may be named outside `sys`: an open file is no path to anything.
const HARMLESS: [&str; 3] = ["File", "FileExt", "MetadataExt"];

struct Source {
    /// Below `src/`.
    path: PathBuf,
    /// Its code: without comments and without the text of literals.
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        self.path.iter().next().unwrap().to_str().unwrap()
    }

    /// How many `super`s lead from the file's own module to the root of the crate.
    fn depth(&self) -> usize {
        let names = self.path.iter().count();
        if self.path.ends_with("mod.rs") { names - 1 } else { names }
    }

    /// The code without unit tests, which end a file or are one.
    fn shipped(&self) -> &str {
        if self.path.ends_with("tests.rs") {
            return "";
        }
        let end = self.code.match_indices("#[cfg(test)]").find(|(at, mark)| {
            let next: String = self.code[at + mark.len()..].lines().map(str::trim).collect::<Vec<_>>().join(" ");
            let next = next.trim_start();
            next.starts_with("mod ") || next.starts_with("#[allow")
        });
        &self.code[..end.map_or(self.code.len(), |(at, _)| at)]
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let mut folders = vec![src()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let code = code_of(&fs::read_to_string(&path).unwrap());
                sources.push(Source { path: path.strip_prefix(src()).unwrap().to_path_buf(), code });
            }
        }
    }
    assert!(sources.len() > 20, "the source tree was not found");
    sources
}

/// Blanks comments and the text of string and character literals.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !code.ends_with(is_word)) {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = rest.find('"').unwrap() + 1;
            rest[open..].find(&end).map_or(rest.len(), |at| open + at + end.len())
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().unwrap().len_utf8();
        }
    }
    at
}

/// `r"`, `r#"`, `br##"` and so on: how many hashes.
fn raw_string(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// A character and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// Where a literal ends that begins with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every path in the code that begins with `start`, such as `crate::`: the first names behind it.
fn behind<'a>(code: &'a str, start: &str) -> Vec<&'a str> {
    let found = code.match_indices(start).filter(|(at, _)| !code[..*at].ends_with(is_word));
    found.flat_map(|(at, _)| names(&code[at + start.len()..])).collect()
}

/// The name at the start, or the names of the group `{a::b, c}` there.
fn names(text: &str) -> Vec<&str> {
    let word = |text: &str| text.find(|c| !is_word(c)).unwrap_or(text.len());
    let Some(group) = text.strip_prefix('{') else { return vec![&text[..word(text)]] };
    let mut names = Vec::new();
    let (mut depth, mut fresh) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && is_word(c) => {
                names.push(&group[at..at + word(&group[at..])]);
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

/// The rooms, bottom up, as `src/lib.rs` lists them.
fn rooms() -> Vec<String> {
    let lib = code_of(&fs::read_to_string(src().join("lib.rs")).unwrap());
    let rooms: Vec<_> = lib
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned))
        .filter(|room| room != "manual")
        .collect();
    assert!(rooms.len() > 10 && rooms[..2] == ["types", "sys"], "the list was not read: {rooms:?}");
    rooms
}

/// The rooms that a file names, its own left out.
fn imports(source: &Source, rooms: &[String]) -> BTreeSet<String> {
    let mut names = behind(&source.code, "crate::");
    // A chain of supers that reaches the root; tests inside a file are one module deeper.
    for supers in [source.depth(), source.depth() + 1] {
        names.extend(behind(&source.code, &"super::".repeat(supers)));
    }
    let own = source.room();
    let sibling = |name: &str| src().join(own).join(name).with_extension("rs").exists();
    let room = |name: &&str| rooms.iter().any(|room| room == name) && *name != own && !sibling(name);
    names.into_iter().filter(room).map(str::to_owned).collect()
}

#[test]
fn a_room_imports_only_rooms_listed_before_it() {
    let rooms = rooms();
    let place = |name: &str| rooms.iter().position(|room| room == name);
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = place(source.room()) else { continue };
        for import in imports(&source, &rooms) {
            if place(&import) > Some(own) {
                wrong.push(format!("src/{} imports {import}", source.path.display()));
            }
        }
        if !behind(&source.code, "exuvia::").is_empty() {
            wrong.push(format!("src/{} names its own crate from outside", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "imports that point up:\n{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_the_source_is_a_listed_room() {
    let rooms = rooms();
    let known = |name: &str| rooms.iter().any(|room| room == name) || matches!(name, "bin" | "manual" | "lib.rs");
    for source in sources() {
        assert!(known(source.room()), "src/{} belongs to no room", source.path.display());
    }
}

#[test]
fn the_launcher_knows_only_what_lies_under_it() {
    let rooms = rooms();
    for source in sources().iter().filter(|source| source.room() == "launcher") {
        for import in imports(source, &rooms) {
            assert!(LAUNCHER_KNOWS.contains(&import.as_str()), "src/{} imports {import}", source.path.display());
        }
    }
}

/// Whether code names something with which to reach a file by its path.
fn reaches_files(code: &str) -> bool {
    let bare = behind(code, "std::").into_iter().filter(|name| *name == "fs").count();
    let named = [behind(code, "std::fs::"), behind(code, "std::os::unix::fs::")].concat();
    bare > code.matches("std::fs::").count()
        || named.iter().any(|name| !HARMLESS.contains(name))
        || !behind(code, "rustix::").is_empty()
        || behind(code, "tokio::").contains(&"fs")
}

#[test]
fn only_one_room_reaches_the_file_system() {
    let elsewhere = sources().into_iter().filter(|source| source.room() != "sys");
    let wrong: Vec<_> = elsewhere
        .filter(|source| reaches_files(source.shipped()))
        .map(|source| format!("src/{}", source.path.display()))
        .collect();
    assert!(wrong.is_empty(), "these reach around the room `sys`:\n{}", wrong.join("\n"));
}

#[test]
fn programs_are_built_on_the_library_alone() {
    for source in sources().iter().filter(|source| source.room() == "bin") {
        assert!(!source.code.contains("#[path"), "src/{} borrows a file of the library", source.path.display());
    }
}

#[test]
fn the_reader_of_this_test_sees_imports_and_nothing_else() {
    let code = code_of(
        "// crate::cli\n/* crate::node /* */ crate::node */ let a = \"crate::cli\"; let b = r#\"\"crate::cli\"#;
         let quote = '\"'; use crate::sys::Dir; fn f<'a>(x: &'a str) {} use crate::{types::{A, B}, fetch as web};",
    );
    assert_eq!(behind(&code, "crate::"), ["sys", "types", "fetch"]);
    assert_eq!(behind("use super::super::cli;", "super::super::"), ["cli"]);
    assert!(behind("mycrate::cli", "crate::").is_empty());

    let up = Source { path: "cache/store.rs".into(), code: "use super::super::fetch::Http;".into() };
    assert_eq!(imports(&up, &rooms()), BTreeSet::from(["fetch".to_owned()]));
    let within = Source { path: "cache/store.rs".into(), code: "use super::fetch::Http;".into() };
    assert!(imports(&within, &rooms()).is_empty());
    let tests =
        Source { path: "a/b.rs".into(), code: "use std::x;\n#[cfg(test)]\nmod tests { std::fs::read() }".into() };
    assert!(!tests.shipped().contains("fs"));
}
