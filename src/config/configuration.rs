use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::{env, io};

use super::error::ConfigError;
use super::layers::{ConfigFile, Input};
use super::load::{Loaded, Strictness, load};
use crate::sys;
use crate::types::{ByteLimit, Product};

/// What a process's settings are made from, beside its environment: enough to read them again.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Whose settings.
    pub product: Product,
    /// The one file that stands in for all others, if one was named.
    pub only: Option<PathBuf>,
    /// Keys with their values from the command line, the weakest first.
    pub flags: Vec<(String, String)>,
}

impl Configuration {
    /// Reads files and environment as they are now.
    pub fn read(&self, strictness: Strictness) -> Result<Loaded, ConfigError> {
        let input = Input::gather(self.product.clone(), self.only.as_deref(), env::vars_os(), self.flags.clone())?;
        load(&input, strictness)
    }

    /// Takes files that were read before, by this process or by the one that started it.
    pub fn read_from(&self, files: Vec<ConfigFile>, strictness: Strictness) -> Result<Loaded, ConfigError> {
        let (product, flags) = (self.product.clone(), self.flags.clone());
        let input = Input { product, root: sys::running_as_root(), files, env: env::vars_os().collect(), flags };
        load(&input, strictness)
    }
}

/// More than all files together may hold.
const LONGEST: ByteLimit = ByteLimit::mib(64);

/// Set for a program whose standard input is what [`hand_files`] made.
pub const HANDED_FILES: &str = "EXUVIA_INTERNAL_FILES";

/// Files that were read, to hand on by descriptor.
pub fn hand_files(files: &[ConfigFile]) -> io::Result<OwnedFd> {
    sys::hand(&serde_json::to_vec(files)?)
}

/// The files that another process handed on.
pub fn take_files(handed: OwnedFd) -> io::Result<Vec<ConfigFile>> {
    Ok(serde_json::from_slice(&sys::take_handed(handed, LONGEST)?)?)
}
