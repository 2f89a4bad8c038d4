//! `exuvia snapshot …`: copies of the job's state, taken, looked at, checked and put back.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::args::Cli;
use super::error::CliError;
use super::session::{self, data, expect_node, for_operator};
use super::snapshot_args::{
    Create, Inspect, Open, PruneSnapshots, Restore, SnapshotArgs, SnapshotVerb, Trusting, Verify, Which,
};
use crate::config::Settings;
use crate::console::{Bar, say, say_json};
use crate::install::{self, NodeRecord};
use crate::ledger::Ledger;
use crate::node::App;
use crate::snapshot::{
    Binary, Creation, Expectations, Identity, NodeKeys, OlderSchema, Reason, Rehearse, Retention, Role, Schema,
    SnapshotError, Snapshots, Step, UntrustedSnapshot, VerifiedSnapshot, Whose, finish_restore, present_schema,
    read_identities, read_trusted_keys,
};
use crate::sys::{Loose, PrivateDir};
use crate::types::{NodeId, Product};

/// What every one of these verbs works with.
struct Bench {
    settings: Settings,
    product: Product,
    data: PrivateDir,
    snapshots: Snapshots,
    keys: NodeKeys,
    node: NodeId,
}

pub(super) fn snapshot(app: &App, cli: &Cli, args: &SnapshotArgs) -> Result<ExitCode, CliError> {
    let settings = for_operator(app, cli)?;
    expect_node(app, &settings)?;
    let data = data(&settings)?;
    let node = Ledger::open(&data, Timestamp::now())?.node_id().parse().map_err(CliError::NodeId)?;
    let snapshots = Snapshots::open(&data)?;
    let keys = NodeKeys::open_or_make(&data)?;
    let bench = Bench { settings, product: app.product()?, data, snapshots, keys, node };
    match &args.verb {
        SnapshotVerb::Create(args) => bench.create(app, cli, args),
        SnapshotVerb::Ls => bench.list(cli),
        SnapshotVerb::Inspect(args) => bench.inspect(cli, args),
        SnapshotVerb::Verify(args) => bench.verify(cli, args),
        SnapshotVerb::Restore(args) => bench.restore(app, cli, args),
        SnapshotVerb::Open(args) => bench.open(cli, args),
        SnapshotVerb::Prune(args) => bench.prune(app, cli, args),
    }
}

