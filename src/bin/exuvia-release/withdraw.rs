use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::{self, Withdrawal, fail, say, say_json};
use exuvia::types::Version;

/// Withdraw releases: no node that has not taken them yet will.
///
/// Marks them as drafts in releases.json, all at once, and leaves their files where they are, so that
/// their versions are never used for anything else. Publish releases.json at once afterwards. Nodes
/// that run a withdrawn release do not go back by themselves.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  exuvia-release withdraw 1.5.0 --tree site")]
pub(crate) struct Withdraw {
    /// The versions.
    #[arg(required = true, value_name = "VERSION")]
    versions: Vec<Version>,
    /// The published tree: the folder that holds releases.json.
    #[arg(long, value_name = "FOLDER")]
    tree: PathBuf,
    /// Offer them again.
    #[arg(long)]
    undo: bool,
}

impl Withdraw {
    pub(crate) fn run(&self, json: bool) -> ExitCode {
        let what = if self.undo { Withdrawal::Undone } else { Withdrawal::Made };
        let changed = match publish::withdraw(&self.tree, &self.versions, what) {
            Ok(changed) => changed,
            Err(error) => return fail(&error, json),
        };
        if json {
            say_json(&serde_json::json!({ "changed": changed, "versions": self.versions, "withdrawn": !self.undo }));
            return ExitCode::SUCCESS;
        }
        let (done, already) = match what {
            Withdrawal::Made => ("is withdrawn", "was withdrawn already"),
            Withdrawal::Undone => ("is offered again", "was offered already"),
        };
        for version in &self.versions {
            say(&format!("{version} {}", if changed.contains(version) { done } else { already }));
        }
        if !changed.is_empty() {
            say(&format!(
                "Publish {} now: until then nodes read the old one.",
                self.tree.join("releases.json").display()
            ));
        }
        ExitCode::SUCCESS
    }
}
