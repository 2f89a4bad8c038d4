//! `exuvia-release`: packs, signs and publishes releases, and checks a published tree.

mod import;
mod pack;
mod repo;
mod verify;
mod withdraw;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "exuvia-release",
    version,
    about = "Packs, signs and publishes releases, and checks what was published",
    long_about = "Packs, signs and publishes releases, and checks what was published.\n\n\
        A published tree is a folder: releases.json lists every release, and a folder for each version holds its \
        archives, their signatures and SHA256SUMS. Nodes read it from any web server, or straight from the folder. \
        Nothing in it is trusted for lying there: nodes believe signatures alone.",
    after_long_help = "EXAMPLES\n  \
        Publish a build, then check the tree as a node would:\n    \
        exuvia-release pack --binary target/release/exuvia --product exuvia --version 1.4.0 \\\n        \
        --target x86_64-unknown-linux-gnu --key keys/2026-a.key --out site\n    \
        exuvia-release verify site --key keys/2026-a.pem\n  \
        Take a bad release back from the nodes that do not run it yet:\n    \
        exuvia-release withdraw 1.5.0 --tree site\n  \
        Publish again, signed, what DeltaGlider kept:\n    \
        exuvia-release import-deltaglider --help\n  \
        Say with signed metadata which releases are current:\n    \
        exuvia-release repo --help\n\n\
        EXIT CODES\n  \
        0 done   2 usage   4 verification failed, or published already with other content   8 another run is publishing\n  \
        6 an object store   9 storage (space, permission, a file missing)   1 unexpected"
)]
struct Cli {
    /// Print one JSON object instead of words.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    ImportDeltaglider(Box<import::Import>),
    Pack(Box<pack::Pack>),
    Repo(repo::Repo),
    Verify(verify::Verify),
    Withdraw(withdraw::Withdraw),
}

fn main() -> ExitCode {
    let Cli { json, verb } = Cli::parse();
    match verb {
        Verb::ImportDeltaglider(verb) => verb.run(json),
        Verb::Pack(verb) => verb.run(json),
        Verb::Repo(verb) => verb.run(json),
        Verb::Verify(verb) => verb.run(json),
        Verb::Withdraw(verb) => verb.run(json),
    }
}
