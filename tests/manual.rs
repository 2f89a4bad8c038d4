//! The manual keeps its word: every attack names the tests that play it, every setting is described,
//! and every link leads somewhere.

#![allow(clippy::disallowed_methods, reason = "this test reads the source tree")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use exuvia::config::{Fallback, KEYS};

/// Every row that there is. One that is found later is added here and to the page.
const ROWS: [&str; 52] = [
    "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10", "A11", "A12", "A13", "A14", "B1", "B2", "B3", "B4",
    "B5", "B6", "B7", "B8", "B9", "D1", "D2", "D3", "N1", "N2", "N3", "H1", "I1", "X1", "X2", "X3", "X4", "X5", "X6",
    "X7", "K1", "K2", "K3", "K4", "K5", "L1", "L2", "L3", "L4", "L5", "L6", "O1", "O2", "S1",
];
/// The rows that the page may not put off.
const DUE: [&str; 52] = ROWS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

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
    files
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("src/manual").join(name)).unwrap()
}

/// The name of the function that a line begins, if it begins one.
fn function(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    Some(&line[..line.find('(')?])
}

/// Whether the attributes over line `at` say that a test begins there.
fn is_test(lines: &[&str], at: usize) -> bool {
    let above = lines[..at].iter().rev().map(|line| line.trim());
    above.take_while(|line| line.starts_with("#[") || line.starts_with("//")).any(|line| {
        let name = line.trim_start_matches("#[").trim_start_matches("tokio::");
        name.starts_with("test]") || name.starts_with("test(")
    })
}

fn tests_in(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().collect();
    let tests = lines.iter().enumerate().filter(|(at, _)| is_test(&lines, *at));
    tests.filter_map(|(_, line)| function(line)).map(str::to_owned).collect()
}

/// Every test of the package, by name.
fn tests() -> BTreeSet<String> {
    let files = [files("tests", "rs"), files("src", "rs")].concat();
    let tests: BTreeSet<_> = files.iter().flat_map(|file| tests_in(&fs::read_to_string(file).unwrap())).collect();
    assert!(tests.len() > 100, "the tests were not found");
    tests
}

/// The cells of each row of the tables in `text`, heads left out.
fn table(text: &str) -> Vec<Vec<&str>> {
    let heads = ["| row ", "| setting ", "| failure ", "| code ", "| alert "];
    let lines = text.lines().filter(|line| line.starts_with("| ") && !heads.iter().any(|head| line.starts_with(head)));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The rows that are defended, with the tests that they name; and the rows that are put off.
fn attacks(text: &str) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let (now, later) = text.split_once("\n## Not yet\n").expect("the page has two tables");
    let mut rows = BTreeMap::new();
    for cells in table(now) {
        let [row, _who, _attack, _defence, tests] = cells[..] else { panic!("not five cells: {cells:?}") };
        let tests = quoted(tests).into_iter().map(str::to_owned).collect();
        assert!(rows.insert(row.to_owned(), tests).is_none(), "{row} stands there twice");
    }
    let later = table(later).into_iter().map(|cells| {
        let [row, _who, _attack, _state] = cells[..] else { panic!("not four cells: {cells:?}") };
        row.to_owned()
    });
    (rows, later.collect())
}

/// What is wrong with the page of attacks, given the tests that there are.
fn flaws(text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let (now, later) = attacks(text);
    let mut flaws = Vec::new();
    for (row, named) in &now {
        if named.is_empty() {
            flaws.push(format!("{row} names no test"));
        }
        let missing = named.iter().filter(|name| !tests.contains(*name));
        flaws.extend(missing.map(|name| format!("{row} names {name}, which is no test")));
        let prefix = format!("{}_", row.to_lowercase());
        let forgotten = tests.iter().filter(|name| name.starts_with(&prefix) && !named.contains(name));
        flaws.extend(forgotten.map(|name| format!("{row} does not name {name}")));
    }
    for row in ROWS {
        match (now.contains_key(row), later.iter().filter(|other| *other == row).count()) {
            (true, 0) => {}
            (false, 1) if !DUE.contains(&row) => {}
            (false, 1) => flaws.push(format!("{row} may not be put off")),
            (false, 0) => flaws.push(format!("{row} is in neither table")),
            _ => flaws.push(format!("{row} is there more than once")),
        }
    }
    let known = |row: &&String| ROWS.contains(&row.as_str());
    flaws.extend(now.keys().chain(&later).filter(|row| !known(row)).map(|row| format!("{row} is not a known row")));
    flaws
}

