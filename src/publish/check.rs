use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::listing::{self, Entry, LISTING, LISTING_LIMIT, ListingError};
use super::patches;
use super::problem::{Problem, Reason};
use super::sums::{SUMS, Sums};
use super::tee::{Hashing, Tee};
use crate::archive::{ArchiveError, Limits, Tar, UntrustedArchive, VerifiedArchive, tar_limit};
use crate::console::{Exit, ToolError};
use crate::crypto::{Context, Keyring, Release, Signature};
use crate::delta::{PatchName, UntrustedPatch, tar_signature_name};
use crate::fetch::{self, ListingLimits, SkipReason};
use crate::sys::{Dir, SysError};
use crate::types::{ArchiveFormat, ByteLimit, KeyId, Packing, Product, ReleaseId, Sha256Digest, Target, Version};

/// Why a tree could not be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The tree or the room for copies of it cannot be reached.
    #[error(transparent)]
    Storage(#[from] SysError),
    /// The listing is none.
    #[error("nodes cannot read {}: {source}", path.display())]
    Listing {
        /// The listing.
        path: PathBuf,
        /// Why.
        source: ListingError,
    },
}

impl ToolError for CheckError {
    fn exit(&self) -> Exit {
        match self {
            Self::Storage(_) => Exit::Storage,
            Self::Listing { .. } => Exit::Verification,
        }
    }
}

/// What a check of a tree came to.
#[derive(Debug, Default)]
pub struct TreeReport {
    /// The releases that a node would install.
    pub good: Vec<GoodRelease>,
    /// What it would not, and why.
    pub problems: Vec<Problem>,
    /// What nodes leave alone: drafts, and files that the listing does not name.
    pub ignored: Vec<String>,
}

/// A release that passed every check.
#[derive(Clone, Debug)]
pub struct GoodRelease {
    /// The release.
    pub id: ReleaseId,
    /// Length of the archive.
    pub length: u64,
    /// Digest of the binary in it.
    pub binary: Sha256Digest,
    /// The key that signed.
    pub key: KeyId,
    /// The versions from which patches lead to it.
    pub patches: Vec<Version>,
}

/// Checks a published tree as a node would, file by file: the listing, the exact names, the
/// signatures, and what the archives extract to. Reads the tree and changes nothing in it.
///
/// `products` names what the tree publishes; what its listing says is taken in addition. `progress`
/// hears of every byte of an archive that is read.
pub fn check_tree(
    tree: &Path,
    keys: &Keyring<Release>,
    products: &[Product],
    progress: &mut dyn FnMut(u64),
) -> Result<TreeReport, CheckError> {
    let root = Dir::of_operator(tree)?;
    let bytes = root.open_foreign_file(LISTING, LISTING_LIMIT)?.read(&root.path().join(LISTING))?;
    let malformed = |source| CheckError::Listing { path: root.path().join(LISTING), source };
    let entries = listing::Listing::parse(&bytes).and_then(|listing| listing.entries()).map_err(malformed)?;
    let listing =
        fetch::Listing::parse(&bytes, &ListingLimits::default()).map_err(|_| malformed(ListingError::Malformed))?;
    // Copies are made as a node makes them: private, and gone whatever happens.
    let scratch = tempfile::tempdir().map_err(|error| SysError::io("make a folder in", std::env::temp_dir(), error))?;
    let mut check =
        Check { keys, entries: &entries, staging: Dir::open(scratch.path())?, progress, report: TreeReport::default() };

    for skipped in listing.skipped {
        match skipped.reason {
            SkipReason::Draft => check.report.ignored.push(format!("{} (a draft)", skipped.tag)),
            reason => check.problem(skipped.tag, Reason::Skipped(reason)),
        }
    }
    for release in &listing.releases {
        if let Some(entry) = entries.iter().find(|entry| entry.version().as_ref() == Some(&release.version)) {
            check.release(&root, release, entry, products);
        }
    }
    let listed =
        |name: &str| name == LISTING || listing.releases.iter().any(|release| release.version.to_string() == name);
    let strays = root.names()?.into_iter().filter(|name| !listed(name));
    check.report.ignored.extend(strays);
    Ok(check.report)
}

struct Check<'a> {
    keys: &'a Keyring<Release>,
    entries: &'a [Entry],
    staging: Dir,
    progress: &'a mut dyn FnMut(u64),
    report: TreeReport,
}

const SMALL: ByteLimit = ByteLimit::mib(1);

