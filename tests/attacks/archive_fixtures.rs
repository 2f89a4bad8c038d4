//! Archives made by hand, a key that signs them, and a cache to plant them in.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use exuvia::archive::{ArchiveError, ContentError, Limits, StagedBinary, UntrustedArchive, VerifiedArchive};
use exuvia::cache::{Cache, Lookup, Reason};
use exuvia::crypto::{Context, Keyring, Release, SecretKey, Signature};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::{ArchiveFormat, KeyId, ReleaseId, Sha256Digest};
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

pub(crate) fn id(version: &str) -> ReleaseId {
    id_of("exuvia", version, "x86_64-unknown-linux-gnu")
}

pub(crate) fn id_of(product: &str, version: &str, target: &str) -> ReleaseId {
    ReleaseId { product: product.parse().unwrap(), version: version.parse().unwrap(), target: target.parse().unwrap() }
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(seed ^ (seed >> 33)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// One tar header, every field free.
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) name: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) flag: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) prefix: Vec<u8>,
}

impl Header {
    pub(crate) fn file(name: impl AsRef<[u8]>, size: usize) -> Self {
        let name = name.as_ref().to_vec();
        Self { name, mode: 0o755, size: size as u64, flag: b'0', link: Vec::new(), prefix: Vec::new() }
    }

    pub(crate) fn kind(name: impl AsRef<[u8]>, flag: u8) -> Self {
        Self { flag, ..Self::file(name, 0) }
    }

