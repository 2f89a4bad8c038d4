//! Kills, failing disks and power cuts at every step of an upgrade: all of them. Started by
//! `scripts/prove-crash-safety`.

#![allow(clippy::disallowed_methods, reason = "it sets up files")]
#![allow(unreachable_pub, reason = "one program")]

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#[path = "../support/http_server.rs"]
mod http_server;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#[path = "../support/port.rs"]
mod port;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#[path = "../support/program.rs"]
mod program;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#[path = "../e2e/support/mod.rs"]
mod support;

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod lab;

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod proof {
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::PathBuf;
    use std::process::ExitCode;
    use std::sync::Mutex;

    use clap::Parser;

    use crate::lab::call::errors_of;
    use crate::lab::campaign::{Case, KILLS, places, play, thinned, turns};
    use crate::lab::story::Story;
    use crate::lab::trace::Blow;

    /// Interrupts an upgrade at every system call that changes something on disk.
    #[derive(Parser)]
    pub struct Args {
        /// How many at a time.
        #[arg(long, default_value_t = 4)]
        jobs: usize,
        /// The table of what was played; lines that are there already are not played again.
        #[arg(long, default_value = "target/crash-safety.tsv")]
        table: PathBuf,
        /// Only these stories; without it, all.
        #[arg(long)]
        story: Vec<Story>,
        /// Only cases whose line contains this.
        #[arg(long)]
        only: Option<String>,
    }

    pub fn main() -> ExitCode {
        let args = Args::parse();
        let mut cases = Vec::new();
        for story in Story::ALL.into_iter().filter(|story| args.story.is_empty() || args.story.contains(story)) {
            let calls = story.record();
            for point in thinned(&calls) {
                let fails = errors_of(&point.place.call).iter().map(|(_, errno)| Blow::Fail(*errno));
                cases.extend(KILLS.into_iter().chain([Blow::Full]).chain(fails).map(|blow| Case::Blow {
                    story,
                    point: point.clone(),
                    blow,
                }));
            }
            // An operator's verb that was cut short is begun again by its operator.
            for first in turns(&calls).into_iter().filter(|_| story.is_the_nodes()) {
                for second in places(&story.record_recovery(&first)) {
                    let twice = |blow| Case::Twice { story, first: first.clone(), second: second.clone(), blow };
                    cases.extend(KILLS.into_iter().take(2).map(twice));
                }
            }
            cases.extend(story.remains().into_iter().map(|remains| Case::Cut { story, remains }));
        }
        let done = fs::read_to_string(&args.table).unwrap_or_default();
        let mut tally: BTreeMap<String, u32> = BTreeMap::new();
        let known: BTreeMap<&str, &str> = done.lines().filter_map(|line| line.rsplit_once('\t')).collect();
        let wanted = |line: &str| args.only.as_ref().is_none_or(|only| line.contains(only));
        cases.retain(|case| {
            let line = case.to_string();
            if let Some(end) = known.get(line.as_str()).filter(|_| wanted(&line)) {
                *tally.entry((*end).to_owned()).or_default() += 1;
            }
            wanted(&line) && !known.contains_key(line.as_str())
        });
        println!("{} cases to play, {} known", cases.len(), tally.values().sum::<u32>());
        let table = Mutex::new(File::options().create(true).append(true).open(&args.table).expect("a table"));
        let ends = play(&cases, args.jobs, |case, end| {
            let word = match end {
                Ok(end) => format!("{end:?}"),
                Err(reason) => {
                    eprintln!("FAILED {case}\n{reason}\n");
                    "FAILED".to_owned()
                }
            };
            println!("{case}\t{word}");
            writeln!(table.lock().expect("nobody panics with it"), "{case}\t{word}").expect("the table is written");
        });
        for end in ends {
            *tally.entry(end.map_or("FAILED".to_owned(), |end| format!("{end:?}"))).or_default() += 1;
        }
        println!("{tally:?}");
        if tally.contains_key("FAILED") { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    proof::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
fn main() {
    eprintln!("the tracer knows the system calls of Linux on x86-64 alone");
}
