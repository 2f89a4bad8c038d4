//! `exuvia-release repo`: release metadata, signed by those whom its root names.

mod common;
mod doctor;
mod gc;
mod init;
mod releases;
mod roles;
mod sign;
mod status;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Keep a repository of signed release metadata (TUF): which release is the one to run now.
///
/// A signature on an archive says who made it. The metadata of a repository says which releases there are
/// today, for whom and from when on, and until when that may be believed. Nodes with the source `tuf` follow
/// it. Four roles sign it: `root` says who signs for the four; `targets` lists the releases; `snapshot` and
/// `timestamp` say that this is the newest list. Keys of root and targets are kept offline. Keys of snapshot
/// and timestamp are where a timer runs `repo refresh`.
///
/// The repository is a folder, or `s3://BUCKET/PREFIX` (keys, region and endpoint from `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` and `AWS_ENDPOINT_URL`). Serve `public/` from it, by any web server. What
/// still lacks signatures lies in `staged/`, which no reader asks for.
#[derive(Args)]
#[command(after_long_help = "EXAMPLES\n  \
    One engineer, with one key offline and one that is online:\n    \
    exuvia-keygen new --out keys/me && exuvia-keygen new --out keys/online\n    \
    exuvia-release repo init --to repo --product exuvia --root keys/me.pem --targets keys/me.pem \\\n        \
    --timestamp keys/online.pem --key keys/me.key --key keys/online.key\n    \
    cp repo/public/metadata/1.root.json pinned/root.json      # the root of trust for builds\n  \
    A release that was packed into `site`, to 1% of the installs first:\n    \
    exuvia-release repo add-release 1.4.0 --to repo --from site --release-key pinned/2026-a.pem \\\n        \
    --waves 1%@0h,10%@6h,100%@24h --key keys/me.key --key keys/online.key\n  \
    Stop it:\n    \
    exuvia-release repo rollout halt 1.4.0 --to repo --key keys/me.key --key keys/online.key\n  \
    For a timer, every hour, and every week:\n    \
    exuvia-release repo refresh --to repo --key keys/online.key\n    \
    exuvia-release repo gc --to repo")]
pub(crate) struct Repo {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Init(Box<init::Init>),
    AddRelease(Box<releases::AddRelease>),
    Promote(releases::Promote),
    Rollout(releases::Rollout),
    Withdraw(releases::Withdraw),
    Sign(sign::Sign),
    Discard(sign::Discard),
    Refresh(roles::Refresh),
    Rotate(roles::Rotate),
    Renew(roles::Renew),
    Doctor(doctor::Doctor),
    Gc(gc::Gc),
    Status(status::Status),
    Verify(verify::Verify),
}

impl Repo {
    pub(crate) fn run(self, json: bool) -> ExitCode {
        match self.verb {
            Verb::Init(verb) => verb.run(json),
            Verb::AddRelease(verb) => verb.run(json),
            Verb::Promote(verb) => verb.run(json),
            Verb::Rollout(verb) => verb.run(json),
            Verb::Withdraw(verb) => verb.run(json),
            Verb::Sign(verb) => verb.run(json),
            Verb::Discard(verb) => verb.run(json),
            Verb::Refresh(verb) => verb.run(json),
            Verb::Rotate(verb) => verb.run(json),
            Verb::Renew(verb) => verb.run(json),
            Verb::Doctor(verb) => verb.run(json),
            Verb::Gc(verb) => verb.run(json),
            Verb::Status(verb) => verb.run(json),
            Verb::Verify(verb) => verb.run(json),
        }
    }
}