    pub(crate) fn block(&self) -> Vec<u8> {
        let mut block = vec![0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        if self.size < 1 << 33 {
            put(124, format!("{:011o}", self.size).as_bytes());
        } else {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &self.size.to_be_bytes());
        }
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[self.flag]);
        put(157, &self.link);
        put(257, b"ustar\x0000");
        put(345, &self.prefix);
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    pub(crate) fn with(&self, content: &[u8]) -> Vec<u8> {
        let mut bytes = self.block();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// A tar of these entries, with its end.
pub(crate) fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// The tar of a release as it should be.
pub(crate) fn release_tar(product: &str, binary: &[u8]) -> Vec<u8> {
    tar(&[Header::file(product, binary.len()).with(binary)])
}

pub(crate) fn compress(tar: &[u8], format: ArchiveFormat) -> Vec<u8> {
    match format {
        ArchiveFormat::TarGz => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        ArchiveFormat::TarZst => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// A node's view: a cache, a staging folder, and one pinned key whose private half we hold.
pub(crate) struct Site {
    pub(crate) root: tempfile::TempDir,
    pub(crate) cache: Cache,
    pub(crate) staging: PrivateDir,
    pub(crate) key: SecretKey<Release>,
    pub(crate) keyring: Keyring<Release>,
    pub(crate) limits: Limits,
}

impl Site {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let key = SecretKey::generate().unwrap();
        Self {
            cache: Cache::open(root.path().join("cache")).unwrap(),
            staging: PrivateDir::open_or_create(root.path().join("staging"), Loose::RefuseWritable).unwrap(),
            keyring: keyring(&[&key]),
            key,
            root,
            limits: Limits::default(),
        }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    pub(crate) fn sign(&self, id: &ReleaseId, archive: &[u8]) -> Signature {
        self.key.sign(&Context::archive(id), &mut &*archive).unwrap()
    }

    /// The bytes as a finished download.
    pub(crate) fn download(&self, archive: &[u8], format: ArchiveFormat) -> UntrustedArchive {
        let mut file = self.staging.unnamed_file().unwrap();
        file.write_all(archive).unwrap();
        UntrustedArchive::from_private_file(file, format).unwrap()
    }

    /// Bytes that the trusted key has signed, whatever they are.
    pub(crate) fn signed(&self, id: &ReleaseId, archive: &[u8], format: ArchiveFormat) -> VerifiedArchive {
        let signature = self.sign(id, archive);
        self.download(archive, format).verify(id, &signature, &self.keyring).unwrap()
    }

    pub(crate) fn extract(&self, archive: &VerifiedArchive) -> Result<StagedBinary, ArchiveError> {
        archive.extract(&self.staging, &self.limits, &mut |_| {})
    }

    /// Signs a tar, compressed in both ways, and returns why its extraction is refused.
    pub(crate) fn content_refused(&self, tar: &[u8]) -> ContentError {
        let [first, second] = ArchiveFormat::ALL.map(|format| self.archive_refused(&compress(tar, format), format));
        assert_eq!(std::mem::discriminant(&first), std::mem::discriminant(&second), "{first:?} {second:?}");
        first
    }

    /// Signs an archive and returns why its extraction is refused.
    pub(crate) fn archive_refused(&self, archive: &[u8], format: ArchiveFormat) -> ContentError {
        let outcome = self.extract(&self.signed(&id("1.2.0"), archive, format));
        self.assert_nothing_staged();
        match outcome {
            Err(ArchiveError::Content { reason, .. }) => reason,
            other => panic!("not refused for its content: {other:?}"),
        }
    }

    /// Puts a good release into the cache, as a node does after a download.
    pub(crate) fn store(&self, id: &ReleaseId, binary: &[u8], format: ArchiveFormat) -> Vec<u8> {
        let archive = compress(&release_tar(id.product.as_str(), binary), format);
        let verified = self.signed(id, &archive, format);
        let staged = self.extract(&verified).unwrap();
        self.cache.store(&verified, &staged).unwrap();
        archive
    }

    pub(crate) fn lookup(&self, id: &ReleaseId) -> Lookup {
        self.cache.lookup(id, &self.keyring, &self.staging, &self.limits).unwrap()
    }

    /// The lookup must be refused; the entry must be gone, and nothing staged.
    pub(crate) fn rejected(&self, id: &ReleaseId) -> Reason {
        let Lookup::Rejected(rejection) = self.lookup(id) else { panic!("was not rejected") };
        assert!(rejection.kept.is_none(), "{rejection}");
        assert!(fs::symlink_metadata(self.entry_path(id)).is_err(), "the entry is still there");
        assert!(matches!(self.lookup(id), Lookup::Miss), "a second lookup is a plain miss");
        self.assert_nothing_staged();
        rejection.reason
    }

    pub(crate) fn hit(&self, id: &ReleaseId) -> VerifiedArchive {
        match self.lookup(id) {
            Lookup::Hit(archive) => archive,
            other => panic!("not a hit: {other:?}"),
        }
    }

    pub(crate) fn entry_path(&self, id: &ReleaseId) -> PathBuf {
        self.entry_path_of(id, self.key.public().id())
    }

    pub(crate) fn entry_path_of(&self, id: &ReleaseId, key: KeyId) -> PathBuf {
        self.path("cache/entries").join(format!("{}@{}@{}@{key}.json", id.product, id.version, id.target))
    }

    pub(crate) fn blob_path(&self, archive: &[u8]) -> PathBuf {
        let digest = sha256(archive).to_string();
        self.path("cache/blobs").join(&digest[..2]).join(&digest[2..4]).join(&digest)
    }

    /// What a forger writes: an entry of any content.
    pub(crate) fn plant_entry(&self, id: &ReleaseId, format: &str, archive: &[u8], signature: &[u8]) {
        let json = serde_json::json!({
            "format": format,
            "length": archive.len(),
            "digest": sha256(archive).to_string(),
            "signature": hex::encode(signature),
        });
        fs::write(self.entry_path(id), json.to_string()).unwrap();
    }

    /// An archive where an entry will find it.
    pub(crate) fn plant_blob(&self, archive: &[u8]) {
        let path = self.blob_path(archive);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, archive).unwrap();
    }

    pub(crate) fn assert_nothing_staged(&self) {
        assert_eq!(files_below(&self.path("staging")), Vec::<PathBuf>::new(), "something was staged");
        let leftovers = files_below(&self.path("cache"))
            .into_iter()
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".new-"));
        assert_eq!(leftovers.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "temporary files are left");
    }

    /// No entry, no archive, nothing staged.
    pub(crate) fn assert_cache_empty(&self) {
        self.assert_nothing_staged();
        assert_eq!(files_below(&self.path("cache/entries")), Vec::<PathBuf>::new(), "an entry is left");
        assert_eq!(files_below(&self.path("cache/blobs")), Vec::<PathBuf>::new(), "an archive is left");
    }
}

pub(crate) fn keyring(keys: &[&SecretKey<Release>]) -> Keyring<Release> {
    let pems: Vec<String> = keys.iter().map(|key| key.public().to_pem()).collect();
    Keyring::from_pems(pems.iter().map(String::as_str)).unwrap()
}

/// Everything below a folder that is not a folder.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}
