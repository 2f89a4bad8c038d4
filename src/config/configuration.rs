use std::path::PathBuf;

use super::error::ConfigError;
use super::layers::Input;
use super::load::{Loaded, Strictness, load};
use crate::types::Product;

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
        let input = Input::gather(self.product.clone(), self.only.as_deref(), std::env::vars_os(), self.flags.clone())?;
        load(&input, strictness)
    }
}
