//! X1: tars that are signed and hostile all the same.

use exuvia::archive::{ContentError, EntryKind};
use exuvia::types::ArchiveFormat::{TarGz, TarZst};
use proptest::prelude::*;

use crate::archive_fixtures::{Header, Site, compress, id, noise, release_tar, sha256, tar};

const BINARY: &[u8] = b"#!/bin/sh\nexit 0\n";

fn good() -> Vec<u8> {
    Header::file("exuvia", BINARY.len()).with(BINARY)
}

#[test]
fn x1_the_one_expected_file_is_staged_with_mode_0755_and_its_digest() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    for (name, mode) in [("exuvia", 0o755), ("./exuvia", 0o600), ("exuvia", 0o100_755)] {
        for format in [TarGz, TarZst] {
            let bytes = tar(&[Header { mode, ..Header::file(name, BINARY.len()) }.with(BINARY)]);
            let mut heard = Vec::new();
            let archive = site.signed(&id("1.2.0"), &compress(&bytes, format), format);
            let staged = archive.extract(&site.staging, &site.limits, &mut |bytes| heard.push(bytes)).unwrap();
            assert_eq!((staged.digest(), staged.length()), (sha256(BINARY), BINARY.len() as u64));
            assert_eq!(heard, [BINARY.len() as u64]);
            staged.publish_into(&site.staging, "binary").unwrap();
            let path = site.path("staging/binary");
            assert_eq!(std::fs::read(&path).unwrap(), BINARY);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
            std::fs::remove_file(path).unwrap();
            site.assert_nothing_staged();
        }
    }
}

#[test]
fn x1_the_tar_that_gnu_tar_and_the_tar_crate_write_is_accepted() {
    let site = Site::new();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(BINARY.len() as u64);
    header.set_mode(0o755);
    builder.append_data(&mut header, "exuvia", BINARY).unwrap();
    let mut bytes = builder.into_inner().unwrap();
    for length in [bytes.len(), 10_240] {
        bytes.resize(length, 0);
        let archive = site.signed(&id("1.2.0"), &compress(&bytes, TarZst), TarZst);
        assert_eq!(site.extract(&archive).unwrap().digest(), sha256(BINARY));
    }
}

#[test]
fn x1_a_path_other_than_the_product_at_the_root_is_refused() {
    let site = Site::new();
    let names: [&[u8]; 12] = [
        b"/exuvia",
        b"../exuvia",
        b"bin/exuvia",
        b"./bin/../exuvia",
        b"././exuvia",
        b".//exuvia",
        b"exuvia2",
        b"Exuvia",
        b"exuvia/../exuvia",
        b"exu\xffvia",
        b"exuvia\0.sh",
        b"",
    ];
    for name in names {
        let reason = site.content_refused(&tar(&[Header::file(name, BINARY.len()).with(BINARY)]));
        assert!(matches!(reason, ContentError::WrongPath { .. }), "{}: {reason:?}", name.escape_ascii());
    }
    let split = Header { prefix: b"/etc".to_vec(), ..Header::file("exuvia", BINARY.len()) };
    assert!(matches!(site.content_refused(&tar(&[split.with(BINARY)])), ContentError::WrongPath { .. }));
}

#[test]
fn x1_a_name_that_is_not_utf8_is_shown_escaped() {
    let site = Site::new();
    let reason = site.content_refused(&tar(&[Header::file(b"\xff\x1b[2J", 1).with(b"x")]));
    assert!(matches!(&reason, ContentError::WrongPath { name } if name == "\\xff\\x1b[2J"), "{reason:?}");
}

#[test]
fn x1_an_entry_that_is_not_a_regular_file_is_refused() {
    let site = Site::new();
    let kinds = [
        (b'1', EntryKind::HardLink),
        (b'2', EntryKind::Symlink),
        (b'3', EntryKind::Device),
        (b'4', EntryKind::Device),
        (b'5', EntryKind::Directory),
        (b'6', EntryKind::Fifo),
        (b'7', EntryKind::Unknown(b'7')),
        (b'L', EntryKind::LongName),
        (b'K', EntryKind::LongName),
        (b'S', EntryKind::Sparse),
        (b'x', EntryKind::Pax),
        (b'g', EntryKind::Pax),
        (b'V', EntryKind::Unknown(b'V')),
    ];
    for (flag, expected) in kinds {
        // Before the binary and in its place.
        let linked = Header { link: b"/etc/passwd".to_vec(), ..Header::kind("exuvia", flag) };
        for entries in [vec![linked.block()], vec![linked.block(), good()]] {
            let reason = site.content_refused(&tar(&entries));
            assert!(matches!(reason, ContentError::NotAFile { kind, .. } if kind == expected), "{reason:?}");
        }
        // After the binary.
        let reason = site.content_refused(&tar(&[good(), linked.block()]));
        assert!(matches!(reason, ContentError::ExtraEntry { kind, .. } if kind == expected), "{reason:?}");
    }
}

