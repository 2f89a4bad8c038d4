//! `exuvia-keygen`: makes ML-DSA-65 release keys, signs and verifies files with them.

mod new;
mod release_args;
mod show;
mod sign;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "exuvia-keygen",
    version,
    about = "Makes release keys, signs and verifies files with them",
    long_about = "Makes release keys, signs and verifies files with them.\n\n\
        A release key is an ML-DSA-65 key (FIPS 204). Its public half is compiled into every node of a fleet; whatever \
        its private half signs, the fleet runs. A signature says which product, version and target the file is for, so \
        it cannot be moved to another release, and it can be checked with OpenSSL 3.5 or newer, too (see `show`).",
    after_long_help = "EXAMPLES\n  \
        Make the two keys that a build needs:\n    \
        exuvia-keygen new --out keys/2026-a\n    \
        exuvia-keygen new --out keys/2026-b\n\n  \
        Sign an archive, and check the signature as a node would:\n    \
        exuvia-keygen sign --key keys/2026-a.key --product exuvia --version 1.4.0 \\\n        \
        --target x86_64-unknown-linux-gnu exuvia-x86_64-unknown-linux-gnu.tar.zst\n    \
        exuvia-keygen verify --key keys/2026-a.pem --product exuvia --version 1.4.0 \\\n        \
        --target x86_64-unknown-linux-gnu exuvia-x86_64-unknown-linux-gnu.tar.zst\n\n\
        EXIT CODES\n  \
        0 done   2 usage   4 does not verify   9 storage (space, permission, a file missing or in the way)   1 unexpected"
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
    New(new::New),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Show(show::Show),
}

fn main() -> ExitCode {
    let Cli { json, verb } = Cli::parse();
    match verb {
        Verb::New(verb) => verb.run(json),
        Verb::Sign(verb) => verb.run(json),
        Verb::Verify(verb) => verb.run(json),
        Verb::Show(verb) => verb.run(json),
    }
}
