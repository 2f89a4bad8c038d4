use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::GzBuilder;
use zstd::stream::raw::CParameter;

use super::detached::Metered;
use super::listing::{About, Added, Asset, LISTING, LISTING_LIMIT, Listing, ListingError};
use super::sums::{SUMS, Sums, SumsError};
use super::tar_stream::TarStream;
use super::tee::{Hashing, Tee};
use super::undo::Undo;
use crate::archive::{ArchiveError, Limits, UntrustedArchive};
use crate::console::{Exit, ToolError};
use crate::crypto::{Context, Keyring, Release, SecretKey, SignError, Signature};
use crate::sys::{Dir, DirLock, NewFile, OperatorFile, SysError};
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
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The file system says no.
    #[error("{0}. Nothing was published.")]
    Storage(#[from] SysError),
    /// A binary of no bytes.
    #[error("{} is empty; nothing was published", .0.display())]
    Empty(PathBuf),
    /// The binary changed while it was read.
    #[error("{} changed while it was being packed; nothing was published. Pack it when its writer is done.", .0.display())]
    Changed(PathBuf),
    /// A level that the format does not have.
    #[error("level {0} is outside 1 to {1} for this format; nothing was published")]
    Level(u32, u32),
    /// Reading, compressing or writing failed.
    #[error("cannot make the archive of {}: {source}. Nothing was published.", path.display())]
    Archive {
        /// The binary.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No signature could be made.
    #[error("{0}. Nothing was published.")]
    Sign(SignError),
    /// A node would not install it.
    #[error("nodes would refuse this archive, so nothing was published: {0}")]
    Refused(#[from] ArchiveError),
    /// A node would not download it.
    #[error("the archive is {length} bytes long, and nodes download at most {limit}; nothing was published")]
    TooLong {
        /// Length of the archive.
        length: u64,
        /// What nodes allow unless they are told otherwise.
        limit: u64,
    },
    /// The archive does not hold the binary.
    #[error("the archive does not give the binary back, so nothing was published: this machine computes wrongly")]
    Faulty,
    /// The listing does not take the release.
    #[error("{} was left as it is: {source}", path.display())]
    Listing {
        /// The listing.
        path: PathBuf,
        /// Why.
        source: ListingError,
    },
    /// The version's `SHA256SUMS` cannot be extended.
    #[error("{} was left as it is: {source}", path.display())]
    Sums {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SumsError,
    },
    /// The same archive is published, and its files are not what its publisher left there.
    #[error(
        "{} is published already, but what lies there is not the archive that the listing names, signed by this key. \
         Nothing was changed. Check the tree with `exuvia-release verify` and the key that signed it.",
        .0.display()
    )]
    PublishedOtherwise(PathBuf),
    /// Another run is publishing into the same folder.
    #[error("another run is publishing into {}; nothing was published. Try again when it is done.", .0.display())]
    Busy(PathBuf),
}

impl ToolError for PackError {
    fn exit(&self) -> Exit {
        match self {
            Self::Storage(_) | Self::Changed(_) | Self::Archive { .. } | Self::Sign(SignError::Read(_)) => {
                Exit::Storage
            }
            Self::Sign(_) | Self::Faulty => Exit::Unexpected,
            Self::Refused(ArchiveError::Copy(_) | ArchiveError::Staging(_)) => Exit::Storage,
            Self::Refused(_) | Self::TooLong { .. } => Exit::Verification,
            Self::Empty(_) | Self::Level(..) => Exit::Usage,
            Self::Listing { .. } | Self::Sums { .. } | Self::PublishedOtherwise(_) => Exit::Verification,
            Self::Busy(_) => Exit::Busy,
        }
    }
}

/// The most that a node extracts.
const BINARY_LIMIT: ByteLimit = ByteLimit::mib(1024);

/// 2 MiB: what a reader must keep in memory, and within the 8 MiB that nodes allow.
const WINDOW_LOG: u32 = 21;

