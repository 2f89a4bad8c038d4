//! The way that the incumbent serves a cache hit: one step after the other, the archive in memory,
//! inflated by miniz. Its gzip checksum and tar parsing are left out, in its favour.

use std::fs::{self, File};
use std::io::{self, Read, Write};

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
    let mut hash = Sha256::new();
    let (mut file, mut piece) = (File::open(&copy).expect("just copied"), vec![0; 64 << 10]);
    loop {
        match file.read(&mut piece).expect("just copied") {
            0 => break,
            read => hash.update(&piece[..read]),
        }
    }
    std::hint::black_box(Sha256Digest::from_bytes(hash.finalize().into()));
    // Verify, whole in memory.
    let bytes = fs::read(&copy).expect("just copied");
    let pem = site.keyring.keys().next().expect("one key").to_pem();
    let key = VerifyingKey::<MlDsa65>::from_public_key_pem(&pem).expect("one key");
    let signature = fs::read(site.root().join(format!("{version}.sig"))).expect("written with the release");
    let signature = Signature::<MlDsa65>::try_from(signature.as_slice()).expect("written with the release");
    assert!(key.verify_with_context(&bytes, Context::archive(&fixture::id(version)).as_bytes(), &signature));
    drop(bytes);
    // Inflate.
    let mut binary = File::create(site.root().join("incumbent.binary")).expect("enough space");
    inflate_to(&mut File::open(&copy).expect("just copied"), &mut binary).expect("enough space");
    fs::remove_file(copy).expect("ours");
    fs::remove_file(site.root().join("incumbent.binary")).expect("ours");
}

fn inflate_to(from: &mut File, to: &mut File) -> io::Result<()> {
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let (mut input, mut output) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    from.read_exact(&mut input[..GZIP_HEADER])?;
    let (mut at, mut end) = (0, 0);
    loop {
        if at == end {
            (at, end) = (0, from.read(&mut input)?);
        }
        let result = inflate(&mut state, &input[at..end], &mut output, MZFlush::None);
        at += result.bytes_consumed;
        to.write_all(&output[..result.bytes_written])?;
        match result.status {
            Ok(MZStatus::StreamEnd) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(io::Error::other(format!("{error:?}"))),
        }
    }
}
