use std::io::{self, Read, Write};

use super::listing::{Entry, Listing};
use super::pack::Pack;
use super::pack_error::PackError;
use super::tee::Hashing;
use crate::archive::{ArchiveError, Limits, Tar, UntrustedArchive, VerifiedArchive, tar_limit};
use crate::crypto::{Context, Keyring, PublicKey, Release, SecretKey, Signature};
use crate::delta::{PatchName, UntrustedPatch, make};
use crate::sys::{Dir, FromStart, NewFile};
use crate::types::{ArchiveFormat, ByteLimit, ReleaseId, Sha256Digest, Version};

/// From which releases of the tree patches are made.
#[derive(Clone, Debug)]
pub struct Bases {
    /// From how many of the last versions; none: no patches.
    pub versions: usize,
    /// Keys, beside the one that signs, that may have signed those. Others are left out.
    pub keys: Vec<PublicKey<Release>>,
}

impl Default for Bases {
    fn default() -> Self {
        Self { versions: 3, keys: Vec::new() }
    }
}

impl Bases {
    /// No patches.
    #[must_use]
    pub fn none() -> Self {
        Self { versions: 0, keys: Vec::new() }
    }
}

/// A patch that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedPatch {
    /// The version that it begins with.
    pub from: Version,
    /// Its length in bytes.
    pub length: u64,
}

/// A patch that was not published. The release goes without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The version that it would begin with.
    pub from: Version,
    /// Why.
    pub reason: String,
}

/// A patch that is ready: signed, and applied once as a node will.
pub(super) struct Made {
    pub(super) name: PatchName,
    pub(super) file: NewFile,
    pub(super) signature: Signature,
    pub(super) length: u64,
    pub(super) digest: Sha256Digest,
}

/// Makes the patches from the last versions of the tree to `archive`. One that cannot be made, or that is
/// not below half of the archive, is left out, and its reason is told.
pub(super) fn make_patches(
    (plan, level): (&Pack, u32),
    key: &SecretKey<Release>,
    bases: &Bases,
    (root, folder): (&Dir, &Dir),
    (listing, archive): (&Listing, VerifiedArchive),
) -> Result<(Vec<Made>, Vec<LeftOut>), PackError> {
    let (mut made, mut left_out) = (Vec::new(), Vec::new());
    let older = last(listing, plan, bases.versions);
    if older.is_empty() {
        return Ok((made, left_out));
    }
    let (limits, half) = (Limits::default(), archive.length() / 2);
    let keys = key_ring(key, &bases.keys)?;
    let tar = archive.into_tar(folder, &limits).map_err(|error| match error {
        ArchiveError::Copy(source) => PackError::Patch(source),
        error => error.into(),
    })?;
    let new = bytes(&tar).map_err(PackError::Patch)?;
    for (id, format, name) in older {
        let from = id.version.clone();
        let base = match base(root, &id, format, &name, &keys, folder) {
            Ok(base) => base,
            Err(reason) => {
                left_out.push(LeftOut { from, reason });
                continue;
            }
        };
        let level = i32::try_from(level).unwrap_or(19);
        let patch = match make(&bytes(&base).map_err(PackError::Patch)?, &new, level) {
            Ok(patch) => patch,
            Err(error) => {
                left_out.push(LeftOut { from, reason: error.to_string() });
                continue;
            }
        };
        let length = patch.len() as u64;
        if length >= half {
            let reason =
                format!("it has {length} bytes, and only patches below {half}, half of the archive, are worth it");
            left_out.push(LeftOut { from, reason });
            continue;
        }
        let context = Context::patch(&plan.id, base.digest());
        let signature = key.sign(&context, &mut patch.as_slice()).map_err(PackError::Sign)?;
        let mut file = folder.new_file(0o644)?;
        let mut hashing = Hashing::default();
        let written = file.write_all(&patch).and_then(|()| hashing.write_all(&patch));
        written.map_err(PackError::Patch)?;
        rehearse(plan, &file, &signature, &keys, (&base, &tar), folder)?;
        let name = PatchName::new(&plan.id.product, &plan.id.target, &id.version, base.digest());
        made.push(Made { name, file, signature, length, digest: hashing.digest() });
    }
    Ok((made, left_out))
}

