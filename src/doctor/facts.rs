use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::Settings;
use crate::install::{Install, package_manager};
use crate::sys::{Place, Process, SysError, container_hint, file_capabilities, file_owner, own_program};

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
    /// What says that this is a container.
    pub container: Option<String>,
    /// The time.
    pub now: Timestamp,
    /// A time before which this build did not exist.
    pub built: Timestamp,
}

/// When the oldest source of this kind was written, in seconds: no build is older.
const OLDEST: i64 = 1_767_225_600;

impl Facts {
    /// Looks at this host, for the binary at `committed`.
    pub fn gather(committed: &Path, settings: &Settings) -> Result<Self, SysError> {
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
            container: container_hint(),
            now: Timestamp::now(),
            built: Timestamp::from_second(built.max(OLDEST)).unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }
}
