use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use exuvia::archive::{Limits, UntrustedArchive};
use exuvia::cache::{Cache, Listed};
use exuvia::crypto::{Context, Keyring, Release as ReleaseRole, SecretKey};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::{ArchiveFormat, ReleaseId};
use flate2::write::GzEncoder;

/// What a node has: a cache with releases in it, a staging folder, a pinned key.
pub(crate) struct Site {
    root: PathBuf,
    _removed_at_the_end: Option<tempfile::TempDir>,
    pub(crate) cache: Cache,
    pub(crate) staging: PrivateDir,
    pub(crate) keyring: Keyring<ReleaseRole>,
    pub(crate) limits: Limits,
}

/// One release in the cache.
pub(crate) struct Release {
    version: String,
    pub(crate) format: ArchiveFormat,
    /// The archive's file, for the floors.
    pub(crate) archive: PathBuf,
}

impl Release {
    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

/// Worth nothing outside this benchmark.
fn key() -> SecretKey<ReleaseRole> {
    SecretKey::from_seed(b"a seed worth nothing outside it!")
}

pub(crate) fn id(version: &str) -> ReleaseId {
    let parse = "the benchmark's own names are valid";
    ReleaseId {
        product: "exuvia".parse().expect(parse),
        version: version.parse().expect(parse),
        target: "x86_64-unknown-linux-gnu".parse().expect(parse),
    }
}

impl Site {
    pub(crate) fn create() -> Self {
        fs::create_dir_all("target/bench-fixtures").expect("the target folder can be written");
        let root = tempfile::tempdir_in("target").expect("the target folder can be written");
        let site = Self::open(root.path());
        Self { _removed_at_the_end: Some(root), ..site }
    }

    pub(crate) fn open(root: &Path) -> Self {
        let private = |name| PrivateDir::open_or_create(root.join(name), Loose::Tighten).expect("ours");
        Self {
            root: root.to_owned(),
            _removed_at_the_end: None,
            cache: Cache::open(root.join("cache")).expect("ours"),
            staging: private("staging"),
            keyring: Keyring::from_pems([key().public().to_pem().as_str()]).expect("one key"),
            limits: Limits::default(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes an archive of about `mib` MiB as .tar.gz (or of the same content as .tar.zst), and
    /// stores it as a node does. The archive is kept for the next run; the signature is not.
    pub(crate) fn release(&self, mib: u64, format: ArchiveFormat) -> Release {
        let version = format!("1.{mib}.{}", u8::from(format == ArchiveFormat::TarZst));
        let archive = PathBuf::from(format!("target/bench-fixtures/{mib}{}", format.suffix()));
        if !archive.exists() {
            eprintln!("cache_hit: packing {}", archive.display());
            let partial = archive.with_extension("partial");
            pack(&Content::new(mib << 20), format, &partial).expect("the archive is packed");
            fs::rename(partial, &archive).expect("same folder");
        }
        let id = id(&version);
        let mut copy = self.staging.unnamed_file().expect("ours");
        io::copy(&mut File::open(&archive).expect("just packed"), &mut copy).expect("enough space");
        let context = Context::archive(&id);
        let signature = key().sign(&context, &mut File::open(&archive).expect("just packed")).expect("signs");
        let archived = UntrustedArchive::from_private_file(copy, format)
            .and_then(|archive| archive.verify(&id, &signature, &self.keyring))
            .expect("just signed");
        let staged = archived.extract(&self.staging, &self.limits, &mut |_| {}).expect("just packed");
        self.cache.store(&archived, &staged).expect("enough space");
        // What the incumbent reads: the same files, where it would keep them.
        fs::write(self.root.join(format!("{version}.sig")), signature.as_bytes()).expect("enough space");
        Release { version, format, archive }
    }
}

/// Where the cache keeps the archive of a release.
pub(crate) fn blob(site: &Site, version: &str) -> PathBuf {
    let listed = site.cache.entries().expect("ours");
    let digest = listed.iter().find_map(|entry| match entry {
        Listed::Archive(archive) if *archive.name.id() == id(version) => Some(archive.digest.to_string()),
        _ => None,
    });
    let digest = digest.expect("stored before");
    site.root.join("cache/blobs").join(&digest[..2]).join(&digest[2..4]).join(digest)
}

/// Something like a large program: machine code of the toolchain, with a sixteenth of noise.
struct Content {
    pool: Vec<u8>,
    length: u64,
}

const CHUNK: usize = 256 << 10;

impl Content {
    /// As much content as .tar.gz packs into `compressed` bytes, judged by every 16th chunk.
    fn new(compressed: u64) -> Self {
        let content = Self { pool: pool(), length: 0 };
        let (mut taken, mut packed) = (0, 0);
        for chunk in (0..content.pool.len() / CHUNK * 16 / 15).step_by(15) {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&content.chunk(chunk)).expect("a Vec takes all");
            packed += encoder.finish().expect("a Vec takes all").len() as u64;
            taken += CHUNK as u64;
        }
        Self { length: compressed * taken / packed, ..content }
    }

    fn chunk(&self, number: usize) -> Vec<u8> {
        if number % 16 == 15 {
            let mut state = number as u64 + 1;
            let word = |_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            };
            return (0..CHUNK / 8).flat_map(word).collect();
        }
        let at = number * CHUNK % (self.pool.len() - CHUNK);
        self.pool[at..at + CHUNK].to_vec()
    }

    fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut left = usize::try_from(self.length).expect("64 bit");
        for number in 0.. {
            let chunk = self.chunk(number);
            let part = &chunk[..left.min(CHUNK)];
            to.write_all(part)?;
            left -= part.len();
            if left == 0 {
                break;
            }
        }
        let padding = self.length.next_multiple_of(512) - self.length + 1024;
        io::copy(&mut io::repeat(0).take(padding), to).map(drop)
    }
}

fn pool() -> Vec<u8> {
    let mut pool = fs::read(std::env::current_exe().expect("a running program has a path")).expect("readable");
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let lib = sysroot.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).join("lib"));
    let libraries = lib.and_then(fs::read_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut libraries: Vec<PathBuf> = libraries.filter(|path| path.to_string_lossy().contains(".so")).collect();
    libraries.sort();
    for library in libraries {
        pool.extend(fs::read(library).unwrap_or_default());
    }
    assert!(pool.len() > 2 * CHUNK, "no machine code was found to pack");
    pool
}

fn pack(content: &Content, format: ArchiveFormat, to: &Path) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path("exuvia")?;
    header.set_mode(0o755);
    header.set_size(content.length);
    header.set_cksum();
    let file = BufWriter::new(File::create(to)?);
    match format {
        ArchiveFormat::TarGz => {
            let mut encoder = GzEncoder::new(file, flate2::Compression::default());
            encoder.write_all(header.as_bytes())?;
            content.write_to(&mut encoder)?;
            encoder.finish()?.flush()
        }
        ArchiveFormat::TarZst => {
            let mut encoder = zstd::Encoder::new(file, 19)?;
            encoder.window_log(21)?;
            encoder.include_checksum(true)?;
            encoder.write_all(header.as_bytes())?;
            content.write_to(&mut encoder)?;
            encoder.finish()?.flush()
        }
    }
}
