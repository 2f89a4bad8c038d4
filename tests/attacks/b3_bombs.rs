//! B3: archives that decompress to too much. All of them are signed: nothing else is ever decoded.

use std::io::Write as _;

use exuvia::archive::{ContentError, Limits};
use exuvia::types::ArchiveFormat::{TarGz, TarZst};
use exuvia::types::ByteLimit;

use crate::archive_fixtures::{Header, Site, compress, id, noise, release_tar, sha256};

/// A tar that starts with `head` and goes on with `mib` MiB of `block`, compressed.
fn endless(head: &[u8], block: &[u8], mib: usize) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(head).unwrap();
    let mebibyte = block.repeat((1 << 20) / block.len());
    for _ in 0..mib {
        encoder.write_all(&mebibyte).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn b3_a_binary_longer_than_the_limit_is_refused_before_it_is_decoded() {
    let site = Site::new();
    let tar = Header { size: (1 << 30) + 1, ..Header::file("exuvia", 0) }.block();
    let reason = site.content_refused(&tar);
    assert!(matches!(reason, ContentError::TooLong { length, limit } if length == limit + 1), "{reason:?}");
    let huge = Header { size: u64::MAX, ..Header::file("exuvia", 0) }.block();
    assert!(matches!(site.content_refused(&huge), ContentError::TooLong { length: u64::MAX, .. }));
}

#[test]
fn b3_a_ratio_of_1000_to_1_is_refused() {
    let site = Site::new();
    let head = Header { size: 256 << 20, ..Header::file("exuvia", 0) }.block();
    let archive = endless(&head, &[0; 512], 256);
    assert!(archive.len() < 256 << 10, "{}", archive.len());
    let reason = site.archive_refused(&archive, TarZst);
    assert!(matches!(reason, ContentError::Ratio { .. }), "{reason:?}");
}

#[test]
fn b3_a_small_binary_of_zeros_is_no_bomb() {
    let site = Site::new();
    let binary = vec![0; 4 << 20];
    let archive = site.signed(&id("1.0.0"), &compress(&release_tar("exuvia", &binary), TarZst), TarZst);
    assert_eq!(site.extract(&archive).unwrap().digest(), sha256(&binary));
    site.assert_nothing_staged();
}

#[test]
fn b3_endless_zeros_behind_the_binary_are_refused() {
    let site = Site::new();
    let binary = noise(1000, 1);
    let archive = endless(&release_tar("exuvia", &binary), &[0; 512], 512);
    assert!(matches!(site.archive_refused(&archive, TarZst), ContentError::DataAfterTar));
}

#[test]
fn b3_a_million_entries_end_at_the_second() {
    let site = Site::new();
    let folder = Header::kind("d/", b'5').block();
    let begun_with_binary = endless(&Header::file("exuvia", 1).with(b"x"), &folder, 500);
    let reason = site.archive_refused(&begun_with_binary, TarZst);
    assert!(matches!(reason, ContentError::ExtraEntry { .. }), "{reason:?}");
    let reason = site.archive_refused(&endless(b"", &folder, 500), TarZst);
    assert!(matches!(reason, ContentError::NotAFile { .. }), "{reason:?}");
}

#[test]
fn b3_a_zstd_window_of_more_than_8_mib_is_refused() {
    let site = Site::new();
    let tar = release_tar("exuvia", b"binary");
    // RFC 8878, 3.1.1: magic, descriptor, window, then one raw block that is the last.
    let frame = |window: u8| {
        let block = u32::try_from(tar.len() << 3 | 1).unwrap().to_le_bytes();
        [&[0x28, 0xb5, 0x2f, 0xfd, 0, window], &block[..3], &tar].concat()
    };
    let (two_gib, nine_mib, eight_mib) = (21 << 3, (13 << 3) | 1, 13 << 3);
    for window in [two_gib, nine_mib] {
        let reason = site.archive_refused(&frame(window), TarZst);
        assert!(matches!(reason, ContentError::Window), "{reason:?}");
    }
    let archive = site.signed(&id("1.0.0"), &frame(eight_mib), TarZst);
    assert_eq!(site.extract(&archive).unwrap().digest(), sha256(b"binary"));
}

#[test]
fn b3_a_gzip_header_that_never_ends_is_refused() {
    let site = Site::new();
    // FNAME without its NUL.
    let archive = [b"\x1f\x8b\x08\x08\0\0\0\0\0\xff".to_vec(), vec![b'a'; 1 << 20]].concat();
    let reason = site.archive_refused(&archive, TarGz);
    assert!(matches!(reason, ContentError::Compression(_) | ContentError::Truncated), "{reason:?}");
}

#[test]
fn b3_an_unsigned_bomb_is_never_decoded() {
    let mut site = Site::new();
    site.limits = Limits { archive: ByteLimit::mib(1), binary: ByteLimit::kib(1) };
    let bomb = endless(&Header { size: 64 << 20, ..Header::file("exuvia", 0) }.block(), &[0; 512], 64);
    let signature = site.sign(&id("1.0.0"), b"something else");
    let outcome = site.download(&bomb, TarZst).verify(&id("1.0.0"), &signature, &site.keyring);
    assert!(matches!(outcome, Err(exuvia::archive::ArchiveError::NotSigned { .. })));
    site.assert_cache_empty();
}