#[test]
fn x1_the_binary_as_a_directory_and_a_root_directory_are_refused() {
    let site = Site::new();
    for name in ["exuvia/", "./"] {
        let reason = site.content_refused(&tar(&[Header::kind(name, b'5').block(), good()]));
        assert!(matches!(reason, ContentError::NotAFile { kind: EntryKind::Directory, .. }), "{reason:?}");
    }
}

#[test]
fn x1_a_regular_file_that_names_a_link_target_is_refused() {
    let site = Site::new();
    let header = Header { link: b"/etc/passwd".to_vec(), ..Header::file("exuvia", BINARY.len()) };
    assert!(matches!(site.content_refused(&tar(&[header.with(BINARY)])), ContentError::LinkTarget));
}

#[test]
fn x1_setuid_setgid_and_sticky_bits_are_refused() {
    let site = Site::new();
    for mode in [0o4755, 0o2755, 0o1755, 0o120_755, 0o040_755] {
        let header = Header { mode, ..Header::file("exuvia", BINARY.len()) };
        let reason = site.content_refused(&tar(&[header.with(BINARY)]));
        assert!(matches!(reason, ContentError::Mode { mode: found } if found == mode), "{reason:?}");
    }
}

#[test]
fn x1_the_binary_twice_is_refused() {
    let site = Site::new();
    assert!(matches!(site.content_refused(&tar(&[good(), good()])), ContentError::Duplicate));
    let second = Header::file("./exuvia", 3).with(b"two");
    assert!(matches!(site.content_refused(&tar(&[good(), second])), ContentError::Duplicate));
}

#[test]
fn x1_a_second_file_is_refused() {
    let site = Site::new();
    for name in ["README", "/etc/cron.d/job", "../escape"] {
        let reason = site.content_refused(&tar(&[good(), Header::file(name, 1).with(b"x")]));
        assert!(matches!(&reason, ContentError::ExtraEntry { name: found, .. } if found == name), "{reason:?}");
    }
}

#[test]
fn x1_pax_overrides_of_path_size_and_linkpath_are_refused_unread() {
    let site = Site::new();
    for record in ["15 path=exuvia\n", "12 size=999\n", "24 linkpath=/etc/shadow\n", "22 GNU.sparse.major=1\n"] {
        for flag in [b'x', b'g'] {
            let pax = Header { flag, ..Header::file("PaxHeaders/exuvia", record.len()) }.with(record.as_bytes());
            let reason = site.content_refused(&tar(&[pax, good()]));
            assert!(matches!(reason, ContentError::NotAFile { kind: EntryKind::Pax, .. }), "{reason:?}");
        }
    }
}

#[test]
fn x1_a_gnu_long_name_for_the_binary_is_refused() {
    let site = Site::new();
    let long = Header { flag: b'L', ..Header::file("././@LongLink", 7) }.with(b"exuvia\0");
    let reason = site.content_refused(&tar(&[long, Header::file("x", BINARY.len()).with(BINARY)]));
    assert!(matches!(reason, ContentError::NotAFile { kind: EntryKind::LongName, .. }), "{reason:?}");
}

#[test]
fn x1_data_after_the_end_of_the_tar_is_refused() {
    let site = Site::new();
    let ended = tar(&[good()]);
    for tail in [good(), vec![1], noise(4096, 1)] {
        let mut bytes = [ended.clone(), tail].concat();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        assert!(matches!(site.content_refused(&bytes), ContentError::DataAfterTar));
    }
    // One zero block alone is not an end.
    let gap = [good(), vec![0; 512], good(), vec![0; 1024]].concat();
    assert!(matches!(site.content_refused(&gap), ContentError::DataAfterTar));
}

#[test]
fn x1_data_in_the_padding_of_the_binary_is_refused() {
    let site = Site::new();
    let mut bytes = tar(&[good()]);
    bytes[512 + BINARY.len()] = b'!';
    assert!(matches!(site.content_refused(&bytes), ContentError::DataAfterTar));
}

#[test]
fn x1_data_after_the_compressed_stream_is_refused() {
    let site = Site::new();
    let bytes = release_tar("exuvia", BINARY);
    let empty_frame = zstd::encode_all(&b""[..], 1).unwrap();
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0hide".to_vec();
    for format in [TarGz, TarZst] {
        let archive = compress(&bytes, format);
        for tail in [compress(&bytes, format), compress(b"", format), vec![0], empty_frame.clone(), skippable.clone()] {
            let reason = site.archive_refused(&[archive.clone(), tail].concat(), format);
            assert!(matches!(reason, ContentError::DataAfterStream), "{reason:?}");
        }
    }
    // In front, it ends the one frame that is read.
    let reason = site.archive_refused(&[skippable, compress(&bytes, TarZst)].concat(), TarZst);
    assert!(matches!(reason, ContentError::Empty), "{reason:?}");
}

