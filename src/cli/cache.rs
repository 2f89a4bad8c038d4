use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::args::{CacheArgs, CacheVerb, Cli, Prune};
use super::carry;
use super::error::CliError;
use super::session::{for_operator, install, trusted};
use crate::cache::{Cache, Checked, Keep, Listed};
use crate::config::CacheLimits;
use crate::console::{say, say_json};
use crate::node::App;

pub(super) fn cache(app: &App, cli: &Cli, args: &CacheArgs) -> Result<ExitCode, CliError> {
    let settings = for_operator(app, cli)?;
    let cache = Cache::open(&settings.cache_dir)?;
    match &args.verb {
        CacheVerb::Prune(args) => prune(&cache, cli, args, settings.cache),
        CacheVerb::Export(args) => carry::export(app, cli, &cache, &settings, args),
        CacheVerb::Import(args) => carry::import(app, cli, cache, &settings, args),
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
            let checked = cache.verify_all(
                &trusted(app, &settings)?,
                install(app, &settings)?.staging(),
                &settings.limits,
                &mut tell,
            )?;
            if checked.is_empty() && !cli.json {
                say(&format!("{} holds no archive", cache.path().display()));
            }
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

fn prune(cache: &Cache, cli: &Cli, args: &Prune, limits: CacheLimits) -> Result<ExitCode, CliError> {
    let max_age = args.max_age.and_then(|age| Duration::try_from(age).ok()).unwrap_or(limits.max_age);
    let keep = Keep { max_size: args.max_size.unwrap_or(limits.max_size), max_age };
    let pruned = cache.prune(&keep, SystemTime::now(), args.dry_run)?;
    let (gone, strays) = if args.dry_run { ("would go", "would go, too") } else { ("removed", "removed, too") };
    for entry in &pruned.removed {
        let stored = Timestamp::try_from(entry.stored).unwrap_or(Timestamp::MIN);
        if cli.json {
            say_json(&serde_json::json!({
                "entry": entry.name.to_string(), "stored": stored, "length": entry.length, "removed": !args.dry_run,
            }));
        } else {
            say(&format!("{gone}: {}, {} bytes, stored {stored:.0}", entry.name, entry.length));
        }
    }
    if cli.json {
        let busy: Vec<_> = pruned.busy.iter().map(ToString::to_string).collect();
        say_json(&serde_json::json!({ "strays": pruned.strays, "busy": busy, "left": pruned.left }));
        return Ok(ExitCode::SUCCESS);
    }
    for name in &pruned.busy {
        say(&format!("kept: {name}; its release is being downloaded just now"));
    }
    if pruned.strays > 0 {
        say(&format!("{strays}: {} archive(s) that no entry named", pruned.strays));
    }
    let tense = if args.dry_run { "would then hold" } else { "holds" };
    say(&format!("{} {tense} {} bytes of archives", cache.path().display(), pruned.left));
    Ok(ExitCode::SUCCESS)
}
