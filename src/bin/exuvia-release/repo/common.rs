use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use exuvia::publish::repo::{Desk, Edited, Engineer, NamedKey, RepoError, Settled, open_place};
use exuvia::publish::{fail, say, say_json};
use exuvia::tuf::metadata::RoleType;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Where the repository lies.
#[derive(Args)]
pub(super) struct At {
    /// The repository: a folder, or `s3://BUCKET/PREFIX`.
    #[arg(long = "to", value_name = "PLACE")]
    pub(super) place: String,
}

/// Who is at the desk.
#[derive(Args)]
pub(super) struct By {
    /// The private key of somebody who signs at once. Repeat it for more than one.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
}

/// A role of the top level.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum RoleName {
    Root,
    Targets,
    Snapshot,
    Timestamp,
}

impl From<RoleName> for RoleType {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Root => Self::Root,
            RoleName::Targets => Self::Targets,
            RoleName::Snapshot => Self::Snapshot,
            RoleName::Timestamp => Self::Timestamp,
        }
    }
}

impl At {
    pub(super) fn open(&self) -> Result<Desk, RepoError> {
        Desk::open(open_place(&self.place, false)?, Timestamp::now())
    }

    pub(super) fn look(&self) -> Result<Desk, RepoError> {
        Desk::look(open_place(&self.place, false)?, Timestamp::now())
    }
}

impl By {
    pub(super) fn read(&self) -> Result<Vec<Engineer>, RepoError> {
        self.keys.iter().map(|path| engineer(path)).collect()
    }
}

pub(super) fn engineer(path: &std::path::Path) -> Result<Engineer, RepoError> {
    let engineer = Engineer::read(path)?;
    if engineer.is_exposed {
        eprintln!("warning: others may read {0}; run: chmod 600 {0}", path.display());
    }
    Ok(engineer)
}

pub(super) fn public_keys(paths: &[PathBuf]) -> Result<Vec<NamedKey>, RepoError> {
    paths.iter().map(|path| NamedKey::read(path).map_err(RepoError::from)).collect()
}

/// Says what was published and what waits for whom.
pub(super) fn report(outcome: Result<Settled, RepoError>, at: &At, json: bool) -> ExitCode {
    match outcome {
        Ok(settled) if json => say_json(&settled_json(&settled)),
        Ok(settled) => say_settled(&settled, at),
        Err(error) => return fail(&error, json),
    }
    ExitCode::SUCCESS
}

/// As [`report`], for what is said about releases.
pub(super) fn report_edit(outcome: Result<Edited, RepoError>, at: &At, json: bool) -> ExitCode {
    let edited = match outcome {
        Ok(edited) => edited,
        Err(error) => return fail(&error, json),
    };
    if json {
        let mut value = settled_json(&edited.settled);
        value["changed"] = edited.changed.into();
        value["releases"] = json!(edited.releases);
        say_json(&value);
        return ExitCode::SUCCESS;
    }
    for release in &edited.releases {
        say(&format!("{} {release}", if edited.changed { "changes   " } else { "unchanged " }));
    }
    if edited.changed && edited.joined {
        say("It joins other changes that wait for signatures already: look at all of them with `repo sign`.");
    }
    say_settled(&edited.settled, at);
    ExitCode::SUCCESS
}

pub(super) fn say_settled(settled: &Settled, at: &At) {
    for (role, version) in &settled.published {
        say(&format!("published  {role} {version}"));
    }
    for waiting in &settled.waiting {
        let signatures = if waiting.missing == 1 { "signature" } else { "signatures" };
        let by = waiting.may_sign.join(", ");
        say(&format!(
            "waits      {} {} for {} more {signatures}, of {by}",
            waiting.role, waiting.version, waiting.missing
        ));
    }
    let is_offline = |role| matches!(role, RoleType::Root | RoleType::Targets);
    if settled.waiting.iter().any(|waiting| is_offline(waiting.role)) {
        say(&format!("Next: exuvia-release repo sign --to {} --key FILE", at.place));
    } else if !settled.waiting.is_empty() {
        say(&format!("Next: exuvia-release repo refresh --to {} --key FILE", at.place));
    } else if settled.published.is_empty() {
        say("nothing to publish");
    }
}

pub(super) fn settled_json(settled: &Settled) -> Value {
    let published: Vec<_> =
        settled.published.iter().map(|(role, version)| json!({ "role": role.as_str(), "version": version })).collect();
    let waiting: Vec<_> = settled.waiting.iter().map(exuvia::publish::repo::Waiting::to_json).collect();
    json!({ "published": published, "waiting": waiting })
}
