use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use exuvia::publish::repo::{self, Desk, Gone, Odd, Span, Sweep, Swept, open_place};
use exuvia::publish::{Bar, fail, say, say_json};
use jiff::Timestamp;
use serde_json::json;

use super::common::At;

/// Remove what nobody asks for any more: superseded editions, and files that no edition names.
///
/// What is published stays, with every root and all that drafts name. What readers may still be in the middle of stays
/// for the time of `--grace`, counted by the clock of the place: an edition from when the next one was written, an
/// archive from when the last edition that named it was superseded. An archive that goes is emptied, and its name stays:
/// what a version once was, it stays, also after it was withdrawn. Files whose names are not the repository's own are
/// left, and named.
///
/// Everything that is published is verified first, and nothing is removed where it does not verify. Other runs that
/// would change the repository wait meanwhile. A run that was cut short is finished by the next one.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-release repo gc --to repo --dry-run\n  \
    exuvia-release repo gc --to repo --grace 30d")]
pub(super) struct Gc {
    #[command(flatten)]
    at: At,
    /// For how long something stays after the last metadata that named it was superseded.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = grace)]
    grace: Duration,
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Below that, readers that have just begun an update are refused, and begin it again.
const CAREFUL: Duration = Duration::from_hours(1);

fn grace(text: &str) -> Result<Duration, String> {
    text.parse().map(|Span(time)| time).map_err(|error: repo::SpanError| format!("{text:?} {error}"))
}

impl Gc {
    pub(super) fn run(self, json: bool) -> ExitCode {
        if self.grace < CAREFUL {
            eprintln!("warning: readers in the middle of an update are refused with less than an hour of grace");
        }
        let bar = Bar::counting("removing");
        let sweep = Sweep { grace: self.grace, dry_run: self.dry_run };
        let outcome = open_place(&self.at.place, false)
            .map_err(repo::RepoError::from)
            .and_then(|place| Desk::sweep(place, Timestamp::now(), sweep, &mut |bytes| bar.advance(bytes)));
        drop(bar);
        match outcome {
            Err(error) => return fail(&error, json),
            Ok(swept) if json => self.say_json(&swept),
            Ok(swept) => self.say(&swept),
        }
        ExitCode::SUCCESS
    }

    fn say(&self, swept: &Swept) {
        for (role, version) in &swept.published {
            say(&format!("published  {role} {version}, of a publication that had been cut short"));
        }
        for (path, length, gone) in &swept.files {
            let done = match (gone, self.dry_run) {
                (Gone::Archive, false) => "emptied    ",
                (Gone::Archive, true) => "would empty",
                (_, false) => "removed    ",
                (_, true) => "would go   ",
            };
            say(&format!("{done} {path} ({length} bytes)"));
        }
        for (path, odd) in &swept.odd {
            let why = match odd {
                Odd::Name => "is none of the repository's own names",
                Odd::Newer => "is newer than what is published; see `repo status`",
                Odd::Unreadable => "cannot be read, so that every archive stays until its time is over",
            };
            say(&format!("left        {path}: {why}"));
        }
        if swept.unfinished > 0 {
            say(&format!("removed     {} unfinished files of runs that were killed", swept.unfinished));
        }
        let verb = if self.dry_run { "would be freed" } else { "freed" };
        say(&format!(
            "{} bytes {verb} in {} files; {} files stay, and the names of {} archives that were emptied before",
            swept.bytes(),
            swept.files.len(),
            swept.kept,
            swept.remembered
        ));
    }

    fn say_json(&self, swept: &Swept) {
        let file =
            |(path, length, gone): &(String, u64, Gone)| json!({ "bytes": length, "path": path, "why": why(*gone) });
        let odd = |(path, odd): &(String, Odd)| json!({ "path": path, "why": odd_word(*odd) });
        say_json(&json!({
            "bytes": swept.bytes(),
            "dry_run": self.dry_run,
            "files": swept.files.iter().map(file).collect::<Vec<_>>(),
            "kept": swept.kept,
            "left": swept.odd.iter().map(odd).collect::<Vec<_>>(),
            "published": swept.published.iter().map(|(role, version)| json!({ "role": role.as_str(), "version": version })).collect::<Vec<_>>(),
            "remembered": swept.remembered,
            "unfinished": swept.unfinished,
        }));
    }
}

fn why(gone: Gone) -> &'static str {
    match gone {
        Gone::Superseded => "superseded",
        Gone::Archive => "emptied",
        Gone::Signature => "unnamed",
        Gone::Scratch => "scratch",
    }
}

fn odd_word(odd: Odd) -> &'static str {
    match odd {
        Odd::Name => "name",
        Odd::Newer => "newer",
        Odd::Unreadable => "unreadable",
    }
}
