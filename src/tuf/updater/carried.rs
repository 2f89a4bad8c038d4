use super::name::file_name;
use super::store::Store;
use crate::sys::{Dir, SysError};
use crate::tuf::metadata::{AnyMetadata, RoleType, RoleVersion, Signed};
use crate::tuf::rules::Limits;

/// Metadata as a repository serves it: names and bytes, for somebody who is not connected.
pub type MetadataFiles = Vec<(String, Vec<u8>)>;

/// More roots than that are not carried.
const ROOTS: u64 = 4096;

impl Store {
    /// What is trusted here, under the names that a client asks for: every root since the first, and the newest
    /// timestamp, snapshot and targets, if all three are here. Nothing is verified: whoever reads it does that.
    pub fn carried(&self) -> Result<Option<MetadataFiles>, SysError> {
        let limits = Limits::default();
        let dir = self.dir();
        let mut files = Vec::new();
        for kind in [RoleType::Timestamp, RoleType::Snapshot, RoleType::Targets] {
            let Some(bytes) = read(dir, &file_name(kind.as_str()), limits.of(kind))? else { return Ok(None) };
            let Some(version) = version(&bytes, &limits, kind) else { return Ok(None) };
            let name = match kind {
                RoleType::Timestamp => file_name(kind.as_str()),
                _ => format!("{version}.{}", file_name(kind.as_str())),
            };
            files.push((name, bytes));
        }
        let mut roots = Vec::new();
        for number in 1..ROOTS {
            let name = format!("{number}.root.json");
            match read(self.history(), &name, limits.root)? {
                Some(bytes) => roots.push((name, bytes)),
                // The program may have come with a later one than the first.
                None if roots.is_empty() => {}
                None => break,
            }
        }
        Ok(Some(roots.into_iter().chain(files).collect()))
    }
}

fn read(dir: &Dir, name: &str, limit: crate::types::ByteLimit) -> Result<Option<Vec<u8>>, SysError> {
    match dir.read(name, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() || error.refusal().is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

fn version(bytes: &[u8], limits: &Limits, kind: RoleType) -> Option<RoleVersion> {
    Some(match AnyMetadata::from_bytes(bytes, limits.of(kind)).ok()? {
        AnyMetadata::Root(it) => it.signed.head().version,
        AnyMetadata::Timestamp(it) => it.signed.head().version,
        AnyMetadata::Snapshot(it) => it.signed.head().version,
        AnyMetadata::Targets(it) => it.signed.head().version,
    })
}