#[test]
fn every_attack_names_its_tests_and_every_attack_test_its_row() {
    let flaws = flaws(&page("attacks.md"), &tests());
    assert!(flaws.is_empty(), "src/manual/attacks.md:\n{}", flaws.join("\n"));
}

#[test]
fn a_flaw_in_the_table_of_attacks_is_found() {
    let (text, tests) = (page("attacks.md"), tests());
    let found = |text: &str, tests: &BTreeSet<String>, flaw: &str| {
        let flaws = flaws(text, tests);
        assert!(flaws.iter().any(|found| found.contains(flaw)), "{flaw:?} is not among {flaws:?}");
    };
    let one = "b7_an_archive_signed_as_1_2_0_and_listed_as_9_9_9_is_refused";
    found(&text.replace(&format!("`{one}`"), ""), &tests, "B7 names no test");
    found(&text.replace(one, "b7_no_such_test"), &tests, "B7 names b7_no_such_test, which is no test");
    found(&text.replace(one, "b7_no_such_test"), &tests, &format!("B7 does not name {one}"));
    let without = text.replace("\n| K3 |", "\nK3");
    found(&without, &tests, "K3 is in neither table");
    // The page need not put off any.
    let put_off = |text: &str, row: &str| format!("{text}\n| {row} | K | An attack. | What is missing. |\n");
    found(&put_off(&without, "K3"), &tests, "K3 may not be put off");
    found(&put_off(&text, "B7"), &tests, "B7 is there more than once");
    found(&put_off(&text, "Z9"), &tests, "Z9 is not a known row");
    let mut more = tests;
    more.insert("a1_that_nobody_wrote_down".to_owned());
    found(&text, &more, "A1 does not name a1_that_nobody_wrote_down");
    more.insert("z9_a_test_of_a_row_that_is_put_off".to_owned());
    assert!(!flaws(&put_off(&text, "Z9"), &more).iter().any(|flaw| flaw.contains("_a_test_of_a_row_that_is_put_off")));
}

/// The rows of the page about metadata: numbers, and the traps that they name.
fn traps(text: &str) -> Vec<&str> {
    let (_, table) = text.split_once("\n| # |").expect("the table of traps");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    rows.map(|row| row[2..].split(" | ").next().unwrap()).collect()
}

#[test]
fn every_trap_of_the_metadata_client_has_a_test() {
    let text = page("metadata.md");
    let wanted: Vec<String> = (1..=55).map(|number| format!("{number:02}")).collect();
    assert_eq!(traps(&text), wanted, "the table of src/manual/metadata.md");
    let tests = tests();
    let named = |number: &String| tests.iter().any(|name| format!("_{name}").contains(&format!("_t{number}_")));
    let without: Vec<_> = wanted.iter().filter(|number| !named(number)).collect();
    assert!(without.is_empty(), "no test begins with t{without:?}");
}

#[test]
fn every_failure_of_others_names_the_tests_that_show_what_happens_here() {
    let (text, tests) = (page("failures.md"), tests());
    let (now, later) = text.split_once("\n## Not yet\n").expect("the page has two tables");
    let mut flaws = Vec::new();
    let rows = table(now);
    assert!(rows.len() > 25, "the table was not found");
    for cells in rows {
        let [failure, _here, named] = cells[..] else { panic!("not three cells: {cells:?}") };
        let named = quoted(named);
        if named.is_empty() {
            flaws.push(format!("\"{failure}\" names no test"));
        }
        let missing = named.into_iter().filter(|name| !tests.contains(*name));
        flaws.extend(missing.map(|name| format!("\"{failure}\" names {name}, which is no test")));
    }
    assert!(flaws.is_empty(), "src/manual/failures.md:\n{}", flaws.join("\n"));
    assert!(table(later).iter().all(|cells| cells.len() == 2), "what is missing is said in two cells");
}

