use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::error::CarryError;
use crate::archive::{Limits, VerifiedArchive};
use crate::cache::{Cache, Lookup, Rejection};
use crate::crypto::{Keyring, Release, Signature};
use crate::sys::{Dir, Loose, PrivateDir, sha256};
use crate::tuf::{MetadataFiles, ReleaseDescription, Store};
use crate::types::{Packing, Product, ReleaseId, Target, Version};

/// What a bundle is made from.
#[derive(Debug)]
pub struct Export<'a> {
    /// The cache of this host.
    pub cache: &'a Cache,
    /// The keys that count here.
    pub keyring: &'a Keyring<Release>,
    /// Where private copies are made.
    pub staging: &'a Dir,
    /// What is accepted.
    pub limits: &'a Limits,
    /// The product.
    pub product: &'a Product,
    /// The target.
    pub target: &'a Target,
    /// These versions; none means all.
    pub versions: &'a [Version],
    /// The folder of what the node trusts of release metadata, if it follows any.
    pub trust: Option<PathBuf>,
}

/// What went into a bundle.
#[derive(Debug, Default)]
pub struct Exported {
    /// Each release, with the length of its archive in bytes.
    pub releases: Vec<(Version, u64)>,
    /// What was asked for, or is in the cache, and did not go in.
    pub left_out: Vec<(Version, LeftOut)>,
    /// How many files of release metadata there are in it.
    pub metadata: usize,
    /// Its length in bytes.
    pub length: u64,
}

/// Why a release did not go into a bundle.
#[derive(Debug, thiserror::Error)]
pub enum LeftOut {
    /// It is not in the cache.
    #[error("it is not in the cache; `cache ls` shows what is")]
    Missing,
    /// A patch made it.
    #[error("a patch made it here, and nobody signed an archive of that; carry the published tree instead")]
    OnlyTar,
    /// It does not hold.
    #[error("{0}")]
    Rejected(#[from] Box<Rejection>),
}

/// How long to wait for another process that uses what the node trusts.
const PATIENCE: Duration = Duration::from_secs(20);
const FILE_MODE: u32 = 0o644;

/// Writes a bundle, in a place where no file is yet. `progress` hears the bytes of each piece that was written.
pub fn export(what: &Export<'_>, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<Exported, CarryError> {
    let mut exported = Exported::default();
    let wanted = match what.versions {
        [] => what.cache.versions(what.product, what.target, what.keyring)?.into_iter().collect(),
        named => named.to_vec(),
    };
    let mut archives = Vec::new();
    for version in wanted {
        let id = ReleaseId { product: what.product.clone(), version, target: what.target.clone() };
        match what.cache.lookup(&id, what.keyring, what.staging, what.limits)? {
            Lookup::Hit(archive) if archive.packing() == Packing::Tar => {
                exported.left_out.push((id.version, LeftOut::OnlyTar));
            }
            Lookup::Hit(archive) => archives.push(archive),
            Lookup::Miss => exported.left_out.push((id.version, LeftOut::Missing)),
            Lookup::Rejected(rejection) => exported.left_out.push((id.version, Box::new(rejection).into())),
        }
    }
    // Somebody who named a version wants it, and not the others alone.
    if (archives.is_empty() || !what.versions.is_empty()) && !exported.left_out.is_empty() {
        let (version, reason) = exported.left_out.swap_remove(0);
        return Err(CarryError::LeftOut { version, reason });
    }
    if archives.is_empty() {
        return Err(CarryError::Nothing);
    }
    let metadata = what.trust.as_deref().map(trusted).transpose()?.flatten().unwrap_or_default();
    let (dir, name) = Dir::parent_of_operator_file(to)?;
    let failed = |source| CarryError::Write { path: to.display().to_string(), source };
    let mut file = dir.new_file(FILE_MODE)?;
    let mut tar = tar::Builder::new(Counted { to: &mut file, length: 0, progress });
    let listed: Vec<_> = archives.iter().map(described).collect::<io::Result<_>>().map_err(failed)?;
    let listing = serde_json::to_vec_pretty(&listed).expect("text and numbers have a JSON form");
    add(&mut tar, "releases.json", listing.len() as u64, &listing[..]).map_err(failed)?;
    for (name, bytes) in &metadata {
        add(&mut tar, &format!("metadata/{name}"), bytes.len() as u64, &bytes[..]).map_err(failed)?;
    }
    for archive in &archives {
        let path = path(archive);
        add(&mut tar, &path, archive.length(), archive.reader()).map_err(failed)?;
        let signature = archive.signature().as_bytes();
        add(&mut tar, &format!("{path}.sig"), signature.len() as u64, &signature[..]).map_err(failed)?;
        exported.releases.push((archive.id().version.clone(), archive.length()));
    }
    exported.length = tar.into_inner().map_err(failed)?.length;
    exported.metadata = metadata.len();
    file.publish_as_new(&name)?;
    Ok(exported)
}

/// What the node trusts, as it is between two updates.
fn trusted(folder: &Path) -> Result<Option<MetadataFiles>, CarryError> {
    let dir = match PrivateDir::open_existing(folder, Loose::RefuseWritable) {
        Ok(dir) => dir,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Store::open(dir.as_dir())? {
            Some(store) => return Ok(store.carried()?),
            None if Instant::now() < deadline => sleep(Duration::from_millis(50)),
            None => return Err(CarryError::TrustBusy),
        }
    }
}

/// Where an archive lies in a bundle: where release metadata has it, too. A tar never comes here.
fn path(archive: &VerifiedArchive) -> String {
    let format = match archive.packing() {
        Packing::Compressed(format) => format,
        Packing::Tar => unreachable!("a tar is left out"),
    };
    ReleaseDescription::path(archive.id(), format)
}

/// A release, as a listing tells it.
fn described(archive: &VerifiedArchive) -> io::Result<serde_json::Value> {
    let (version, path) = (&archive.id().version, path(archive));
    let name = path.rsplit('/').next().unwrap_or_default();
    let digest = sha256(archive.reader())?;
    Ok(json!({
        "tag_name": format!("v{version}"),
        "prerelease": version.is_prerelease(),
        "assets": [
            { "name": name, "size": archive.length(), "digest": format!("sha256:{digest}"), "browser_download_url": path },
            { "name": format!("{name}.sig"), "size": Signature::LEN, "browser_download_url": format!("{path}.sig") },
        ],
    }))
}

/// Adds a file as a bundle must have it: regular, under a plain name, owned by nobody in particular, of no particular
/// time.
fn add<W: Write>(tar: &mut tar::Builder<Counted<'_, W>>, path: &str, length: u64, from: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    // Longer than its fields, a path would need an extension header, which no bundle may have: that is an error.
    header.set_path(path)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(length);
    header.set_mode(FILE_MODE);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let end = tar.get_ref().length + BLOCK + length.next_multiple_of(BLOCK);
    tar.append(&header, from)?;
    if tar.get_ref().length == end { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

const BLOCK: u64 = 512;

/// Counts what is written.
struct Counted<'a, W: Write> {
    to: W,
    length: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.length += written as u64;
        (self.progress)(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
