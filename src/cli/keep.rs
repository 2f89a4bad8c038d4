//! `keep-state` and `restore-state`: what a launcher starts to have a snapshot of the job's state taken before a
//! migration, and to have it brought back. No worker has the state open then.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::args::{Cli, RestoreState};
use super::error::CliError;
use super::node::handed_or_read;
use super::session::data;
use crate::config::Settings;
use crate::console::say;
use crate::install;
use crate::launcher::{ErrandSays, Saved};
use crate::ledger::Ledger;
use crate::node::App;
use crate::snapshot::{
    Binary, Creation, Expectations, NodeKeys, OlderSchema, Reason, Recipient, Schema, SnapshotId, Snapshots,
    StateFiles, Step, Whose, prepared_name, swap,
};
use crate::state;
use crate::sys::{Dir, Lock, Loose, PrivateDir};
use crate::types::{NodeId, Product};

/// Between two notes of progress.
const EVERY: Duration = Duration::from_secs(1);

/// Why an errand was not done: any error's words, because they only go to the launcher.
type Trouble = Box<dyn std::error::Error>;

pub(super) fn keep(app: &App, cli: &Cli) -> Result<ExitCode, CliError> {
    let settings = handed_or_read(app, cli)?.settings;
    let data = data(&settings)?;
    Ok(tell(take(app, &settings, &data).map(ErrandSays::Saved)))
}

pub(super) fn restore(app: &App, cli: &Cli, args: &RestoreState) -> Result<ExitCode, CliError> {
    let data = data(&handed_or_read(app, cli)?.settings)?;
    Ok(tell(bring_back(app, &data, args).map(|()| ErrandSays::Restored)))
}

/// A start finishes what an operator's `snapshot restore` began, before anybody opens the state.
pub(super) fn finish_restore(data: &PrivateDir, stopped: &Lock) -> Result<(), String> {
    match crate::snapshot::finish_restore(data, stopped) {
        Ok(None) => Ok(()),
        Ok(Some(restored)) => {
            let aside = restored.aside.map(|aside| aside.display().to_string()).unwrap_or_default();
            tracing::warn!(event = "restore_finished", snapshot = %restored.snapshot, set_aside = aside);
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn take(app: &App, settings: &Settings, data: &PrivateDir) -> Result<Saved, Trouble> {
    let epoch = state::epoch(data)?.ok_or("there is no state")?;
    let (product, node) = whose(app, data)?;
    let recipients = settings.state.recipients.iter().map(|key| key.parse()).collect::<Result<Vec<Recipient>, _>>()?;
    let now = Timestamp::now();
    let what = Creation {
        product: &product,
        node: &node,
        data,
        state: &app.state_files()?,
        binary: Binary { sha256: install::Binary::running()?.digest(), version: app.version()? },
        reason: Reason::Upgrade,
        recipients: &recipients,
        now,
    };
    let taken = Snapshots::open(data)?.create(&what, &NodeKeys::open_or_make(data)?, &mut progress())?;
    Ok(Saved { snapshot: taken.id.to_string(), digest: taken.digest, epoch, at: now })
}

fn bring_back(app: &App, data: &PrivateDir, args: &RestoreState) -> Result<(), Trouble> {
    let RestoreState { snapshot, digest, aside } = args;
    let files = app.state_files()?;
    if is_done(data, aside, &files)? {
        return Ok(());
    }
    let (product, node) = whose(app, data)?;
    let (id, keys) = (snapshot.parse::<SnapshotId>()?, NodeKeys::open_or_make(data)?);
    let trusted = keys.trusted();
    let whose = Whose::Node(&product, &node);
    let expected = Expectations { keys: &trusted, whose, id: Some(&id), digest: Some(*digest) };
    let mut verified = Snapshots::open(data)?.find(&id)?.verify(&expected, &mut progress())?;
    if let Some(schema) = &app.state {
        verified.fits(&Schema {
            application_id: Some(schema.application_id()),
            present: None,
            newest: i32::try_from(schema.epochs().writes).ok(),
            older: OlderSchema::Allow,
        })?;
    }
    verified.prepare(data, &[keys.identity()], &mut progress())?;
    let roles: Vec<_> = verified.manifest().files.iter().map(|file| file.role.clone()).collect();
    swap(data, &roles, &files.missing_in(verified.manifest()), aside)?;
    Ok(())
}

/// Whether it was done before, and only the launcher's note of that is missing: what was written since stays.
fn is_done(data: &Dir, aside: &str, files: &StateFiles) -> Result<bool, Trouble> {
    if !data.exists(aside)? {
        return Ok(false);
    }
    let set_aside = data.existing_private_subdir(aside, Loose::RefuseWritable)?;
    // The database is put in its place last, and the others may be missing.
    let Some((database, _)) = files.iter().next() else { return Ok(false) };
    if !set_aside.exists(database.as_str())? || !data.exists(database.as_str())? {
        return Ok(false);
    }
    for (role, _) in files.iter() {
        if data.exists(&prepared_name(role))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn whose(app: &App, data: &PrivateDir) -> Result<(Product, NodeId), Trouble> {
    Ok((app.product()?, Ledger::open(data, Timestamp::now())?.node_id().parse()?))
}

/// Says how far it is, now and then.
fn progress() -> impl FnMut(Step, u64) {
    let (mut last, mut done) = (Instant::now(), 0_u64);
    move |_, bytes| {
        done += bytes;
        if last.elapsed() >= EVERY {
            last = Instant::now();
            say(&ErrandSays::Progress { done }.line());
        }
    }
}

fn tell(outcome: Result<ErrandSays, Trouble>) -> ExitCode {
    match outcome {
        Ok(said) => {
            say(&said.line());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&ErrandSays::Failed { reason: error.to_string() }.line());
            ExitCode::FAILURE
        }
    }
}
