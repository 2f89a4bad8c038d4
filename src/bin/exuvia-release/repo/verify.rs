use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::repo::{ClientError, ClientReport, RepoError, open_place, verify};
use exuvia::publish::{Bar, Exit, fail, read_keyring, say, say_json};
use exuvia::sys::OperatorFile;
use exuvia::types::ByteLimit;
use jiff::Timestamp;
use serde_json::json;

use super::common::At;

/// Check the repository as a client does, from its first root to every file.
///
/// Follows each root to the newest, then timestamp, snapshot and targets, and fetches every target. With
/// `--release-key`, archives are verified and extracted as nodes do it. Changes nothing.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-release repo verify --to repo --root pinned/root.json --release-key pinned/2026-a.pem")]
pub(super) struct Verify {
    #[command(flatten)]
    at: At,
    /// The root that builds come with [default: the first one of the repository].
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// A public key that nodes pin for archives. Repeat it for more than one; any of them suffices.
    #[arg(long, value_name = "FILE")]
    release_key: Vec<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let report = match self.check() {
            Ok(report) => report,
            Err(error) => return fail(&error, json),
        };
        if json {
            let release = |(release, key): &(exuvia::tuf::ReleaseDescription, Option<exuvia::types::KeyId>)| json!({ "fingerprint": key, "release": release.id });
            let problem = |(at, problem): &(String, exuvia::publish::repo::ClientProblem)| json!({ "at": at, "reason": problem.to_string() });
            say_json(&json!({
                "files": report.files,
                "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
                "releases": report.releases.iter().map(release).collect::<Vec<_>>(),
                "root": report.root,
            }));
        } else {
            say(&format!("good     metadata up to root {}, and {} files", report.root, report.files));
            for (release, key) in &report.releases {
                match key {
                    Some(key) => say(&format!("good     {}, signed by {key}", release.id)),
                    None => say(&format!("listed   {}, whose archive's own signature was not checked", release.id)),
                }
            }
            for (at, problem) in &report.problems {
                say(&format!("WRONG    {at}: {problem}"));
            }
        }
        if report.problems.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {} problem(s) in {}; nodes refuse these files", report.problems.len(), self.at.place);
        Exit::Verification.into()
    }

    fn check(&self) -> Result<ClientReport, ClientError> {
        let place = open_place(&self.at.place, false).map_err(RepoError::from)?;
        let root = match &self.root {
            Some(path) => Some(OperatorFile::read(path, ByteLimit::mib(1))?),
            None => None,
        };
        let keys = match self.release_key.as_slice() {
            [] => None,
            paths => Some(read_keyring(paths).map_err(RepoError::from)?),
        };
        let bar = Bar::counting("checking");
        let outcome = verify(&*place, root, keys.as_ref(), Timestamp::now(), &mut |n| bar.advance(n));
        drop(bar);
        outcome
    }
}
