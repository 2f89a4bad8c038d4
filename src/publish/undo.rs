use std::io::Write;
use std::path::Path;

use crate::sys::{Dir, DirLock, NewFile, OperatorFile, SysError};
use crate::types::ByteLimit;

/// What a run has put into a tree so far. Dropped before [`Self::forget`], it takes all of it back, so
/// that a failure leaves nothing that the listing does not name.
#[derive(Debug, Default)]
pub(super) struct Undo {
    steps: Vec<Step>,
    // Let go after the steps are taken back: fields are dropped after `drop` ran.
    lock: Option<DirLock>,
}

#[derive(Debug)]
enum Step {
    RemoveDir(Dir, String),
    Remove(Dir, String),
    Restore(Dir, String, Vec<u8>),
}

impl Undo {
    /// Opens the tree, making its folder where it is missing.
    pub(super) fn open_tree(&mut self, path: &Path) -> Result<Dir, SysError> {
        match Dir::of_operator(path) {
            Err(error) if error.is_not_found() => {
                let (parent, name) = Dir::parent_of_operator_file(path)?;
                self.open_folder(&parent, &name)
            }
            opened => opened,
        }
    }

    /// Opens a folder of the tree, making it where it is missing.
    pub(super) fn open_folder(&mut self, tree: &Dir, name: &str) -> Result<Dir, SysError> {
        let is_new = !tree.exists(name)?;
        let folder = tree.public_subdir(name)?;
        if is_new {
            self.steps.push(Step::RemoveDir(tree.clone(), name.to_owned()));
        }
        Ok(folder)
    }

    /// Keeps the tree locked until everything is done, or taken back.
    pub(super) fn hold(&mut self, lock: DirLock) {
        self.lock = Some(lock);
    }

    /// Gives a finished file its name.
    pub(super) fn publish(&mut self, folder: &Dir, file: NewFile, name: &str) -> Result<(), SysError> {
        self.note(folder, name)?;
        file.publish(name)
    }

    /// Writes a small file.
    pub(super) fn write(&mut self, folder: &Dir, name: &str, bytes: &[u8]) -> Result<(), SysError> {
        let mut file = folder.new_file(0o644)?;
        file.write_all(bytes).map_err(|error| SysError::io("write", folder.path().join(name), error))?;
        self.publish(folder, file, name)
    }

    // A small file that is replaced comes back. A large one that no listing names is what an
    // interrupted run left: it goes.
    fn note(&mut self, folder: &Dir, name: &str) -> Result<(), SysError> {
        let step = match OperatorFile::read(&folder.path().join(name), ByteLimit::mib(1)) {
            Ok(bytes) => Step::Restore(folder.clone(), name.to_owned(), bytes),
            Err(error) if error.is_not_found() || error.refusal().is_some() => {
                Step::Remove(folder.clone(), name.to_owned())
            }
            Err(error) => return Err(error),
        };
        self.steps.push(step);
        Ok(())
    }

    /// All is well: what was done stays.
    pub(super) fn forget(mut self) {
        self.steps.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for step in self.steps.drain(..).rev() {
            // A step that cannot be taken back now (a disk that is gone) leaves files that no listing
            // names; the next run for this version replaces them.
            let _ = match step {
                Step::RemoveDir(dir, name) => dir.remove_dir(&name),
                Step::Remove(dir, name) => dir.remove(&name),
                Step::Restore(dir, name, bytes) => dir.replace(&name, &bytes, 0o644),
            };
        }
    }
}
