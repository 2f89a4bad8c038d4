use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::repo::{Desk, RepoError, Review, open_place};
use exuvia::publish::{Exit, fail, say, say_json};
use exuvia::tuf::metadata::RoleType;
use jiff::Timestamp;
use serde_json::json;

use super::common::{At, RoleName, engineer, report, say_settled, settled_json};

/// Show what waits for a signature, and sign it.
///
/// Shows every member that differs from what is published, and nothing else is signed than what was shown.
/// Asks before it signs; `--yes` says that you have looked. Without a key it only shows. A key that no role
/// knows is refused, and so is one that has signed already.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-release repo sign --to repo                          # look\n  \
    exuvia-release repo sign --to repo --key keys/alice.key     # look, and sign\n\n\
    OFFLINE\n  \
    Carry a copy of the repository (without public/targets) to the machine that has the key, sign there, and\n  \
    carry `staged` and `public/metadata` back.")]
pub(super) struct Sign {
    #[command(flatten)]
    at: At,
    /// Your private key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign the draft of this role alone.
    #[arg(long, value_enum)]
    role: Option<RoleName>,
    /// Do not ask: you have looked.
    #[arg(long)]
    yes: bool,
}

impl Sign {
    pub(super) fn run(self, json: bool) -> ExitCode {
        match self.go(json) {
            Ok(code) => code,
            Err(error) => fail(&error, json),
        }
    }

    fn wants(&self, role: RoleType) -> bool {
        self.role.is_none_or(|only| RoleType::from(only) == role)
    }

    fn go(&self, json: bool) -> Result<ExitCode, RepoError> {
        let Some(path) = &self.key else {
            let desk = self.at.look()?;
            show(&self.reviews(&desk, &RoleType::ALL)?, json);
            return Ok(ExitCode::SUCCESS);
        };
        let engineer = engineer(path)?;
        let mut desk = self.at.open()?;
        let mut roles = desk.waits_for(&engineer)?;
        roles.retain(|role| self.wants(*role));
        if roles.is_empty() {
            return Err(RepoError::NothingToSign(path.clone()));
        }
        let reviews = self.reviews(&desk, &roles)?;
        if !json {
            show(&reviews, false);
        }
        if !self.yes && !agreed() {
            eprintln!("nothing was signed; look at the changes above, and repeat with --yes");
            return Ok(Exit::Usage.into());
        }
        let settled = desk.sign_drafts(&engineer, &roles)?;
        if json {
            let mut value = settled_json(&settled);
            value["signed"] = reviews.iter().map(review_json).collect();
            say_json(&value);
        } else {
            for review in &reviews {
                say(&format!("signed     {} {}", review.role, review.version));
            }
            say_settled(&settled, &self.at);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn reviews(&self, desk: &Desk, roles: &[RoleType]) -> Result<Vec<Review>, RepoError> {
        let mut reviews = desk.review()?;
        reviews.retain(|review| roles.contains(&review.role) && self.wants(review.role));
        Ok(reviews)
    }
}

fn review_json(review: &Review) -> serde_json::Value {
    let change = |change: &exuvia::publish::repo::Change| json!({ "after": change.after, "at": change.at, "before": change.before });
    json!({
        "changes": review.changes.iter().map(change).collect::<Vec<_>>(),
        "published": review.published,
        "role": review.role.as_str(),
        "version": review.version,
    })
}

fn show(reviews: &[Review], json: bool) {
    if json {
        say_json(&json!({ "drafts": reviews.iter().map(review_json).collect::<Vec<_>>() }));
        return;
    }
    if reviews.is_empty() {
        say("nothing waits for a signature");
    }
    for review in reviews {
        let against = match review.published {
            Some(version) => format!("against version {version}, which is published"),
            None => "of which nothing is published yet".to_owned(),
        };
        say(&format!("{} {}, {against}:", review.role, review.version));
        for change in &review.changes {
            say(&format!("  {change}"));
        }
    }
}

/// Whether the person at the terminal says yes. Without a terminal nobody does.
fn agreed() -> bool {
    let mut input = io::stdin().lock();
    if !io::stdin().is_terminal() {
        return false;
    }
    eprint!("Sign this? [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    input.read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Give up a draft that waits for signatures.
///
/// What readers see stays as it is. Archives that only the draft names are removed.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  exuvia-release repo discard --role targets --to repo")]
pub(super) struct Discard {
    #[command(flatten)]
    at: At,
    /// The role: root or targets.
    #[arg(long, value_enum)]
    role: RoleName,
}

impl Discard {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let role = self.role.into();
        let discard = || Desk::discard(open_place(&self.at.place, false)?, role, Timestamp::now());
        match discard() {
            Err(error) => fail(&error, json),
            Ok(settled) if json => report(Ok(settled), &self.at, json),
            Ok(settled) => {
                say(&format!("gave up    the draft of {role}"));
                if !settled.waiting.is_empty() {
                    say_settled(&settled, &self.at);
                }
                ExitCode::SUCCESS
            }
        }
    }
}
