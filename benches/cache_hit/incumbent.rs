//! The way that the incumbent serves a cache hit: one step after the other, the archive in memory,
//! inflated by miniz, each step written as its library's documentation has it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};

use exuvia::crypto::Context;
use exuvia::types::Sha256Digest;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};
use ml_dsa::{MlDsa65, Signature, VerifyingKey};
use pkcs8::DecodePublicKey;
use sha2::{Digest, Sha256};

use crate::fixture::{self, Site};

/// An RFC 1952 header without optional fields, as our fixtures have it.
const GZIP_HEADER: usize = 10;

pub(crate) fn hit(site: &Site, version: &str) {
    // Copy.
    let source = fixture::blob(site, version);
    let copy = site.root().join("incumbent.tar.gz");
    fs::copy(source, &copy).expect("enough space");
    // Hash.
    let mut hash = Hasher(Sha256::new());
    io::copy(&mut File::open(&copy).expect("just copied"), &mut hash).expect("just copied");
    std::hint::black_box(Sha256Digest::from_bytes(hash.0.finalize().into()));
    // Verify, whole in memory.
    let bytes = fs::read(&copy).expect("just copied");
    let pem = site.keyring.keys().next().expect("one key").to_pem();
    let key = VerifyingKey::<MlDsa65>::from_public_key_pem(&pem).expect("one key");
    let signature = fs::read(site.root().join(format!("{version}.sig"))).expect("written with the release");
    let signature = Signature::<MlDsa65>::try_from(signature.as_slice()).expect("written with the release");
    assert!(key.verify_with_context(&bytes, Context::archive(&fixture::id(version)).as_bytes(), &signature));
    drop(bytes);
    // Inflate and unpack.
    let inflated = Inflate::new(BufReader::new(File::open(&copy).expect("just copied"))).expect("it is gzip");
    let mut archive = tar::Archive::new(inflated);
    let mut entry = archive.entries().expect("a tar").next().expect("one entry").expect("one entry");
    entry.unpack(site.root().join("incumbent.binary")).expect("enough space");
    fs::remove_file(copy).expect("ours");
    fs::remove_file(site.root().join("incumbent.binary")).expect("ours");
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What flate2 does over miniz: this build's flate2 has another backend.
struct Inflate<R> {
    from: R,
    state: Box<InflateState>,
    sum: flate2::Crc,
}

impl<R: BufRead> Inflate<R> {
    fn new(mut from: R) -> io::Result<Self> {
        from.read_exact(&mut [0; GZIP_HEADER])?;
        Ok(Self { from, state: InflateState::new_boxed(DataFormat::Raw), sum: flate2::Crc::new() })
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = inflate(&mut self.state, self.from.fill_buf()?, buffer, MZFlush::None);
            self.from.consume(result.bytes_consumed);
            self.sum.update(&buffer[..result.bytes_written]);
            match result.status {
                Ok(status) if result.bytes_written > 0 || status == MZStatus::StreamEnd => {
                    return Ok(result.bytes_written);
                }
                Ok(_) => {}
                Err(error) => return Err(io::Error::other(format!("{error:?}"))),
            }
        }
    }
}
