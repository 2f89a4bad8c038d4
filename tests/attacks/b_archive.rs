//! B1 and B7: what a mirror serves instead of an archive.

use exuvia::archive::ArchiveError;
use exuvia::crypto::Signature;
use exuvia::types::ArchiveFormat::{TarGz, TarZst};

use crate::archive_fixtures::{Site, compress, id, noise, release_tar};

#[test]
fn b1_an_error_page_or_arbitrary_bytes_instead_of_the_archive_are_refused() {
    let site = Site::new();
    let good = compress(&release_tar("exuvia", b"binary"), TarZst);
    let signature = site.sign(&id("1.2.0"), &good);
    let page = b"<!doctype html><title>404 Not Found</title>".to_vec();
    let longer = [good.clone(), vec![0]].concat();
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    for bytes in [page, noise(100_000, 5), Vec::new(), good[..good.len() - 1].to_vec(), longer, flipped] {
        for format in [TarGz, TarZst] {
            let outcome = site.download(&bytes, format).verify(&id("1.2.0"), &signature, &site.keyring);
            assert!(matches!(outcome, Err(ArchiveError::NotSigned { .. })), "{outcome:?}");
        }
    }
    assert!(site.download(&good, TarZst).verify(&id("1.2.0"), &signature, &site.keyring).is_ok());
    site.assert_cache_empty();
}

#[test]
fn b1_arbitrary_bytes_instead_of_the_signature_are_refused() {
    let site = Site::new();
    let good = compress(&release_tar("exuvia", b"binary"), TarZst);
    for seed in 0..4 {
        let signature = Signature::from_bytes(&noise(Signature::LEN, seed)).unwrap();
        let outcome = site.download(&good, TarZst).verify(&id("1.2.0"), &signature, &site.keyring);
        assert!(matches!(outcome, Err(ArchiveError::NotSigned { .. })), "{outcome:?}");
    }
    for length in [0, 1, Signature::LEN - 1, Signature::LEN + 1] {
        assert!(Signature::from_bytes(&vec![b'<'; length]).is_err());
    }
    site.assert_cache_empty();
}

#[test]
fn b7_an_archive_signed_as_1_2_0_and_listed_as_9_9_9_is_refused() {
    let site = Site::new();
    let archive = compress(&release_tar("exuvia", b"binary"), TarGz);
    let signature = site.sign(&id("1.2.0"), &archive);
    let outcome = site.download(&archive, TarGz).verify(&id("9.9.9"), &signature, &site.keyring);
    assert!(matches!(outcome, Err(ArchiveError::NotSigned { id: named }) if *named == id("9.9.9")));
    site.assert_cache_empty();
}
