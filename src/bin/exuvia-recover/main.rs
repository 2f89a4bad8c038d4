//! `exuvia-recover`: opens, checks and unpacks snapshots and what other systems stored, without the node and
//! without a network.

mod decrypt;
mod foreign;
mod snapshot;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use exuvia::console::fail;

#[derive(Parser)]
#[command(
    name = "exuvia-recover",
    version,
    about = "Opens, checks and unpacks snapshots, without the node and without a network",
    long_about = "Opens, checks and unpacks snapshots, without the node and without a network.\n\n\
        Nothing is written under its final name before every check has passed, nothing is replaced, and there is no \
        option that skips a check.",
    after_long_help = "EXAMPLES\n  \
        See what a snapshot says of itself (nothing is verified):\n    \
        exuvia-recover inspect 20270131T060000Z-1a2b3c4d.exuvia-snapshot\n  \
        Check it with the key of its node, and unpack it:\n    \
        exuvia-recover open --trusted-keys snapshot.pem --out state FILE\n  \
        The same for a sealed one:\n    \
        exuvia-recover open --trusted-keys snapshot.pem --identity operator.txt --out state FILE\n  \
        Decrypt a Backupy backup:\n    \
        exuvia-recover decrypt --format backupy-v1 --key-file dek --zstd --in backup.enc --out dump.sql\n\n\
        EXIT CODES\n  \
        0 done   2 usage   4 verification failed   8 busy   9 storage (space, permission, a file missing or in the way)   \
        1 unexpected"
)]
struct Cli {
    /// Print one JSON object instead of words
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Inspect(snapshot::Inspect),
    Verify(snapshot::Verify),
    Open(snapshot::Open),
    Decrypt(decrypt::Decrypt),
    ImportStigmem(foreign::Import),
}

fn main() -> ExitCode {
    let Cli { json, verb } = Cli::parse();
    let outcome = match verb {
        Verb::Inspect(verb) => verb.run(json),
        Verb::Verify(verb) => verb.run(json),
        Verb::Open(verb) => verb.run(json),
        Verb::Decrypt(verb) => verb.run(json),
        Verb::ImportStigmem(verb) => verb.run(json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error, json),
    }
}
