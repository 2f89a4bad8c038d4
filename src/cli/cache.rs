use std::process::ExitCode;

use super::args::{CacheArgs, CacheVerb, Cli};
use super::error::CliError;
use super::session::{for_operator, install};
use crate::cache::{Cache, Checked, Listed};
use crate::console::{say, say_json};
use crate::node::App;

pub(super) fn cache(app: &App, cli: &Cli, args: &CacheArgs) -> Result<ExitCode, CliError> {
    let settings = for_operator(app, cli)?;
    let cache = Cache::open(&settings.cache_dir)?;
    match args.verb {
        CacheVerb::Ls => list(&cache, cli),
        CacheVerb::Verify => {
            let mut tell = |checked: &Checked| {
                let (name, result, reason) = match checked {
                    Checked::Good(name) => (name.to_string(), "good", None),
                    Checked::NotPinned(name) => (name.to_string(), "other-key", None),
                    Checked::Rejected(rejection) => {
                        (rejection.name.to_string(), "rejected", Some(rejection.to_string()))
                    }
                };
                if cli.json {
                    say_json(&serde_json::json!({ "entry": name, "result": result, "reason": reason }));
                } else {
                    say(&reason.unwrap_or_else(|| format!("{name}: {result}")));
                }
            };
            let checked =
                cache.verify_all(&app.keyring()?, install(app, &settings)?.staging(), &settings.limits, &mut tell)?;
            match checked.iter().filter(|checked| matches!(checked, Checked::Rejected(_))).count() {
                0 => Ok(ExitCode::SUCCESS),
                rejected => Err(CliError::CacheRejected(rejected)),
            }
        }
    }
}

fn list(cache: &Cache, cli: &Cli) -> Result<ExitCode, CliError> {
    let entries = cache.entries()?;
    if entries.is_empty() && !cli.json {
        say(&format!("{} holds no archive", cache.path().display()));
    }
    for entry in entries {
        match entry {
            Listed::Archive(archive) if cli.json => say_json(&serde_json::json!({
                "entry": archive.name.to_string(), "length": archive.length, "sha256": archive.digest,
            })),
            Listed::Archive(archive) => {
                say(&format!("{}  {} bytes  sha256:{}", archive.name, archive.length, archive.digest.short()));
            }
            Listed::Unreadable(name, reason) => say(&format!("{name}: {reason}")),
            Listed::Foreign(name) => say(&format!("{name:?} is not an entry of the cache")),
        }
    }
    Ok(ExitCode::SUCCESS)
}