/// How long to wait for another run's last step, which takes well under a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Packs, signs and publishes a binary into the tree at `out`.
///
/// The archive is compressed, both signatures are made, and it is extracted as a node would, before anything appears under its name.
pub fn pack(
    plan: &Pack,
    key: &SecretKey<Release>,
    binary: &Path,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed, PackError> {
    let level = plan.level()?;
    let input = OperatorFile::open(binary, BINARY_LIMIT)?;
    if input.length == 0 {
        return Err(PackError::Empty(binary.to_owned()));
    }
    let mut undo = Undo::default();
    let root = undo.open_tree(out)?;
    let version = plan.id.version.to_string();
    let folder = undo.open_folder(&root, &version)?;

    let mut archive = folder.new_file(0o644)?;
    let (tar_signature, content) = write_archive(plan, level, key, binary, &input, &mut archive, progress)?;
    let (signature, digest, length) = sign_archive(plan, key, &archive).map_err(PackError::Sign)?;
    rehearse(plan, key, &archive, &signature, &folder, content)?;

    let name = format!("{}{}", plan.id.asset_stem(), plan.format.suffix());
    let packed = |is_new| Packed { archive: folder.path().join(&name), length, digest, key: key.public().id(), is_new };
    undo.hold(lock(&root)?);
    let mut sums = read_sums(&folder)?;
    sums.set(name.clone(), digest);
    let sums = sums.to_text();
    let listing = match read_listing(&root)?.add(&plan.about(), &plan.assets(&name, length, digest, &sums)) {
        Ok(Added::New(listing)) => listing,
        Ok(Added::Same) if is_intact(plan, key, &folder, &name, digest) => return Ok(packed(false)),
        Ok(Added::Same) => return Err(PackError::PublishedOtherwise(folder.path().join(name))),
        Err(source) => return Err(PackError::Listing { path: root.path().join(LISTING), source }),
    };
    undo.publish(&folder, archive, &name)?;
    undo.write(&folder, &format!("{name}.sig"), signature.as_bytes())?;
    undo.write(&folder, &plan.tar_signature_name(), tar_signature.as_bytes())?;
    undo.write(&folder, SUMS, sums.as_bytes())?;
    root.replace(LISTING, &listing.to_bytes(), 0o644)?;
    undo.forget();
    Ok(packed(true))
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
        format!("{}.tar.sig", self.id.asset_stem())
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
    fn assets(&self, name: &str, length: u64, digest: Sha256Digest, sums: &str) -> Vec<Asset> {
        let mut base = self.base_url.as_ref().map(url::Url::to_string).unwrap_or_default();
        if !base.is_empty() && !base.ends_with('/') {
            base.push('/');
        }
        let base = format!("{base}{}/", self.id.version);
        let signature = |name: String| Asset::new(name, Signature::LEN as u64, None, &base);
        vec![
            Asset::new(name.to_owned(), length, Some(digest), &base),
            signature(format!("{name}.sig")),
            signature(self.tar_signature_name()),
            Asset::new(SUMS.to_owned(), sums.len() as u64, None, &base),
        ]
    }
}

/// Makes the tar, signs it and compresses it, all in one pass over the binary.
fn write_archive(
    plan: &Pack,
    level: u32,
    key: &SecretKey<Release>,
    binary: &Path,
    input: &OperatorFile,
    archive: &mut NewFile,
    progress: &mut dyn FnMut(u64),
) -> Result<(Signature, Sha256Digest), PackError> {
    let failed = |source| PackError::Archive { path: binary.to_owned(), source };
    let mut body_hash = Hashing::default();
    let metered = Metered { inner: &input.file, read: 0, progress };
    let body = Tee { reader: metered, writer: &mut body_hash };
    let tar = TarStream::new(&plan.id.product, body, input.length).map_err(failed)?;
    let context = Context::tar(&plan.id);
    let tar_length = tar.length();
    let outcome = match plan.format {
        ArchiveFormat::TarZst => {
            let mut encoder = zstd_encoder(archive, level, tar_length).map_err(failed)?;
            let signature = key.sign(&context, &mut Tee { reader: tar, writer: &mut encoder });
            encoder.finish().map_err(failed)?;
            signature
        }
        ArchiveFormat::TarGz => {
            // No name, no time, no operating system: the same bytes everywhere.
            let builder = GzBuilder::new().mtime(0).operating_system(255);
            let mut encoder = builder.write(archive, flate2::Compression::new(level));
            let signature = key.sign(&context, &mut Tee { reader: tar, writer: &mut encoder });
            encoder.finish().map_err(failed)?;
            signature
        }
    };
    let length_now = input.file.metadata().map_err(failed)?.len();
    match outcome {
        Err(SignError::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(PackError::Changed(binary.to_owned()))
        }
        Err(SignError::Read(source)) => Err(failed(source)),
        Err(error) => Err(PackError::Sign(error)),
        Ok(_) if length_now != input.length => Err(PackError::Changed(binary.to_owned())),
        Ok(signature) => Ok((signature, body_hash.digest())),
    }
}

fn zstd_encoder<W: Write>(writer: W, level: u32, length: u64) -> io::Result<zstd::stream::write::Encoder<'static, W>> {
    let level = i32::try_from(level).map_err(io::Error::other)?;
    let mut encoder = zstd::stream::write::Encoder::new(writer, level)?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(length))?;
    Ok(encoder)
}

/// Signs the finished archive and takes its digest in the same pass.
fn sign_archive(
    plan: &Pack,
    key: &SecretKey<Release>,
    archive: &NewFile,
) -> Result<(Signature, Sha256Digest, u64), SignError> {
    let mut file = archive.file();
    file.seek(SeekFrom::Start(0))?;
    let mut hashing = Hashing::default();
    let signature = key.sign(&Context::archive(&plan.id), &mut Tee { reader: file, writer: &mut hashing })?;
    let length = hashing.length;
    Ok((signature, hashing.digest(), length))
}

/// Does with the finished archive what a node will do with it.
fn rehearse(
    plan: &Pack,
    key: &SecretKey<Release>,
    archive: &NewFile,
    signature: &Signature,
    folder: &Dir,
    content: Sha256Digest,
) -> Result<(), PackError> {
    let keys = Keyring::from_pems([key.public().to_pem().as_str()]).map_err(|_| PackError::Faulty)?;
    let copy = archive.file().try_clone().map_err(ArchiveError::Copy)?;
    let limits = Limits::default();
    let untrusted = UntrustedArchive::from_private_file(copy, plan.format)?;
    if !limits.archive.admits(untrusted.length()) {
        return Err(PackError::TooLong { length: untrusted.length(), limit: limits.archive.get() });
    }
    let binary = untrusted.verify(&plan.id, signature, &keys)?.extract(folder, &limits, &mut |_| ())?;
    if binary.digest() == content { Ok(()) } else { Err(PackError::Faulty) }
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

fn lock(root: &Dir) -> Result<DirLock, PackError> {
    let start = Instant::now();
    loop {
        if let Some(lock) = root.try_lock_itself()? {
            return Ok(lock);
        }
        if start.elapsed() > PATIENCE {
            return Err(PackError::Busy(root.path().to_owned()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
