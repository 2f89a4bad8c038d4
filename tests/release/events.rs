//! Everything that is logged has a stable name, and stands in the manual's table as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{files, read};

type Names = BTreeSet<String>;

/// Levels and fields of an event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    levels: Names,
    fields: Names,
}

/// The arguments of a macro call that begins behind its opening parenthesis.
fn arguments(code: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    let mut arguments = vec![String::new()];
    for c in code.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            match c {
                '"' => quoted = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 1 => {
                    arguments.push(String::new());
                    continue;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        arguments.last_mut().unwrap().push(c);
    }
    arguments.iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

fn logged() -> BTreeMap<String, Event> {
    let mut events = BTreeMap::<String, Event>::new();
    for file in files("src", "rs") {
        let code = fs::read_to_string(&file).unwrap();
        for level in ["error", "warn", "info", "debug", "trace"] {
            for (at, call) in code.match_indices(&format!("tracing::{level}!(")) {
                let (mut name, mut fields) = (None, Names::new());
                for argument in arguments(&code[at + call.len()..]) {
                    if argument.starts_with('"') {
                        break; // the words, and what is set into them
                    }
                    let (field, value) = argument.split_once(" = ").unwrap_or((&argument, ""));
                    if field == "event" {
                        name = Some(value.trim_matches('"').to_owned());
                    } else {
                        fields.insert(field.trim_start_matches(['%', '?']).to_owned());
                    }
                }
                let name = name.unwrap_or_else(|| panic!("{} logs a line without an event", file.display()));
                let event = events.entry(name).or_default();
                event.levels.insert(level.to_owned());
                event.fields.append(&mut fields);
            }
        }
        assert!(!code.contains("tracing::event!") && !code.contains("use tracing::"), "{}", file.display());
    }
    assert!(events.len() > 40, "the calls were not found");
    events
}

fn documented() -> BTreeMap<String, Event> {
    let page = read("src/manual/events.md");
    let names = |cell: &str| -> Names {
        let names = cell.split(',').map(|name| name.trim().trim_matches('`').to_owned());
        names.filter(|name| !name.is_empty()).collect()
    };
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [event, levels, meaning, fields] = cells[..] else { panic!("not four cells: {line}") };
        assert!(meaning.ends_with('.') && meaning.len() > 10, "no meaning: {line}");
        rows.push((event.trim_matches('`').to_owned(), Event { levels: names(levels), fields: names(fields) }));
    }
    assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "the table is not sorted, or repeats an event");
    rows.into_iter().collect()
}

#[test]
fn every_event_that_is_logged_is_in_the_manual_with_its_level_and_fields_and_no_other() {
    let (logged, documented) = (logged(), documented());
    for (name, event) in &logged {
        let row = documented.get(name).unwrap_or_else(|| panic!("src/manual/events.md lacks {name}: {event:?}"));
        assert_eq!(row, event, "src/manual/events.md tells otherwise of {name} (left) than the code (right)");
    }
    let gone: Vec<_> = documented.keys().filter(|name| !logged.contains_key(*name)).collect();
    assert!(gone.is_empty(), "src/manual/events.md has events that nothing logs: {gone:?}");
}

#[test]
fn the_names_are_words_that_can_be_searched_for() {
    for (name, event) in logged() {
        let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
        assert!(name.chars().all(plain), "{name}");
        assert!(event.fields.iter().all(|field| field.chars().all(|c| c.is_ascii_lowercase() || c == '_')), "{name}");
    }
}

#[test]
fn the_reader_of_calls_is_not_led_astray_by_text() {
    let read = arguments("event = \"a\", x = f(1, \"(,\\\"\"), %error, \"words, {error} (\") rest");
    assert_eq!(read, ["event = \"a\"", "x = f(1, \"(,\\\"\")", "%error", "\"words, {error} (\""]);
}