impl Bench {
    fn create(&self, app: &App, cli: &Cli, args: &Create) -> Result<ExitCode, CliError> {
        let bar = Bar::counting("snapshot");
        let what = Creation {
            product: &self.product,
            node: &self.node,
            data: &self.data,
            state: &app.state_files().map_err(CliError::App)?,
            binary: Binary { sha256: install::Binary::running()?.digest(), version: app.version()? },
            reason: Reason::Operator,
            recipients: &args.recipient,
            now: Timestamp::now(),
        };
        let taken = self.snapshots.create(&what, &self.keys, &mut |step, bytes| {
            if step == Step::Pack {
                bar.advance(bytes);
            }
        })?;
        drop(bar);
        if cli.json {
            say_json(&serde_json::json!({
                "id": taken.id, "file": taken.path, "sha256": taken.digest, "length": taken.length,
                "sealed": taken.manifest.payload.sealed, "user_version": taken.manifest.user_version,
            }));
        } else {
            say(&format!("took {}: {} bytes, sha256:{}", taken.id, taken.length, taken.digest));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, cli: &Cli) -> Result<ExitCode, CliError> {
        let listed = self.snapshots.list()?;
        if listed.is_empty() && !cli.json {
            say(&format!("{} holds no snapshot", self.snapshots.path().display()));
        }
        for listed in listed {
            match &listed.manifest {
                Ok(manifest) if cli.json => {
                    say_json(&serde_json::json!({ "id": listed.id, "length": listed.length, "manifest": manifest }));
                }
                Err(error) if cli.json => {
                    say_json(&serde_json::json!({
                        "id": listed.id, "length": listed.length, "unreadable": error.to_string(),
                    }));
                }
                Ok(manifest) => say(&format!(
                    "{}  {} bytes  schema {}  by {}{}",
                    listed.id,
                    listed.length,
                    manifest.user_version,
                    manifest.binary.version,
                    if manifest.payload.sealed { "  sealed" } else { "" },
                )),
                Err(error) => say(&format!("{}: {error}", listed.id)),
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn find(&self, which: &Which) -> Result<UntrustedSnapshot, SnapshotError> {
        match which {
            Which::Id(id) => self.snapshots.find(id),
            Which::File(path) => UntrustedSnapshot::open(path),
        }
    }

    fn inspect(&self, cli: &Cli, args: &Inspect) -> Result<ExitCode, CliError> {
        let manifest = self.find(&args.which)?.claims()?;
        if cli.json {
            say_json(&serde_json::json!({ "verified": false, "manifest": manifest }));
        } else {
            say(&format!("it says of itself, unverified:\n{manifest}"));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn verified(&self, args: &Trusting) -> Result<VerifiedSnapshot, SnapshotError> {
        let keys = args.trusted_keys.as_deref().map_or_else(|| Ok(self.keys.trusted()), read_trusted_keys)?;
        let whose = if args.allow_other_node { Whose::AnyNode } else { Whose::Node(&self.product, &self.node) };
        let id = if let Which::Id(id) = &args.which { Some(id) } else { None };
        let untrusted = self.find(&args.which)?;
        let bar = Bar::new("check", untrusted.length());
        let expected = Expectations { keys: &keys, whose, id, digest: None };
        untrusted.verify(&expected, &mut |_, bytes| bar.advance(bytes))
    }

    fn verify(&self, cli: &Cli, args: &Verify) -> Result<ExitCode, CliError> {
        let verified = self.verified(&args.trusting)?;
        if cli.json {
            say_json(&serde_json::json!({
                "verified": true, "key": verified.key(), "sha256": verified.digest(), "manifest": verified.manifest(),
            }));
        } else {
            say(&format!("verifies: signed by {}\n{}", verified.key(), verified.manifest()));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn identities(files: &[std::path::PathBuf]) -> Result<Vec<Identity>, SnapshotError> {
        let mut identities = Vec::new();
        for file in files {
            identities.extend(read_identities(file)?);
        }
        Ok(identities)
    }

    fn restore(&self, app: &App, cli: &Cli, args: &Restore) -> Result<ExitCode, CliError> {
        let Some(stopped) = self.data.try_lock("node.lock")? else {
            return Err(CliError::RestoreWhileRunning(self.settings.node.clone()));
        };
        if let Some(finished) = finish_restore(&self.data, &stopped)? {
            tracing::warn!(event = "snapshot_restore_finished", snapshot = %finished.snapshot, "it had been cut short");
        }
        let mut verified = self.verified(&args.trusting)?;
        let other_node = verified.manifest().node_id != self.node;
        if matches!(args.trusting.which, Which::File(_)) && !other_node {
            self.expect_newest(&verified)?;
        }
        let role: Role = "state.db".parse().expect("a role");
        let present = present_schema(&self.data, &role);
        let older = if args.allow_older_schema { OlderSchema::Allow } else { OlderSchema::Refuse };
        let (application_id, present) = (present.map(|(id, _)| id), present.map(|(_, epoch)| epoch));
        verified.fits(&Schema { application_id, present, newest: None, older })?;
        let given = Self::identities(&args.identity)?;
        let identities: Vec<_> = given.iter().chain([self.keys.identity()]).collect();
        let bar = Bar::new("restore", verified.manifest().bytes());
        let state = app.state_files().map_err(CliError::App)?;
        let restored =
            verified.restore(&self.data, &state, &stopped, &identities, Timestamp::now(), &mut |_, bytes| {
                bar.advance(bytes);
            })?;
        drop(bar);
        let older_schema = present.is_some_and(|present| verified.manifest().user_version < present);
        tracing::warn!(
            event = "snapshot_restored",
            snapshot = %restored.snapshot,
            other_node,
            older_schema,
            "an operator put the state of this snapshot back"
        );
        if cli.json {
            say_json(&serde_json::json!({
                "restored": restored.snapshot, "aside": restored.aside, "other_node": other_node,
                "older_schema": older_schema,
            }));
        } else {
            let before = restored.aside.map(|aside| format!("; the state before is in {}", aside.display()));
            say(&format!("restored {}{}", restored.snapshot, before.unwrap_or_default()));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A file that somebody handed over may be an old one: a later one in the folder says so.
    fn expect_newest(&self, verified: &VerifiedSnapshot) -> Result<(), SnapshotError> {
        match self.snapshots.newest()? {
            Some(newest) if newest.sequence > verified.manifest().sequence => {
                Err(SnapshotError::Older { newest: newest.id })
            }
            _ => Ok(()),
        }
    }

    fn open(&self, cli: &Cli, args: &Open) -> Result<ExitCode, CliError> {
        let mut verified = self.verified(&args.trusting)?;
        let given = Self::identities(&args.identity)?;
        let identities: Vec<_> = given.iter().chain([self.keys.identity()]).collect();
        let out = PrivateDir::create_new(&args.out, Loose::RefuseWritable)?;
        let bar = Bar::new("unpack", verified.manifest().bytes());
        let plain = |role: &Role| (role.to_string(), 0o600);
        if let Err(error) = verified.unpack(&out, &identities, &plain, &mut |_, bytes| bar.advance(bytes)) {
            out.remove_itself()?;
            return Err(error.into());
        }
        drop(bar);
        let files: Vec<_> = verified.manifest().files.iter().map(|file| args.out.join(file.role.as_str())).collect();
        if cli.json {
            say_json(&serde_json::json!({ "files": files }));
        } else {
            for file in files {
                say(&file.display().to_string());
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn prune(&self, app: &App, cli: &Cli, args: &PruneSnapshots) -> Result<ExitCode, CliError> {
        // What a record pairs with a version is that version's way back.
        let record = session::install(app, &self.settings)?.node(&self.settings.node)?;
        let paired = record.iter().flat_map(NodeRecord::snapshots).filter_map(|pair| pair.snapshot.parse().ok());
        let retention = Retention {
            count: args.keep,
            max_age: Duration::try_from(args.max_age).unwrap_or(Duration::MAX),
            named: args.named.iter().cloned().chain(paired).collect(),
        };
        let rehearse = if args.dry_run { Rehearse::Yes } else { Rehearse::No };
        let gone = self.snapshots.prune(&retention, SystemTime::now(), rehearse)?;
        for listed in &gone {
            if cli.json {
                say_json(&serde_json::json!({ "id": listed.id, "length": listed.length, "removed": !args.dry_run }));
            } else {
                let verb = if args.dry_run { "would go" } else { "removed" };
                say(&format!("{verb}: {}, {} bytes", listed.id, listed.length));
            }
        }
        if gone.is_empty() && !cli.json {
            say("nothing to remove");
        }
        Ok(ExitCode::SUCCESS)
    }
}
