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
    #[error("it is not in the cache")]
    Missing,
    /// A patch made it.
    #[error("a patch made it, and its archive as it was published is not in the cache")]
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
    let lacking = exported.left_out.first().filter(|_| !what.versions.is_empty());
    if archives.is_empty() || lacking.is_some() {
        return Err(CarryError::Nothing(lacking.map(|(version, _)| version.clone())));
    }
    let metadata = what.trust.as_deref().map(trusted).transpose()?.flatten().unwrap_or_default();
    let (dir, name) = Dir::parent_of_operator_file(to)?;
    let failed = |source| CarryError::Write { path: to.display().to_string(), source };
    let mut file = dir.new_file(FILE_MODE)?;
    let mut tar = Tar { to: &mut file, length: 0, progress };
    let listed: Vec<_> = archives.iter().map(described).collect::<io::Result<_>>().map_err(failed)?;
    let listing = serde_json::to_vec_pretty(&listed).expect("text and numbers have a JSON form");
    tar.add("releases.json", listing.len() as u64, &mut &listing[..]).map_err(failed)?;
    for (name, bytes) in &metadata {
        tar.add(&format!("metadata/{name}"), bytes.len() as u64, &mut &bytes[..]).map_err(failed)?;
    }
    for archive in &archives {
        let path = path(archive);
        tar.add(&path, archive.length(), &mut archive.reader()).map_err(failed)?;
        let signature = archive.signature().as_bytes();
        tar.add(&format!("{path}.sig"), signature.len() as u64, &mut &signature[..]).map_err(failed)?;
        exported.releases.push((archive.id().version.clone(), archive.length()));
    }
    exported.length = tar.end().map_err(failed)?;
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

/// A tar as a bundle must be: regular files under plain names, owned by nobody in particular, of no particular time.
struct Tar<'a, W: Write> {
    to: W,
    length: u64,
    progress: &'a mut dyn FnMut(u64),
}

const BLOCK: u64 = 512;
const PIECE: usize = 256 * 1024;

impl<W: Write> Tar<'_, W> {
    fn add(&mut self, path: &str, length: u64, from: &mut dyn Read) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(path)?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(length);
        header.set_mode(FILE_MODE);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.put(header.as_bytes())?;
        let (mut left, mut piece) = (length, vec![0; PIECE]);
        while left > 0 {
            let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = from.read(&mut piece[..most])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.put(&piece[..read])?;
            left -= read as u64;
        }
        self.fill(length.next_multiple_of(BLOCK) - length)
    }

    fn end(mut self) -> io::Result<u64> {
        self.fill(2 * BLOCK)?;
        self.to.flush()?;
        Ok(self.length)
    }

    fn fill(&mut self, bytes: u64) -> io::Result<()> {
        self.put(&vec![0; usize::try_from(bytes).expect("less than three blocks")])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.length += bytes.len() as u64;
        (self.progress)(bytes.len() as u64);
        Ok(())
    }
}
