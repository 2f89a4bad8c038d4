//! A client of any TUF repository, for comparison with other clients.
//!
//!     tuf-client --metadata-dir D init ROOT
//!     tuf-client --metadata-dir D --metadata-url U refresh
//!     tuf-client --metadata-dir D --metadata-url U --target-name P [--target-name P2 …]
//!                --target-dir T --target-base-url B download
//!
//! `D` holds the trusted metadata as it was received. A target goes to `T` under its percent-encoded
//! path, whole and verified or not at all; one that is there already is not fetched again. Every request
//! is made once, and what comes too slowly is given up. Exit code 0, or 1 on any failure.

use std::error::Error;
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use exuvia::sys::{Dir, Loose, OperatorFile, PrivateDir};
use exuvia::tuf::metadata::{KeyPolicy, TargetFile};
use exuvia::tuf::{Limits, Refreshed, Rules, Store, TrustedSet, Updater, percent_encoded};
use exuvia::types::ByteLimit;
use jiff::Timestamp;

#[path = "tuf_client/remote.rs"]
mod remote;

use remote::{Patience, Remote};

#[derive(Parser)]
struct Arguments {
    /// The folder of trusted metadata.
    #[arg(long)]
    metadata_dir: PathBuf,
    /// Where the repository has its metadata.
    #[arg(long)]
    metadata_url: Option<String>,
    /// The path of a target; once for each.
    #[arg(long)]
    target_name: Vec<String>,
    /// The folder for targets.
    #[arg(long)]
    target_dir: Option<PathBuf>,
    /// Where the repository has its targets.
    #[arg(long)]
    target_base_url: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Trust this root.
    Init {
        /// The file.
        root: PathBuf,
    },
    /// Bring the metadata up to date.
    Refresh,
    /// Bring the metadata up to date, and fetch the targets in their order.
    Download,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help is no failure.
            let code = u8::from(error.use_stderr());
            return error.print().map_or(ExitCode::FAILURE, |()| code.into());
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tuf-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Outcome<()> {
    let rules = Rules { policy: KeyPolicy::AnyCompiledIn, limits: Limits::default() };
    let dir = PrivateDir::open_or_create(&arguments.metadata_dir, Loose::Tighten)?;
    if let Verb::Init { root } = &arguments.verb {
        return init(&dir, root, rules);
    }
    let url = arguments.metadata_url.ok_or("--metadata-url is missing")?;
    let bootstrap = dir.foreign_subdir(TRUSTED)?.read(ROOT, rules.limits.root)?;
    let store = Store::open(&dir)?.ok_or("another process is updating this folder")?;
    let remote = Remote::new(&url, arguments.target_base_url.as_deref(), Patience::default())?;
    let mut updater = Updater::new(remote, store, bootstrap, rules);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let mut refreshed = updater.refresh(Timestamp::now()).await?;
        if matches!(arguments.verb, Verb::Download) {
            let folder = arguments.target_dir.ok_or("--target-dir is missing")?;
            if arguments.target_base_url.is_none() || arguments.target_name.is_empty() {
                return Err("--target-base-url and --target-name are needed".into());
            }
            let folder = target_dir(&folder)?;
            for name in &arguments.target_name {
                download(&mut refreshed, name, &folder).await?;
            }
        }
        Ok(())
    });
    for aside in updater.take_set_aside() {
        eprintln!("tuf-client: the stored {} was not used: {}", aside.file, aside.reason);
    }
    outcome
}

const TRUSTED: &str = "trusted";
const ROOT: &str = "root.json";

fn init(dir: &Dir, root: &Path, rules: Rules) -> Outcome<()> {
    let bytes = OperatorFile::read(root, rules.limits.root)?;
    TrustedSet::bootstrap(&bytes, rules, Timestamp::now())?;
    let trusted = dir.public_subdir(TRUSTED)?;
    if trusted.read(ROOT, rules.limits.root).is_ok_and(|known| known == bytes) {
        return Ok(());
    }
    dir.replace(ROOT, &bytes, 0o644)?;
    Ok(trusted.replace(ROOT, &bytes, 0o644)?)
}

fn target_dir(path: &Path) -> Outcome<Dir> {
    match Dir::open(path) {
        Err(error) if error.is_not_found() => Ok(PrivateDir::open_or_create(path, Loose::Tighten)?.as_dir().clone()),
        outcome => Ok(outcome?),
    }
}

async fn download(refreshed: &mut Refreshed<'_, Remote>, path: &str, folder: &Dir) -> Outcome<()> {
    let target = refreshed.find(path).await?.ok_or_else(|| format!("nobody lists the target {path:?}"))?;
    let name = percent_encoded(path);
    if is_there(&target, &name, folder) {
        return Ok(());
    }
    // Without a name until it is verified.
    let mut file = folder.unnamed_file()?;
    refreshed.fetch(&target, &mut file).await?;
    let mut new = folder.new_file(0o644)?;
    file.rewind()?;
    std::io::copy(&mut file, &mut new)?;
    Ok(new.publish(&name)?)
}

fn is_there(target: &TargetFile, name: &str, folder: &Dir) -> bool {
    let limit = ByteLimit::bytes(target.length.max(1));
    folder.open_file(name, limit).is_ok_and(|mut it| matches!(target.verify(&mut it.file), Ok(Ok(()))))
}
