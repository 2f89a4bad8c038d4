use std::process::ExitCode;

use clap::Args;
use exuvia::publish::repo::{Check, Grade, RepoError, examine_place, open_place};
use exuvia::publish::{Bar, Exit, fail, say, say_json};
use serde_json::json;
use url::Url;

use super::common::At;

/// Try whether a place can hold a repository.
///
/// Writes, reads, lists and removes in a folder of its own, `doctor/`, which it removes again; nothing else is changed,
/// and nobody has to wait for it. Says of each thing that publishing depends on whether the place does it, and what to
/// do where it does not.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-release repo doctor --to s3://releases/exuvia --public-url https://releases.example.org/exuvia/public\n\n\
    EXIT CODES\n  \
    0 a repository can be kept there, perhaps with warnings   9 it cannot")]
pub(super) struct Doctor {
    #[command(flatten)]
    at: At,
    /// Where everybody may read the folder `public` of it.
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,
}

impl Doctor {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let place = match open_place(&self.at.place, false) {
            Ok(place) => place,
            Err(error) => return fail(&RepoError::from(error), json),
        };
        let bar = Bar::counting("sending");
        let mut checks = Vec::new();
        let grade =
            examine_place(&*place, self.public_url.as_ref(), &mut |bytes| bar.advance(bytes), &mut |check: Check| {
                if !json {
                    tell(&check);
                }
                checks.push(check);
            });
        drop(bar);
        if json {
            let check = |check: &Check| {
                json!({
                    "check": check.point.as_str(),
                    "found": check.found,
                    "grade": check.grade.as_str(),
                    "remedy": check.remedy,
                })
            };
            say_json(&json!({
                "checks": checks.iter().map(check).collect::<Vec<_>>(),
                "grade": grade.as_str(),
                "place": place.shown(),
            }));
        }
        if grade == Grade::Fail {
            eprintln!("error: {} cannot hold a repository; see what failed", place.shown());
            return Exit::Storage.into();
        }
        ExitCode::SUCCESS
    }
}

fn tell(check: &Check) {
    let remedy = if check.remedy.is_empty() { String::new() } else { format!("; {}", check.remedy) };
    say(&format!("{:4}  {:15} {}{remedy}", check.grade.as_str(), check.point.as_str(), check.found));
}