#[test]
fn every_exit_code_and_every_alert_says_what_to_do_at_night() {
    let text = page("operations.md");
    let rows: BTreeSet<_> = table(&text).into_iter().map(|cells| cells[0].trim_matches('`').to_owned()).collect();
    let codes = page("flow.md");
    let (_, codes) = codes.split_once("## Exit codes").expect("the codes are in the chapter on the flow");
    let (codes, _) = codes.split_once("\n## ").expect("more follows");
    let alerts = fs::read_to_string(root().join("release/monitoring/alerts.yml")).unwrap();
    let alerts = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let wanted: Vec<String> =
        table(codes).into_iter().map(|cells| cells[0].to_owned()).chain(alerts.map(str::to_owned)).collect();
    assert!(wanted.len() > 20, "codes and alerts were not found: {wanted:?}");
    let missing: Vec<_> = wanted.into_iter().filter(|name| !rows.contains(name)).collect();
    assert!(missing.is_empty(), "src/manual/operations.md has no row for {missing:?}");
}

#[test]
fn the_reader_of_this_test_sees_tests_and_nothing_else() {
    let text = "#[test]\nfn a() {}\nfn helper() {}\n#[tokio::test(flavor = \"multi_thread\")]\n// why\nasync fn b() {}
        #[allow(x)]\n    #[test]\n    fn c(x in 0..3) {}\n#[cfg(test)]\nmod tests {}\n#[cfg(test)]\nfn d() {}";
    assert_eq!(tests_in(text), ["a", "b", "c"]);
}

#[test]
fn every_setting_is_described_as_the_program_knows_it() {
    let text = page("configuration.md");
    let product = "exuvia".parse().unwrap();
    let wanted: Vec<String> = KEYS
        .iter()
        .map(|key| {
            let default = match key.default {
                Fallback::Value(value) => format!("`{value}`"),
                Fallback::Words(words) => words.replace('<', "\\<"),
            };
            let variable = key.variable(&product);
            format!("| `{}` | {} | {default} | `{}` | `{variable}` |", key.name, key.meaning, key.example)
        })
        .collect();
    let found: Vec<_> = text.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(found == wanted, "the table of src/manual/configuration.md must be:\n{}", wanted.join("\n"));
}

/// Where the links of a page lead: relative paths and places in the page. Links of rustdoc, which
/// checks them itself, and of the web are left out.
fn links(text: &str) -> Vec<&str> {
    let ends = text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split_once(')'));
    let own = |link: &&str| !link.contains("::") && !link.contains("://");
    ends.map(|(link, _)| link).filter(own).collect()
}

/// The place that a heading makes in its page.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn links_in_the_manual_and_beside_it_lead_somewhere() {
    let mut pages = [files("src/manual", "md"), files("keys", "md")].concat();
    let beside = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(beside.filter(|path| path.extension().is_some_and(|end| end == "md")));
    assert!(pages.len() >= 6, "{pages:?}");
    let mut dead = Vec::new();
    for path in pages {
        let text = fs::read_to_string(&path).unwrap();
        let places: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_matches(['#', ' '])))
            .collect();
        for link in links(&text) {
            let (file, place) = link.split_once('#').map_or((link, None), |(file, place)| (file, Some(place)));
            let leads = match (file, place) {
                ("", Some(place)) => places.iter().any(|known| known == place),
                (file, _) => path.parent().unwrap().join(file).exists(),
            };
            if !leads {
                dead.push(format!("{}: {link}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn every_place_in_the_source_that_the_manual_names_exists() {
    let mut dead = Vec::new();
    for path in files("src/manual", "md") {
        let text = fs::read_to_string(&path).unwrap();
        let named = quoted(&text).into_iter().filter(|text| text.starts_with("src/") || text.starts_with("tests/"));
        dead.extend(
            named.filter(|named| !root().join(named).exists()).map(|named| format!("{}: {named}", path.display())),
        );
    }
    assert!(dead.is_empty(), "no such files:\n{}", dead.join("\n"));
}