impl Check<'_> {
    fn problem(&mut self, at: impl Into<String>, reason: impl Into<Reason>) {
        self.report.problems.push(Problem { at: at.into(), reason: reason.into() });
    }

    fn release(&mut self, root: &Dir, release: &fetch::Release, entry: &Entry, products: &[Product]) {
        let version = release.version.to_string();
        let folder = match root.foreign_subdir(&version) {
            Ok(folder) => folder,
            Err(error) => return self.problem(version, error),
        };
        self.files(&folder, &version, entry);
        let sums = match read(&folder, SUMS).and_then(|bytes| Ok(Sums::parse(&String::from_utf8_lossy(&bytes))?)) {
            Ok(sums) => Some(sums),
            Err(reason) => {
                self.problem(format!("{version}/{SUMS}"), reason);
                None
            }
        };
        let archives: Vec<_> =
            entry.assets.iter().filter_map(|asset| Some((asset, ArchiveFormat::of_name(&asset.name)?))).collect();
        if archives.is_empty() {
            self.problem(entry.tag_name.clone(), Reason::NoArchive);
        }
        let summed = |asset: &listing::Asset| {
            ArchiveFormat::of_name(&asset.name).is_some() || asset.name.strip_suffix(".patch").is_some()
        };
        let unlisted = |name: &&str| !entry.assets.iter().any(|asset| summed(asset) && asset.name == **name);
        for name in sums.iter().flat_map(Sums::names).filter(unlisted) {
            self.problem(format!("{version}/{SUMS}"), Reason::SummedOnly(name.to_owned()));
        }
        for (asset, format) in &archives {
            let at = format!("{version}/{}", asset.name);
            let stem = asset.name.strip_suffix(format.suffix()).unwrap_or_default();
            let Some(id) = identify(stem, &release.version, entry, products) else {
                self.problem(at, Reason::UnknownProduct);
                continue;
            };
            match self.archive((root, &folder), release, &id, sums.as_ref()) {
                Ok(good) => self.report.good.push(good),
                Err(reason) => self.problem(at, reason),
            }
        }
    }

    /// Every listed file is there, has the listed length, and lies where the address leads.
    fn files(&mut self, folder: &Dir, version: &str, entry: &Entry) {
        for asset in &entry.assets {
            let at = format!("{version}/{}", asset.name);
            match folder.open_foreign_file(&asset.name, ByteLimit::bytes(1 << 63)) {
                Err(error) => self.problem(&at, error),
                Ok(file) if file.length != asset.size => {
                    self.problem(&at, Reason::Size { listed: asset.size, found: file.length });
                }
                Ok(_) => {}
            }
            let address = &asset.browser_download_url;
            if *address != at && !address.ends_with(&format!("/{at}")) {
                self.problem(&at, Reason::Address(address.clone()));
            }
        }
        match folder.names() {
            Err(error) => self.problem(version, error),
            Ok(names) => {
                let stray = |name: &String| !entry.assets.iter().any(|asset| asset.name == *name);
                let strays = names.into_iter().filter(stray).map(|name| format!("{version}/{name}"));
                self.report.ignored.extend(strays);
            }
        }
    }

    /// What a node does with a release, from the choice to the staged binary; and what people check.
    fn archive(
        &mut self,
        (root, folder): (&Dir, &Dir),
        release: &fetch::Release,
        id: &ReleaseId,
        sums: Option<&Sums>,
    ) -> Result<GoodRelease, Reason> {
        let limits = Limits::default();
        let chosen = release.choose(&id.product, &id.target)?;
        let name = chosen.archive.name();
        let signature = Signature::from_bytes(&read(folder, chosen.signature.name())?)?;
        let (copy, digest) = self.copy(folder, name, limits.archive)?;
        let stated = [("the listing", chosen.archive.digest()), (SUMS, sums.and_then(|sums| sums.find(name)))];
        for (stated_by, stated) in stated {
            match stated {
                Some(stated) if stated != digest => return Err(Reason::Digest { stated_by, stated, found: digest }),
                None if stated_by == SUMS && sums.is_some() => return Err(Reason::NotSummed),
                _ => {}
            }
        }
        let verified = UntrustedArchive::from_private_file(copy, chosen.format)?.verify(id, &signature, self.keys)?;
        let binary = verified.extract(&self.staging, &limits, &mut |_| ())?;
        self.tar_signature(folder, release, &verified, &limits);
        let (length, key) = (verified.length(), verified.key_id());
        let mut patches = Vec::new();
        let offered: Vec<_> = release
            .assets
            .iter()
            .filter_map(|asset| Some((PatchName::parse(asset.name(), &id.product, &id.target)?, asset)))
            .collect();
        if !offered.is_empty() {
            let tar = verified.into_tar(&self.staging, &limits)?;
            for (name, asset) in offered {
                match self.patch((root, folder), (&name, asset), &tar, id, sums) {
                    Ok(()) => patches.push(name.from().clone()),
                    Err(reason) => self.problem(format!("{}/{name}", id.version), reason),
                }
            }
        }
        Ok(GoodRelease { id: id.clone(), length, binary: binary.digest(), key, patches })
    }

    /// What a node does with a patch, from its base in the tree to the tar of the release.
    fn patch(
        &mut self,
        (root, folder): (&Dir, &Dir),
        (name, asset): (&PatchName, &fetch::Asset),
        tar: &Tar,
        id: &ReleaseId,
        sums: Option<&Sums>,
    ) -> Result<(), Reason> {
        let (file, limits) = (name.to_string(), Limits::default());
        let (copy, found) = self.copy(folder, &file, limits.archive)?;
        for (stated_by, stated) in [("the listing", asset.digest()), (SUMS, sums.and_then(|sums| sums.find(&file)))] {
            match stated {
                Some(stated) if stated != found => return Err(Reason::Digest { stated_by, stated, found }),
                None if stated_by == SUMS && sums.is_some() => return Err(Reason::NotSummed),
                _ => {}
            }
        }
        let signature = Signature::from_bytes(&read(folder, &name.signature())?)?;
        let base = patches::published(self.entries, &id.with_version(name.from()))
            .ok_or_else(|| Reason::NoBase(name.from().clone()))
            .and_then(|(id, format, archive)| {
                patches::base(root, &id, format, &archive, self.keys, &self.staging).map_err(Reason::Base)
            })?;
        if !name.begins_with(base.digest()) {
            return Err(Reason::OtherBase(name.from().clone()));
        }
        let patch = UntrustedPatch::from_private_file(copy)?.verify(id, base.digest(), &signature, self.keys)?;
        let made = patch.apply(&base, &self.staging, tar_limit(&limits))?;
        let made = Tar::of_private_file(made).map_err(ArchiveError::Copy)?;
        if made.digest() == tar.digest() { Ok(()) } else { Err(Reason::OtherResult) }
    }

    fn tar_signature(&mut self, folder: &Dir, release: &fetch::Release, verified: &VerifiedArchive, limits: &Limits) {
        let name = tar_signature_name(&verified.id().product, &verified.id().target);
        let outcome = if release.assets.iter().any(|asset| asset.name() == name) {
            read(folder, &name)
                .and_then(|bytes| Ok(Signature::from_bytes(&bytes)?))
                .and_then(|signature| tar_is_signed(verified, &signature, self.keys, limits))
        } else {
            Err(Reason::NotListed)
        };
        if let Err(reason) = outcome {
            self.problem(format!("{}/{name}", verified.id().version), reason);
        }
    }

    /// A private copy, and the digest of exactly the bytes that are in it.
    fn copy(&mut self, folder: &Dir, name: &str, limit: ByteLimit) -> Result<(File, Sha256Digest), Reason> {
        let mut source = folder.open_foreign_file(name, limit)?;
        let mut copy = self.staging.unnamed_file()?;
        let mut hashing = Hashing::default();
        let metered = super::detached::Metered { inner: &mut source.file, read: 0, progress: self.progress };
        let mut reader = Tee { reader: metered.take(source.length), writer: &mut hashing };
        io::copy(&mut reader, &mut copy).map_err(ArchiveError::Copy)?;
        Ok((copy, hashing.digest()))
    }
}

