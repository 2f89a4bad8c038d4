use std::path::{Path, PathBuf};

use super::listing::{About, Added, Asset, LISTING, LISTING_LIMIT, Listing};
use super::make::{rehearse, sign_archive, write_archive};
use super::pack_error::PackError;
use super::patches::{Bases, LeftOut, Made, PackedPatch, make_patches};
use super::sums::{SUMS, Sums};
use super::tee::{Hashing, Tee};
use super::tree::lock;
use super::undo::Undo;
use crate::crypto::{Context, Release, SecretKey, Signature};
use crate::delta::tar_signature_name;
use crate::sys::{Dir, OperatorFile};
use crate::types::{ArchiveFormat, ByteLimit, KeyId, ReleaseId, Sha256Digest};

/// A release to be packed: everything but the binary.
#[derive(Clone, Debug)]
pub struct Pack {
    /// What it is.
    pub id: ReleaseId,
    /// How the archive is compressed.
    pub format: ArchiveFormat,
    /// How hard; the format's default where it is left out.
    pub level: Option<u32>,
    /// Whether the listing marks it as a pre-release although its version is none.
    pub prerelease: bool,
    /// Where people read about it.
    pub notes_url: Option<url::Url>,
    /// Where the tree will be served; left out, the listing's addresses are relative to itself.
    pub base_url: Option<url::Url>,
    /// When, as the listing says it.
    pub published_at: jiff::Timestamp,
}

/// What was packed.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The archive.
    pub archive: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// Its digest.
    pub digest: Sha256Digest,
    /// The key that signed it.
    pub key: KeyId,
    /// Whether anything was published: not so where the same archive stood there already.
    pub is_new: bool,
    /// The patches that were published with it, from the newest base to the oldest.
    pub patches: Vec<PackedPatch>,
    /// The patches that were not, and why.
    pub left_out: Vec<LeftOut>,
}

/// The most that a node extracts.
const BINARY_LIMIT: ByteLimit = ByteLimit::mib(1024);

