//! A signed release archive, from its bytes to a staged binary. The first byte says whether the rest is
//! the compressed archive itself, or a tar that is compressed here.
#![no_main]

use std::io::Write;
use std::sync::OnceLock;

use exuvia::archive::{ArchiveError, Limits, fuzzing};
use exuvia::crypto::{PublicKey, Release, SecretKey};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::{ArchiveFormat, ByteLimit, ReleaseId};
use flate2::write::GzEncoder;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use sha2::{Digest, Sha256};

#[path = "../tar_sums.rs"]
mod tar_sums;

struct Site {
    key: PublicKey<Release>,
    id: ReleaseId,
    // Held: dropping it removes the folder.
    _root: tempfile::TempDir,
    staging: PrivateDir,
}

fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let root = tempfile::tempdir().expect("a folder");
        Site {
            key: SecretKey::from_seed(&[7; 32]).public().clone(),
            id: ReleaseId {
                product: "exuvia".parse().expect("a product"),
                version: "1.4.0".parse().expect("a version"),
                target: "x86_64-unknown-linux-gnu".parse().expect("a target"),
            },
            staging: PrivateDir::open_or_create(root.path().join("staging"), Loose::RefuseWritable).expect("ours"),
            _root: root,
        }
    })
}

fn packed(tar: &[u8], format: ArchiveFormat) -> Vec<u8> {
    match format {
        ArchiveFormat::TarGz => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).expect("memory");
            encoder.finish().expect("memory")
        }
        ArchiveFormat::TarZst => zstd::encode_all(tar, 1).expect("memory"),
    }
}

fn unpacked(archive: &[u8], format: ArchiveFormat) -> Vec<u8> {
    use std::io::Read;
    let mut tar = Vec::new();
    match format {
        ArchiveFormat::TarGz => flate2::read::GzDecoder::new(archive).read_to_end(&mut tar).map(drop),
        ArchiveFormat::TarZst => zstd::Decoder::new(archive).and_then(|mut zst| zst.read_to_end(&mut tar)).map(drop),
    }
    .expect("what was accepted can be decoded");
    tar
}

fuzz_target!(|bytes: &[u8]| {
    let Some((mode, rest)) = bytes.split_first() else { return };
    let format = if mode & 1 == 0 { ArchiveFormat::TarGz } else { ArchiveFormat::TarZst };
    let archive = if mode & 2 == 0 { packed(rest, format) } else { rest.to_vec() };
    let Site { key, id, staging, .. } = site();
    let limits = Limits { binary: ByteLimit::kib(256), ..Limits::default() };
    match fuzzing::extract(&archive, format, id, key, staging, &limits) {
        Ok(staged) => {
            let tar = unpacked(&archive, format);
            let mut reader = tar::Archive::new(tar.as_slice());
            let mut entries = reader.entries().expect("memory can be read");
            let mut entry = entries.next().expect("there is one").expect("it is whole");
            assert_eq!(entry.path_bytes().strip_prefix(b"./").unwrap_or(&entry.path_bytes()), b"exuvia");
            let mut binary = Vec::new();
            std::io::copy(&mut entry, &mut binary).expect("it is whole");
            assert_eq!(staged.digest().as_bytes().as_slice(), Sha256::digest(&binary).as_slice());
            assert_eq!(staged.length(), binary.len() as u64);
            assert!(entries.next().is_none(), "another reader sees a second entry");
        }
        Err(ArchiveError::Content { reason, .. }) => assert!(!reason.to_string().is_empty()),
        Err(other) => panic!("{other}"),
    }
    assert_eq!(staging.names().expect("it can be listed"), Vec::<String>::new(), "something was left behind");
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    if size > 0 && data[0] & 2 == 0 {
        tar_sums::mend(&mut data[1..size], seed);
    }
    size
});