#[test]
fn x1_truncation_anywhere_is_refused() {
    let site = Site::new();
    let binary = noise(3000, 7);
    let whole = release_tar("exuvia", &binary);
    for length in [1, 511, 513, 2000, 3511, 3584, 4095, whole.len() - 512, whole.len() - 1] {
        let reason = site.content_refused(&whole[..length]);
        assert!(matches!(reason, ContentError::Truncated), "{length}: {reason:?}");
    }
    for format in [TarGz, TarZst] {
        let archive = compress(&whole, format);
        for length in [0, 1, 3, 5, 12, 100, archive.len() - 9, archive.len() - 5, archive.len() - 1] {
            let reason = site.archive_refused(&archive[..length], format);
            let cut = matches!(reason, ContentError::Truncated | ContentError::Empty | ContentError::Compression(_));
            assert!(cut, "{length}: {reason:?}");
        }
    }
}

#[test]
fn x1_a_header_that_states_more_or_less_than_there_is_is_refused() {
    let site = Site::new();
    let binary = noise(3000, 7);
    let entry = |size| Header { size, ..Header::file("exuvia", 0) }.with(&binary);
    assert!(matches!(site.content_refused(&tar(&[entry(5000)])), ContentError::Truncated));
    assert!(matches!(site.content_refused(&tar(&[entry(1024)])), ContentError::DataAfterTar));
    assert!(matches!(site.content_refused(&tar(&[entry(0)])), ContentError::EmptyBinary));
}

#[test]
fn x1_what_is_no_tar_is_refused() {
    let site = Site::new();
    let mut bad_sum = tar(&[good()]);
    bad_sum[148] ^= 1;
    for bytes in [noise(2048, 3), bad_sum] {
        assert!(matches!(site.content_refused(&bytes), ContentError::NotTar));
    }
    assert!(matches!(site.content_refused(&[0; 10_240]), ContentError::Empty));
    assert!(matches!(site.content_refused(&[]), ContentError::Empty));
    for bytes in [noise(2048, 3), b"<!doctype html><title>Not Found</title>".to_vec()] {
        for format in [TarGz, TarZst] {
            let reason = site.archive_refused(&bytes, format);
            assert!(matches!(reason, ContentError::Compression(_)), "{reason:?}");
        }
    }
    // One format under the other's name.
    let reason = site.archive_refused(&compress(&tar(&[good()]), TarGz), TarZst);
    assert!(matches!(reason, ContentError::Compression(_)), "{reason:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn x1_random_bytes_never_stage(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let site = Site::new();
        for format in [TarGz, TarZst] {
            prop_assert!(site.extract(&site.signed(&id("1.0.0"), &bytes, format)).is_err());
        }
        // As a tar that decompresses well.
        for format in [TarGz, TarZst] {
            prop_assert!(site.extract(&site.signed(&id("1.0.0"), &compress(&bytes, format), format)).is_err());
        }
        site.assert_nothing_staged();
    }

    #[test]
    fn x1_a_damaged_archive_stages_its_own_binary_or_nothing(
        at in any::<prop::sample::Index>(), flip in 1u8.., cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let site = Site::new();
        let binary = noise(2000, 11);
        for format in [TarGz, TarZst] {
            let mut archive = compress(&release_tar("exuvia", &binary), format);
            let at = at.index(archive.len());
            archive[at] ^= flip;
            if let Some(cut) = cut {
                archive.truncate(cut.index(archive.len()));
            }
            if let Ok(staged) = site.extract(&site.signed(&id("1.0.0"), &archive, format)) {
                // A change that means nothing, such as gzip's time stamp.
                prop_assert_eq!(staged.digest(), sha256(&binary));
            }
        }
        site.assert_nothing_staged();
    }

    #[test]
    fn x1_a_damaged_header_stages_the_same_binary_or_nothing(at in 0usize..512, flip in 1u8..) {
        let site = Site::new();
        let mut bytes = release_tar("exuvia", BINARY);
        bytes[at] ^= flip;
        if let Ok(staged) = site.extract(&site.signed(&id("1.0.0"), &compress(&bytes, TarZst), TarZst)) {
            // The checksum field's last byte may be a blank or a NUL.
            prop_assert_eq!(staged.digest(), sha256(BINARY));
        }
        site.assert_nothing_staged();
    }
}
