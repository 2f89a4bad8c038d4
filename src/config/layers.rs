use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::keys::variable_prefix;
use crate::sys::{self, SysError};
use crate::types::{ByteLimit, Product};

/// Everything that settings are made from, already read: what follows touches neither disk nor environment.
#[derive(Clone, Debug)]
pub struct Input {
    /// Whose settings: names the folders and the variables.
    pub product: Product,
    /// Whether the process runs as root, whose folders lie elsewhere.
    pub root: bool,
    /// The files, the weakest first.
    pub files: Vec<ConfigFile>,
    /// The environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Keys with their values from the command line, the weakest first.
    pub flags: Vec<(String, String)>,
}

/// A configuration file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

const LONGEST_FILE: ByteLimit = ByteLimit::mib(1);

impl Input {
    /// Reads the files that apply to this process. `only` (`--config`, else `<PRODUCT>_CONFIG`) stands
    /// in for all of them.
    ///
    /// The weakest first: `/usr/lib/<product>/config.d/*.toml`, `/etc/<product>/<product>.toml`,
    /// `/etc/<product>/config.d/*.toml`; then, for a user other than root, the same two below
    /// `$XDG_CONFIG_HOME` (else `~/.config`). A service with a user of its own reads what the
    /// administrator wrote below `/etc` that way.
    pub fn gather(
        product: Product,
        only: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        flags: Vec<(String, String)>,
    ) -> Result<Self, ConfigError> {
        let env: BTreeMap<_, _> = env.into_iter().collect();
        let root = sys::running_as_root();
        let variable = OsString::from(variable_prefix(&product) + "CONFIG");
        let only = only.map(Path::to_path_buf).or_else(|| env.get(&variable).map(PathBuf::from));
        let paths = match only {
            Some(path) => vec![path],
            None => layers(Path::new("/"), &product, root, &env)?,
        };
        let files = paths.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { product, root, files, env, flags })
    }

    /// `variable` when it is an absolute path, as its standard demands; else `below_home` in `HOME`.
    pub(super) fn user_folder(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        user_folder(&self.env, variable, below_home)
    }
}

fn user_folder(env: &BTreeMap<OsString, OsString>, variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| env.get(&OsString::from(name)).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)))
}

/// The files below `system`, then those of a user other than root.
fn layers(
    system: &Path,
    product: &Product,
    root: bool,
    env: &BTreeMap<OsString, OsString>,
) -> Result<Vec<PathBuf>, SysError> {
    let mut paths = sys::config_files(&system.join("usr/lib").join(product.as_str()).join("config.d"))?;
    paths.extend(of_folder(&system.join("etc"), product)?);
    if !root && let Some(home) = user_folder(env, "XDG_CONFIG_HOME", ".config") {
        paths.extend(of_folder(&home, product)?);
    }
    Ok(paths)
}

/// `<base>/<product>/<product>.toml`, then `<base>/<product>/config.d/*.toml`.
fn of_folder(base: &Path, product: &Product) -> Result<Vec<PathBuf>, SysError> {
    let folder = base.join(product.as_str());
    let main = format!("{product}.toml");
    let mut paths = sys::config_files(&folder)?;
    paths.retain(|path| path.file_name().is_some_and(|name| name == main.as_str()));
    paths.extend(sys::config_files(&folder.join("config.d"))?);
    Ok(paths)
}

fn read(path: PathBuf) -> Result<ConfigFile, ConfigError> {
    let bytes = sys::read_config(&path, LONGEST_FILE)?;
    let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotUtf8(path.clone()))?;
    Ok(ConfigFile { path, text })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up files")]
mod tests {
    use super::*;
    use std::fs;

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn the_weakest_layer_comes_first_and_root_has_no_home() {
        let folder = tempfile::tempdir().unwrap();
        let expected: Vec<PathBuf> = [
            "usr/lib/my-node/config.d/50-vendor.toml",
            "etc/my-node/my-node.toml",
            "etc/my-node/config.d/10-a.toml",
            "etc/my-node/config.d/20-b.toml",
            "home/.config/my-node/my-node.toml",
            "home/.config/my-node/config.d/10-mine.toml",
        ]
        .map(|path| folder.path().join(path))
        .to_vec();
        expected.iter().rev().for_each(|path| write(path));
        write(&folder.path().join("etc/my-node/other.toml"));
        write(&folder.path().join("etc/other/other.toml"));

        let env = BTreeMap::from([("HOME".into(), folder.path().join("home").into())]);
        let product = "my-node".parse().unwrap();
        assert_eq!(layers(folder.path(), &product, false, &env).unwrap(), expected);
        assert_eq!(layers(folder.path(), &product, true, &env).unwrap(), expected[..4]);
        assert_eq!(layers(folder.path(), &product, false, &BTreeMap::new()).unwrap(), expected[..4]);
    }

    #[test]
    fn a_file_named_by_flag_or_variable_stands_in_for_all_others() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one.toml"), folder.path().join("other.toml"));
        write(&one);
        write(&other);
        let read = |only: Option<&Path>| {
            let env = [("MY_NODE_CONFIG".into(), one.clone().into())];
            let input = Input::gather("my-node".parse().unwrap(), only, env, Vec::new()).unwrap();
            assert_eq!(input.files.len(), 1);
            input.files.into_iter().map(|file| file.path).next()
        };
        assert_eq!(read(None).as_ref(), Some(&one));
        assert_eq!(read(Some(&other)).as_ref(), Some(&other));
    }

    #[test]
    fn without_any_file_there_is_no_layer() {
        let folder = tempfile::tempdir().unwrap();
        assert!(layers(folder.path(), &"my-node".parse().unwrap(), true, &BTreeMap::new()).unwrap().is_empty());
    }
}
