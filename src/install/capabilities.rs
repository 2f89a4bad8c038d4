use super::binary::{Binary, Installed};
use super::error::InstallError;
use super::folder::Install;
use crate::sys::{SysError, file_capabilities, set_file_capabilities};

impl Install {
    /// Gives a version the file capabilities of the committed binary, which belong to a file and not to
    /// its content. Nothing happens where there are none, or where the version has them already.
    pub fn carry_capabilities(&self, version: &Installed) -> Result<(), InstallError> {
        let from = self.committed_path();
        let committed = self.home().open_program(self.committed_name())?.file;
        let read = |file, path: &std::path::Path| {
            file_capabilities(file).map_err(|error| SysError::io("read the capabilities of", path, error))
        };
        let Some(value) = read(&committed, &from)? else { return Ok(()) };
        let dir = self.version_dir(version)?;
        let binary = Binary::open_expected(&dir, self.program(), version.digest)?;
        if read(binary.file(), binary.path())?.as_ref() == Some(&value) {
            return Ok(());
        }
        set_file_capabilities(binary.file(), &value).map_err(|source| InstallError::Capabilities {
            from,
            to: binary.path().to_owned(),
            value: hex::encode(&value),
            source,
        })
    }
}