/// Packs, signs and publishes a binary into the tree at `out`, with patches from the last versions there.
///
/// The archive is compressed, both signatures are made, and it is extracted as a node would, before anything appears under its name.
pub fn pack(
    plan: &Pack,
    key: &SecretKey<Release>,
    binary: &Path,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed, PackError> {
    pack_from(plan, &Bases::default(), key, binary, out, progress)
}

/// As [`pack`], with patches from these bases.
pub fn pack_from(
    plan: &Pack,
    bases: &Bases,
    key: &SecretKey<Release>,
    binary: &Path,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed, PackError> {
    plan.level()?;
    let input = OperatorFile::open(binary, BINARY_LIMIT)?;
    pack_open(plan, bases, key, (binary, input), out, progress)
}

/// As [`pack_from`], of a file that is open already, at its start; `binary` is what messages call it.
pub(super) fn pack_open(
    plan: &Pack,
    bases: &Bases,
    key: &SecretKey<Release>,
    (binary, input): (&Path, OperatorFile),
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed, PackError> {
    let level = plan.level()?;
    if input.length == 0 {
        return Err(PackError::Empty(binary.to_owned()));
    }
    let mut undo = Undo::default();
    let root = undo.open_tree(out)?;
    let version = plan.id.version.to_string();
    let folder = undo.open_folder(&root, &version)?;

    // What a killed run left; files that another run is writing are left alone.
    folder.sweep()?;
    root.sweep()?;
    let mut archive = folder.new_file(0o644)?;
    let (tar_signature, content) = write_archive(plan, level, key, binary, &input, &mut archive, progress)?;
    let (signature, digest, length) = sign_archive(plan, key, &archive).map_err(PackError::Sign)?;
    let verified = rehearse(plan, key, &archive, &signature, &folder, content)?;

    let name = format!("{}{}", plan.id.asset_stem(), plan.format.suffix());
    let assets = |sums: &str, patches: &[Made]| plan.assets(&name, length, digest, sums, patches);
    // What is published already needs no patches, and what they begin with stays what it is.
    let before = read_listing(&root)?;
    let (patches, left_out) = match before.clone().add(&plan.about(), &assets("", &[])) {
        Ok(Added::New(_)) => make_patches((plan, level), key, bases, (&root, &folder), (&before, verified))?,
        _ => (Vec::new(), Vec::new()),
    };
    let told = patches.iter().map(|made| PackedPatch { from: made.name.from().clone(), length: made.length }).collect();
    let packed = Packed {
        archive: folder.path().join(&name),
        length,
        digest,
        key: key.public().id(),
        is_new: true,
        patches: told,
        left_out,
    };
    undo.hold(lock(&root)?.ok_or_else(|| PackError::Busy(root.path().to_owned()))?);
    let mut sums = read_sums(&folder)?;
    sums.set(name.clone(), digest);
    for made in &patches {
        sums.set(made.name.to_string(), made.digest);
    }
    let sums = sums.to_text();
    let listing = match read_listing(&root)?.add(&plan.about(), &assets(&sums, &patches)) {
        Ok(Added::New(listing)) => listing,
        Ok(Added::Same) if is_intact(plan, key, &folder, &name, digest) => {
            return Ok(Packed { is_new: false, ..packed });
        }
        Ok(Added::Same) => return Err(PackError::PublishedOtherwise(folder.path().join(name))),
        Err(source) => return Err(PackError::Listing { path: root.path().join(LISTING), source }),
    };
    undo.publish(&folder, archive, &name)?;
    undo.write(&folder, &format!("{name}.sig"), signature.as_bytes())?;
    undo.write(&folder, &plan.tar_signature_name(), tar_signature.as_bytes())?;
    for Made { name, file, signature, .. } in patches {
        undo.publish(&folder, file, &name.to_string())?;
        undo.write(&folder, &name.signature(), signature.as_bytes())?;
    }
    undo.write(&folder, SUMS, sums.as_bytes())?;
    root.replace(LISTING, &listing.to_bytes(), 0o644)?;
    undo.forget();
    Ok(packed)
}

impl Pack {
    fn level(&self) -> Result<u32, PackError> {
        let (default, highest) = match self.format {
            ArchiveFormat::TarZst => (19, 22),
            ArchiveFormat::TarGz => (9, 9),
        };
        match self.level.unwrap_or(default) {
            level if (1..=highest).contains(&level) => Ok(level),
            level => Err(PackError::Level(level, highest)),
        }
    }

    fn tar_signature_name(&self) -> String {
        tar_signature_name(&self.id.product, &self.id.target)
    }

    fn about(&self) -> About {
        About {
            id: self.id.clone(),
            prerelease: self.prerelease || self.id.version.is_prerelease(),
            notes_url: self.notes_url.as_ref().map(url::Url::to_string),
            published_at: self.published_at,
        }
    }

    /// What the listing names, the archive first. Signatures carry no digest: they are random, and
    /// only what they sign is ever compared.
    fn assets(&self, name: &str, length: u64, digest: Sha256Digest, sums: &str, patches: &[Made]) -> Vec<Asset> {
        let mut base = self.base_url.as_ref().map(url::Url::to_string).unwrap_or_default();
        if !base.is_empty() && !base.ends_with('/') {
            base.push('/');
        }
        let base = format!("{base}{}/", self.id.version);
        let signature = |name: String| Asset::new(name, Signature::LEN as u64, None, &base);
        let mut assets = vec![
            Asset::new(name.to_owned(), length, Some(digest), &base),
            signature(format!("{name}.sig")),
            signature(self.tar_signature_name()),
            Asset::new(SUMS.to_owned(), sums.len() as u64, None, &base),
        ];
        for Made { name, length, digest, .. } in patches {
            assets.push(Asset::new(name.to_string(), *length, Some(*digest), &base));
            assets.push(signature(name.signature()));
        }
        assets
    }
}

/// Whether the published files are still what a listing entry with this digest stands for.
fn is_intact(plan: &Pack, key: &SecretKey<Release>, folder: &Dir, name: &str, digest: Sha256Digest) -> bool {
    let path = |name: &str| folder.path().join(name);
    let check = || -> Option<bool> {
        let bytes = OperatorFile::read(&path(&format!("{name}.sig")), ByteLimit::kib(64)).ok()?;
        let signature = Signature::from_bytes(&bytes).ok()?;
        let archive = OperatorFile::open(&path(name), ByteLimit::bytes(1 << 63)).ok()?;
        let mut hashing = Hashing::default();
        let mut tee = Tee { reader: &archive.file, writer: &mut hashing };
        key.public().verify(&Context::archive(&plan.id), &mut tee, &signature).ok()?;
        OperatorFile::open(&path(&plan.tar_signature_name()), ByteLimit::kib(64)).ok()?;
        Some(hashing.digest() == digest)
    };
    check().unwrap_or(false)
}

fn read_listing(root: &Dir) -> Result<Listing, PackError> {
    let path = root.path().join(LISTING);
    match OperatorFile::read(&path, LISTING_LIMIT) {
        Ok(bytes) => Listing::parse(&bytes).map_err(|source| PackError::Listing { path, source }),
        Err(error) if error.is_not_found() => Ok(Listing::default()),
        Err(error) => Err(error.into()),
    }
}

fn read_sums(folder: &Dir) -> Result<Sums, PackError> {
    let path = folder.path().join(SUMS);
    match OperatorFile::read(&path, ByteLimit::mib(1)) {
        Ok(bytes) => Sums::parse(&String::from_utf8_lossy(&bytes)).map_err(|source| PackError::Sums { path, source }),
        Err(error) if error.is_not_found() => Ok(Sums::default()),
        Err(error) => Err(error.into()),
    }
}
