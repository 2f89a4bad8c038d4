use std::io::Write;

use super::metadata::{Metadata, REFERENCE};
use super::unrecovered::Unrecovered;
use crate::publish::repo::{Bucket, Folder, Place, PlaceError};
use crate::types::ByteLimit;

/// Where DeltaGlider kept its files: a bucket, or a copy of one in a folder, with each object's metadata in a file
/// beside it (`NAME.meta.json`). It is read, and never written to.
#[derive(Debug)]
pub enum Shelf {
    /// A folder of this host.
    Folder(Folder),
    /// An object store.
    Bucket(Bucket),
}

const SIDECAR: &str = ".meta.json";
const SIDECAR_LIMIT: ByteLimit = ByteLimit::kib(64);
/// Objects of one import.
const MOST: usize = 100_000;
/// Folders in folders.
const DEEPEST: usize = 16;

impl Shelf {
    /// A folder, or `s3://BUCKET/PREFIX` with what [`Bucket::open`] takes from the environment.
    pub fn open(name: &str) -> Result<Self, PlaceError> {
        if name.contains("://") {
            return Ok(Self::Bucket(Bucket::open(name)?));
        }
        Ok(Self::Folder(Folder::open(std::path::Path::new(name))?))
    }

    /// The place in messages.
    #[must_use]
    pub fn shown(&self) -> String {
        self.place().shown()
    }

    fn place(&self) -> &dyn Place {
        match self {
            Self::Folder(folder) => folder,
            Self::Bucket(bucket) => bucket,
        }
    }

    /// The paths of all objects but the references, in order.
    pub(super) fn objects(&self) -> Result<Vec<String>, PlaceError> {
        let (mut open, mut found) = (vec![String::new()], Vec::new());
        while let Some(folder) = open.pop() {
            let (files, folders) = match self {
                Self::Folder(place) => place.contents(&folder)?,
                Self::Bucket(place) => place.contents(&folder)?,
            };
            let below = |name: String| if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let is_sidecar = |name: &str| matches!(self, Self::Folder(_)) && name.ends_with(SIDECAR);
            found.extend(files.into_iter().filter(|name| name != REFERENCE && !is_sidecar(name)).map(below));
            open.extend(folders.into_iter().map(below));
            if found.len() + open.len() > MOST || folder.matches('/').count() > DEEPEST {
                return Err(PlaceError::Crowded(self.shown()));
            }
        }
        found.sort();
        Ok(found)
    }

    pub(super) fn metadata(&self, path: &str) -> Result<Metadata, Unrecovered> {
        match self {
            Self::Bucket(bucket) => Ok(bucket.metadata(path)?.map(Metadata::new).ok_or(Unrecovered::Gone)?),
            Self::Folder(folder) => match folder.read(&format!("{path}{SIDECAR}"), SIDECAR_LIMIT)? {
                Some(bytes) => Metadata::of_sidecar(&bytes),
                None => Ok(Metadata::default()),
            },
        }
    }

    /// Copies an object of at most `limit` bytes; `false` where there is none.
    pub(super) fn copy(&self, path: &str, limit: ByteLimit, into: &mut dyn Write) -> Result<bool, PlaceError> {
        self.place().copy(path, limit, into)
    }
}