/// The archives of the last versions before this one, for the same product and target.
fn last(listing: &Listing, plan: &Pack, count: usize) -> Vec<(ReleaseId, ArchiveFormat, String)> {
    let entries = listing.entries().unwrap_or_default();
    let older = entries.iter().filter(|entry| !entry.draft).filter_map(Entry::version);
    let mut older: Vec<_> = older.filter(|version| *version < plan.id.version).collect();
    older.sort();
    let archives = older.iter().rev().filter_map(|version| published(&entries, &plan.id.with_version(version)));
    archives.take(count).collect()
}

/// The archive that the tree lists for a release, with its format and its name.
pub(super) fn published(entries: &[Entry], id: &ReleaseId) -> Option<(ReleaseId, ArchiveFormat, String)> {
    let entry = entries.iter().find(|entry| entry.version().as_ref() == Some(&id.version))?;
    ArchiveFormat::ALL.into_iter().find_map(|format| {
        let name = format!("{}{}", id.asset_stem(), format.suffix());
        let listed = entry.assets.iter().any(|asset| asset.name == name);
        listed.then(|| (id.clone(), format, name))
    })
}

fn key_ring(key: &SecretKey<Release>, others: &[PublicKey<Release>]) -> Result<Keyring<Release>, PackError> {
    let own = key.public();
    let mut pems = vec![own.to_pem()];
    for other in others.iter().filter(|other| other.id() != own.id()) {
        let pem = other.to_pem();
        if !pems.contains(&pem) {
            pems.push(pem);
        }
    }
    Keyring::from_pems(pems.iter().map(String::as_str)).map_err(|_| PackError::Faulty)
}

/// The tar of a published release, verified as a node verifies it.
pub(super) fn base(
    root: &Dir,
    id: &ReleaseId,
    format: ArchiveFormat,
    name: &str,
    keys: &Keyring<Release>,
    scratch: &Dir,
) -> Result<Tar, String> {
    let limits = Limits::default();
    let read = || -> Result<Tar, Box<dyn std::error::Error>> {
        let folder = root.foreign_subdir(&id.version.to_string())?;
        let signature = format!("{name}.sig");
        let bytes = folder.open_foreign_file(&signature, ByteLimit::kib(64))?.read(&folder.path().join(&signature))?;
        let signature = Signature::from_bytes(&bytes)?;
        let source = folder.open_foreign_file(name, limits.archive)?;
        let mut copy = scratch.unnamed_file()?;
        io::copy(&mut (&source.file).take(source.length), &mut copy)?;
        let archive = UntrustedArchive::from_private_file(copy, format)?.verify(id, &signature, keys)?;
        Ok(archive.into_tar(scratch, &limits)?)
    };
    read().map_err(|error| error.to_string())
}

/// Does with the finished patch what a node will do with it.
fn rehearse(
    plan: &Pack,
    patch: &NewFile,
    signature: &Signature,
    keys: &Keyring<Release>,
    (base, tar): (&Tar, &Tar),
    scratch: &Dir,
) -> Result<(), PackError> {
    let copy = patch.file().try_clone().map_err(PackError::Patch)?;
    let apply = || {
        let patch = UntrustedPatch::from_private_file(copy)?.verify(&plan.id, base.digest(), signature, keys)?;
        patch.apply(base, scratch, tar_limit(&Limits::default()))
    };
    let made = apply().map_err(PackError::Unusable)?;
    let made = Tar::of_private_file(made).map_err(PackError::Patch)?;
    if made.digest() == tar.digest() { Ok(()) } else { Err(PackError::Faulty) }
}

fn bytes(tar: &Tar) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(tar.length()).unwrap_or(0));
    FromStart::new(tar.file(), tar.length()).read_to_end(&mut bytes)?;
    Ok(bytes)
}