fn read(folder: &Dir, name: &str) -> Result<Vec<u8>, Reason> {
    Ok(folder.open_foreign_file(name, SMALL)?.read(&folder.path().join(name))?)
}

/// The release that a file name stands for: the product must be known, because both it and the
/// target may hold hyphens. The signature decides whether it is true.
fn identify(stem: &str, version: &Version, entry: &Entry, products: &[Product]) -> Option<ReleaseId> {
    let stated = entry.name.as_deref().and_then(|name| name.split(' ').next()).and_then(|name| name.parse().ok());
    products.iter().cloned().chain(stated).find_map(|product: Product| {
        let target: Target = stem.strip_prefix(product.as_str())?.strip_prefix('-')?.parse().ok()?;
        Some(ReleaseId { product, version: version.clone(), target })
    })
}

/// Only for an archive that was verified and extracted: then its content is bounded.
fn tar_is_signed(
    verified: &VerifiedArchive,
    signature: &Signature,
    keys: &Keyring<Release>,
    limits: &Limits,
) -> Result<(), Reason> {
    let context = Context::tar(verified.id());
    let bound = limits.binary.get() + SMALL.get();
    for key in keys.keys() {
        let mu = match verified.packing() {
            Packing::Tar => key.mu(&context, &mut verified.reader()),
            Packing::Compressed(ArchiveFormat::TarGz) => {
                key.mu(&context, &mut flate2::read::GzDecoder::new(verified.reader()).take(bound))
            }
            Packing::Compressed(ArchiveFormat::TarZst) => zstd::stream::read::Decoder::new(verified.reader())
                .and_then(|decoder| key.mu(&context, &mut decoder.take(bound))),
        };
        if key.accepts(&mu.map_err(ArchiveError::Copy)?, signature) {
            return Ok(());
        }
    }
    Err(Reason::TarSignature)
}
