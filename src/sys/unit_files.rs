use std::fs;
use std::path::{Path, PathBuf};

use super::config_file::read_config;
use crate::types::ByteLimit;

/// A unit file of the service manager with its drop-ins, as texts in the order in which they apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFiles {
    /// The unit, then its drop-ins.
    pub texts: Vec<String>,
}

/// Where systemd looks, the strongest first.
const FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];
/// Names other folders, with colons between them, as systemd's own variable does.
const VARIABLE: &str = "SYSTEMD_UNIT_PATH";
const LIMIT: ByteLimit = ByteLimit::kib(256);

impl UnitFiles {
    /// Finds the unit of that name. `None` where there is none that can be read.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let folders: Vec<PathBuf> = match std::env::var_os(VARIABLE) {
            Some(paths) => std::env::split_paths(&paths).filter(|path| path.is_absolute()).collect(),
            None => FOLDERS.iter().map(PathBuf::from).collect(),
        };
        let text = |path: &Path| String::from_utf8(read_config(path, LIMIT).ok()?).ok();
        let mut texts = vec![folders.iter().find_map(|folder| text(&folder.join(name)))?];
        // A drop-in hides one of the same name in a weaker folder; they apply in the order of their names.
        let mut drop_ins: Vec<PathBuf> = Vec::new();
        for folder in &folders {
            let entries = fs::read_dir(folder.join(format!("{name}.d"))).into_iter().flatten().flatten();
            let paths =
                entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "conf"));
            for path in paths {
                if !drop_ins.iter().any(|known| known.file_name() == path.file_name()) {
                    drop_ins.push(path);
                }
            }
        }
        drop_ins.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        texts.extend(drop_ins.iter().filter_map(|path| text(path)));
        Some(Self { texts })
    }
}
