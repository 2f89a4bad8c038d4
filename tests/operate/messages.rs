//! Every sentence with which something fails is one that a transcript shows, or `tests/cli/unreached.md` says
//! why none does, and what shows it instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// One variant's sentence in the source.
#[derive(Debug)]
struct Sentence {
    /// `Enum::Variant`, or the name of a struct.
    name: String,
    /// Its literal parts, in order, without what is put in between.
    parts: Vec<String>,
}

impl Sentence {
    fn is_in(&self, text: &str) -> bool {
        let mut rest = text;
        self.parts.iter().all(|part| match rest.split_once(part.as_str()) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    }

    fn group(&self) -> &str {
        self.name.split("::").next().unwrap_or_default()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: PathBuf, end: &str) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![folder], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|other| other == end) {
                found.push(path);
            }
        }
    }
    found
}

/// The text of the string literal at the start, without what continues a line.
fn literal(text: &str) -> Option<String> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut out = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => match chars.next()? {
                '\n' => {
                    let rest = chars.as_str().trim_start();
                    chars = rest.chars();
                }
                'n' => out.push('\n'),
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
}

/// What stands between the placeholders of a format string, where it is more than a few letters.
fn parts(format: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' if chars.peek() != Some(&'{') => {
                chars.by_ref().take_while(|c| *c != '}').for_each(drop);
                parts.push(String::new());
            }
            '{' | '}' => {
                chars.next();
                parts.last_mut().unwrap().push(c);
            }
            c => parts.last_mut().unwrap().push(c),
        }
    }
    parts.retain(|part| part.trim().len() > 2);
    parts
}

fn word(line: &str) -> &str {
    &line[..line.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(line.len())]
}

/// The sentences of one file. Those of nothing but another error's words are left out.
fn sentences(text: &str) -> Vec<Sentence> {
    let mut found = Vec::new();
    let (mut group, mut pending): (String, Option<String>) = (String::new(), None);
    let (mut at, mut behind_attribute) = (0, 0);
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if start < behind_attribute {
            continue;
        }
        let line = line.trim_start();
        let named = ["pub enum ", "pub(super) enum ", "pub(crate) enum ", "enum "];
        let alone = ["pub struct ", "pub(super) struct ", "pub(crate) struct "];
        if let Some(rest) = named.iter().find_map(|start| line.strip_prefix(start)) {
            word(rest).clone_into(&mut group);
            pending = None;
        } else if let Some(rest) = alone.iter().find_map(|start| line.strip_prefix(start)) {
            if let Some(format) = pending.take() {
                found.push(Sentence { name: word(rest).to_owned(), parts: parts(&format) });
            }
        } else if line.starts_with("#[error(") {
            let open = start + text[start..].find("#[error(").unwrap() + "#[error(".len();
            pending = literal(text[open..].trim_start());
            behind_attribute = open + text[open..].find(")]\n").map_or(0, |end| end + 2);
        } else if line.starts_with(|c: char| c.is_ascii_uppercase())
            && let Some(format) = pending.take()
        {
            found.push(Sentence { name: format!("{group}::{}", word(line)), parts: parts(&format) });
        }
    }
    found.retain(|sentence| !sentence.parts.is_empty());
    found
}

fn all() -> Vec<Sentence> {
    let texts = files(root().join("src"), "rs").into_iter().map(|file| fs::read_to_string(file).unwrap());
    let found: Vec<_> = texts.flat_map(|text| sentences(&text)).collect();
    assert!(found.len() > 150, "the sentences were not found: {}", found.len());
    found
}

/// The rows of the page: what is not reached, and why.
fn unreached() -> BTreeMap<String, String> {
    let page = fs::read_to_string(root().join("tests/cli/unreached.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    rows.map(|(name, why)| (name.to_owned(), why.to_owned())).collect()
}

#[test]
fn every_sentence_of_failure_is_in_a_transcript_or_says_why_not() {
    let transcripts: String =
        files(root().join("tests/cli"), "txt").iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let lines: Vec<_> = transcripts.lines().collect();
    let (unreached, sentences) = (unreached(), all());
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for sentence in &sentences {
        let (whole, shown) = (format!("{}::*", sentence.group()), lines.iter().any(|line| sentence.is_in(line)));
        match (shown, unreached.contains_key(&sentence.name), unreached.contains_key(&whole)) {
            (true, true, _) => wrong.push(format!("{} is in a transcript: its row can go", sentence.name)),
            (true, false, _) => {}
            (false, true, _) => drop(used.insert(sentence.name.clone())),
            (false, false, true) => drop(used.insert(whole)),
            (false, false, false) => wrong.push(format!("| `{}` | WHY | {:?}", sentence.name, sentence.parts)),
        }
    }
    wrong
        .extend(unreached.keys().filter(|name| !used.contains(*name)).map(|name| format!("{name} is no row any more")));
    assert!(wrong.is_empty(), "tests/cli/unreached.md, or the transcripts beside it:\n{}", wrong.join("\n"));
}

/// What a row names as the one that shows the sentence is a test, a file, or nothing.
#[test]
fn what_is_named_instead_of_a_transcript_exists() {
    for (name, why) in unreached() {
        assert!(why.len() > 20, "{name} gives no reason");
        for file in
            why.split('`').skip(1).step_by(2).filter(|word| word.starts_with("tests/") || word.starts_with("src/"))
        {
            assert!(root().join(file).exists(), "{name} names {file}");
        }
    }
}

#[test]
fn the_reader_of_this_test_sees_sentences_and_nothing_else() {
    let text = r#"
        /// Why.
        #[derive(thiserror::Error)]
        pub enum Wrong {
            #[error("cannot open {}: {source}. Mend it", path.display())]
            Open { path: PathBuf },
            #[error(transparent)]
            Other(#[from] E),
            #[error(
                "it is \"long\", and \
                 goes on: {{}}"
            )]
            Long,
            #[error("{0}")]
            Plain(E),
        }
        #[error("is no good")]
        pub struct Alone;
    "#;
    let found = sentences(text);
    let names: Vec<_> = found.iter().map(|sentence| sentence.name.as_str()).collect();
    assert_eq!(names, ["Wrong::Open", "Wrong::Long", "Alone"]);
    assert_eq!(found[0].parts, ["cannot open ", ". Mend it"]);
    assert_eq!(found[1].parts, ["it is \"long\", and goes on: {}"]);
    assert!(found[0].is_in("error: cannot open /x: no. Mend it!") && !found[0].is_in(". Mend it, cannot open "));
}
