//! `exuvia cache export` and `cache import`.

use std::path::Path;
use std::process::ExitCode;

use super::args::{Cli, Export, ImportBundle};
use super::error::CliError;
use super::session::{install, trusted};
use crate::cache::Cache;
use crate::carry::{self, CarryError, Import, Imported};
use crate::config::Settings;
use crate::console::{Bar, say, say_json};
use crate::fetch::{Bundle, HttpSettings, ReleaseSource};
use crate::node::App;
use crate::types::{Target, Version};

pub(super) fn export(
    app: &App,
    cli: &Cli,
    cache: &Cache,
    settings: &Settings,
    args: &Export,
) -> Result<ExitCode, CliError> {
    let install = install(app, settings)?;
    let what = carry::Export {
        cache,
        keyring: &trusted(app, settings)?,
        staging: install.staging(),
        limits: &settings.limits,
        product: &app.product()?,
        target: &Target::of_this_build(),
        versions: &args.version,
        trust: settings.source.tuf.as_ref().map(|_| ReleaseSource::trust(settings)),
    };
    let bar = Bar::counting("export");
    let exported = carry::export(&what, &args.bundle, &mut |bytes| bar.advance(bytes))?;
    drop(bar);
    if cli.json {
        let releases: Vec<_> = exported
            .releases
            .iter()
            .map(|(version, length)| serde_json::json!({ "version": version, "length": length }))
            .collect();
        let left_out: Vec<_> = exported
            .left_out
            .iter()
            .map(|(version, reason)| serde_json::json!({ "version": version, "reason": reason.to_string() }))
            .collect();
        say_json(&serde_json::json!({
            "bundle": args.bundle, "length": exported.length, "releases": releases, "left_out": left_out,
            "metadata_files": exported.metadata,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    for (version, reason) in &exported.left_out {
        say(&format!("left out: {version}; {reason}"));
    }
    for (version, length) in &exported.releases {
        say(&format!("{version}: {length} bytes"));
    }
    let metadata = match exported.metadata {
        0 => "no release metadata".to_owned(),
        files => format!("{files} files of release metadata"),
    };
    say(&format!("{}: {} bytes, {metadata}", args.bundle.display(), exported.length));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn import(
    app: &App,
    cli: &Cli,
    cache: Cache,
    settings: &Settings,
    args: &ImportBundle,
) -> Result<ExitCode, CliError> {
    let what = Import {
        cache,
        keyring: trusted(app, settings)?,
        staging: install(app, settings)?.staging().clone(),
        limits: settings.limits,
        product: app.product()?,
        target: Target::of_this_build(),
    };
    let bundle = open(&args.bundle)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Talk)?;
    let (bar, mut known) = (Bar::counting("import"), 0);
    let mut progress = |done: u64, _: Option<u64>| {
        bar.advance(done.saturating_sub(known));
        known = done;
    };
    let mut refused = 0;
    let mut tell = |version: &Version, outcome: &Imported| {
        let (result, reason) = match outcome {
            Imported::Stored => ("stored", None),
            Imported::There => ("there", None),
            Imported::Refused(reason) => ("refused", Some(reason.to_string())),
        };
        refused += usize::from(reason.is_some());
        if cli.json {
            say_json(&serde_json::json!({ "version": version, "result": result, "reason": reason }));
        } else {
            let reason = reason.map_or_else(String::new, |reason| format!("; {reason}"));
            say(&format!("{version}: {result}{reason}"));
        }
    };
    runtime.block_on(carry::import(what, &bundle, &mut progress, &mut tell))?;
    match refused {
        0 => Ok(ExitCode::SUCCESS),
        refused => Err(CliError::NotImported(refused)),
    }
}

fn open(path: &Path) -> Result<Bundle, CliError> {
    Bundle::open(path, &HttpSettings::default()).map_err(|error| CarryError::from(error).into())
}
