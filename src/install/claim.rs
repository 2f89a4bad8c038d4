use super::binary::Installed;
use super::error::InstallError;
use super::folder::Install;
use crate::sys::{DirLock, Loose, PrivateDir};

/// A version that is being prepared, and that no node of the host removes for as long as this value lives:
/// between its staging and the record that names it, nothing else says that somebody needs it. A process that
/// dies claims nothing any more.
#[derive(Debug)]
pub struct Claim {
    dir: PrivateDir,
    _lock: DirLock,
}

impl Claim {
    /// The version's folder.
    #[must_use]
    pub fn dir(&self) -> &PrivateDir {
        &self.dir
    }
}

impl Install {
    /// The folder of a version, made where it is missing, and kept from every clean-up. Several nodes may claim
    /// one version.
    pub fn claim_version(&self, version: &Installed) -> Result<Claim, InstallError> {
        // A clean-up has the same lock from its first look to its last removal.
        let _lock = self.lock()?;
        let dir = self.make_version_dir(version)?;
        let lock = dir.try_share_itself()?.ok_or_else(|| InstallError::Busy(dir.path().to_owned()))?;
        Ok(Claim { dir, _lock: lock })
    }

    /// Whether somebody prepares what lies in that folder. The caller holds the install's lock, under which
    /// alone claims begin. What is no folder of ours is nobody's.
    pub(super) fn is_claimed(&self, folder: &str) -> Result<bool, InstallError> {
        match self.versions().existing_private_subdir(folder, Loose::Tighten) {
            Ok(dir) => Ok(dir.try_lock_itself()?.is_none()),
            Err(error) if error.refusal().is_some() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
