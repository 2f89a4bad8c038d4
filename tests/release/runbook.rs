//! The runbook's commands do what it says: each marked block is run, in order, in a folder of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Run, keygen, read, release, root};

const MARK: &str = "<!-- played -->";

/// Heading and commands of each marked block.
fn played() -> Vec<(String, String)> {
    let page = read("release/RUNBOOK.md");
    let mut heading = String::new();
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut heading);
        } else if line == MARK {
            assert_eq!(lines.next(), Some("```sh"), "a mark stands right above its block");
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((heading.clone(), block.join("\n")));
        }
    }
    blocks
}

/// Everything that the runbook calls is what this build made.
fn set_up(desk: &Path) {
    let bin = desk.join("bin");
    fs::create_dir_all(&bin).unwrap();
    for program in [keygen(), release()] {
        let program = Path::new(program);
        std::os::unix::fs::symlink(program, bin.join(program.file_name().unwrap())).unwrap();
    }
    // What `scripts/build-release` leaves, which has its own test; the versions only have to differ.
    for version in ["1.4.0", "1.4.1", "1.5.0", "1.6.0", "1.7.0"] {
        let out = desk.join("work/dist").join(version);
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("exuvia"), format!("program {version}\n").repeat(2000)).unwrap();
    }
}

#[test]
fn every_played_command_of_the_runbook_works() {
    let blocks = played();
    let headings: Vec<_> = blocks.iter().map(|(heading, _)| heading.as_str()).collect();
    for section in [
        "Keys",
        "A release",
        "A bad release",
        "Key rotation",
        "A lost key",
        "A stolen key",
        "Release metadata",
        "A release in metadata",
        "An emergency halt",
        "Rotation of metadata keys",
        "A lost metadata key",
        "A stolen metadata key",
    ] {
        assert!(headings.iter().any(|heading| heading.starts_with(section)), "nothing of {section:?} is played");
    }
    let desk = tempfile::tempdir().unwrap();
    set_up(desk.path());
    let path = format!("{}:{}", desk.path().join("bin").display(), std::env::var("PATH").unwrap());
    for (heading, block) in blocks {
        let mut shell = Command::new("sh");
        shell.args(["-eu", "-c", &block]).current_dir(desk.path().join("work"));
        let run = Run::of(shell.env("PATH", &path).env_remove("SOURCE_DATE_EPOCH"));
        assert_eq!(run.code, 0, "{heading}:\n{block}\n{}{}", run.out, run.err);
    }
    let work = desk.path().join("work");
    let listing = fs::read(work.join("site/releases.json")).unwrap();
    let listing = exuvia::fetch::Listing::parse(&listing, &exuvia::fetch::ListingLimits::default()).unwrap();
    let offered: Vec<_> = listing.releases.iter().map(|release| release.version.to_string()).collect();
    assert!(!offered.contains(&"1.5.0".to_owned()) && offered.contains(&"1.4.1".to_owned()), "{offered:?}");
    let mut pinned: Vec<_> = fs::read_dir(work.join("pinned")).unwrap().map(|e| e.unwrap().file_name()).collect();
    pinned.sort();
    assert!(pinned.len() >= 2, "a build needs two keys: {pinned:?}");
    for entry in fs::read_dir(work.join("site/1.4.0")).unwrap() {
        assert!(entry.unwrap().path().extension().is_none_or(|end| end != "key"), "a private key was published");
    }
}

#[test]
fn what_is_not_played_names_files_that_exist() {
    for path in read("release/RUNBOOK.md").split('`').filter(|word| word.starts_with("scripts/")) {
        let file = path.split(' ').next().unwrap();
        assert!(root().join(file).is_file(), "{file}");
    }
}
