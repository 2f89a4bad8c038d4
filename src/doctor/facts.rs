use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::unit::Unit;
use crate::config::{Settings, Trial};
use crate::fetch::{Local, ReleaseSource, SourceError};
use crate::install::{Install, package_manager};
use crate::ledger::DistrustedKey;
use crate::sys::{
    Place, Process, SysError, UnitFiles, can_execute, container_hint, file_capabilities, file_owner, own_program,
};

/// A folder that this node needs, as it is, or as the nearest one above it that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The folder that is needed.
    pub wanted: PathBuf,
    /// The folder that was looked at.
    pub at: PathBuf,
    /// What it is.
    pub place: Place,
}

impl Seen {
    fn of(folder: &Path) -> Result<Self, SysError> {
        let (at, place) = Place::nearest(folder)?;
        Ok(Self { wanted: folder.to_owned(), at, place })
    }

    /// Whether the folder itself is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.at == self.wanted
    }
}

/// Everything that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The committed binary: what the service manager starts.
    pub binary: PathBuf,
    /// Its owner.
    pub binary_owner: u32,
    /// Its permission bits.
    pub binary_mode: u32,
    /// Its length in bytes.
    pub binary_length: u64,
    /// Whether somebody put it there since a node last started.
    pub replaced: bool,
    /// Whether it has file capabilities.
    pub capabilities: bool,
    /// Its folder.
    pub home: Seen,
    /// The node's data.
    pub data: Seen,
    /// The shared cache.
    pub cache: Seen,
    /// This process.
    pub process: Process,
    /// Who looks after the binary's folder, where that is a package manager.
    pub package: Option<&'static str>,
    /// The program of `health.command`, where that cannot be executed.
    pub lost_check: Option<PathBuf>,
    /// What says that this is a container.
    pub container: Option<String>,
    /// Why what is configured is no source of releases, if it is none.
    pub source: Option<SourceError>,
    /// The units of the service manager that start the binary.
    pub units: Vec<Unit>,
    /// How candidates prove themselves here: a unit must leave time for it.
    pub trial: Trial,
    /// Keys of this build that a newer version withdrew on this node.
    pub distrusted: Vec<DistrustedKey>,
    /// The time.
    pub now: Timestamp,
    /// A time before which this build did not exist.
    pub built: Timestamp,
}

/// When the oldest source of this kind was written, in seconds: no build is older.
const OLDEST: i64 = 1_767_225_600;

impl Facts {
    /// Looks at this host, for the binary at `committed`, and the program that `local` tells of.
    pub fn gather(committed: &Path, settings: &Settings, local: &Local<'_>) -> Result<Self, SysError> {
        let home = committed.parent().unwrap_or(Path::new("/"));
        let (binary_owner, binary_mode, binary_length) = file_owner(committed)?;
        let (program, path) = own_program()?;
        let capabilities = file_capabilities(&program).map_err(|error| SysError::read_of(path, error))?.is_some();
        // Set for a reproducible build: the time of its last commit.
        let built = option_env!("SOURCE_DATE_EPOCH").and_then(|seconds| seconds.parse().ok()).unwrap_or(OLDEST);
        Ok(Self {
            binary: committed.to_owned(),
            binary_owner,
            binary_mode,
            binary_length,
            // Where that cannot be seen, what stands in the way is a finding of its own.
            replaced: Install::is_replaced(committed).unwrap_or(false),
            capabilities,
            home: Seen::of(home)?,
            data: Seen::of(&settings.data_dir)?,
            cache: Seen::of(&settings.cache_dir)?,
            process: Process::this(),
            package: package_manager(home),
            lost_check: settings.health.command.first().map(PathBuf::from).filter(|program| !can_execute(program)),
            container: container_hint(),
            source: ReleaseSource::configured(settings, local).err(),
            units: units(committed),
            trial: settings.trial.clone(),
            distrusted: Vec::new(),
            now: Timestamp::now(),
            built: Timestamp::from_second(built.max(OLDEST)).unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }
}

/// The units on this host that start that binary, each with its drop-ins.
fn units(committed: &Path) -> Vec<Unit> {
    let name = committed.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let found = [format!("{name}.service"), format!("{name}@.service")].into_iter().filter_map(|name| {
        let files = UnitFiles::find(&name)?;
        let mut unit = Unit::named(&name);
        files.texts.iter().for_each(|text| unit.read(text));
        Some(unit)
    });
    found.filter(|unit| unit.starts(committed)).collect()
}
