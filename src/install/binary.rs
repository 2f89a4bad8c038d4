use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::InstallError;
use crate::sys::{Dir, SysError, sha256};
use crate::types::{Sha256Digest, Version};

/// A version as it lies on disk: what it calls itself, and what its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Installed {
    /// The version.
    pub version: Version,
    /// SHA-256 of the executable.
    pub digest: Sha256Digest,
}

impl Installed {
    /// Its folder below `versions/`.
    #[must_use]
    pub fn folder_name(&self) -> String {
        format!("{}-{}", self.version, self.digest.short())
    }
}

impl std::fmt::Display for Installed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.version, self.digest.short())
    }
}

/// An open executable whose bytes were hashed through this very handle.
#[derive(Debug)]
pub struct Binary {
    file: File,
    path: PathBuf,
    digest: Sha256Digest,
}

impl Binary {
    /// Opens a program of ours and hashes it.
    pub fn open(dir: &Dir, name: &str) -> Result<Self, InstallError> {
        let path = dir.path().join(name);
        let file = dir.open_program(name)?.file;
        let digest = hash(&file).map_err(|error| SysError::io("read", &path, error))?;
        Ok(Self { file, path, digest })
    }

    /// The program that this very process executes, also when its path names another file by now.
    pub fn running() -> Result<Self, InstallError> {
        let (file, path) = crate::sys::own_program()?;
        let digest = hash(&file).map_err(|error| SysError::io("read", &path, error))?;
        Ok(Self { file, path, digest })
    }

    /// As [`Self::open`], and refuses other bytes than the expected ones.
    pub fn open_expected(dir: &Dir, name: &str, expected: Sha256Digest) -> Result<Self, InstallError> {
        let binary = Self::open(dir, name)?;
        if binary.digest != expected {
            return Err(InstallError::Digest { path: binary.path, found: binary.digest, expected });
        }
        Ok(binary)
    }

    /// The handle to execute.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it was opened: for messages and as the program's name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of what the handle holds.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }
}

fn hash(mut file: &File) -> io::Result<Sha256Digest> {
    let digest = sha256(file)?;
    file.rewind()?;
    Ok(digest)
}
