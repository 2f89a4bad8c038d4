//! A1 to A8, A10, A13 and A14: what somebody who can write to the shared cache plants in it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use exuvia::archive::{ArchiveError, ContentError};
use exuvia::cache::{Cache, CacheError, Checked, Listed, Lookup, Reason};
use exuvia::crypto::{Context, Release, SecretKey, Signature};
use exuvia::sys::{Refusal, SysError};
use exuvia::types::ArchiveFormat::{TarGz, TarZst};
use exuvia::types::ByteLimit;

use crate::archive_fixtures::{Site, compress, files_below, id, id_of, keyring, noise, release_tar, sha256};

fn refusal(reason: &Reason) -> Option<&Refusal> {
    match reason {
        Reason::Entry(error) | Reason::Blob(error) => error.refusal(),
        _ => None,
    }
}

fn not_signed(reason: &Reason) -> bool {
    matches!(reason, Reason::Archive(ArchiveError::NotSigned { .. }))
}

fn mkfifo(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RWXU).unwrap();
}

/// Runs `attempt`; it must not hang.
fn within<T>(seconds: u64, attempt: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let outcome = attempt();
    assert!(begun.elapsed() < Duration::from_secs(seconds), "took {:?}", begun.elapsed());
    outcome
}

#[test]
fn a1_what_was_stored_is_found_verified_and_extracts() {
    let site = Site::new();
    for (version, format) in [("1.2.0", TarGz), ("1.3.0", TarZst)] {
        let binary = noise(300_000, 1);
        site.store(&id(version), &binary, format);
        let archive = site.hit(&id(version));
        assert_eq!((archive.id(), archive.packing()), (&id(version), format.into()));
        assert_eq!(archive.key_id(), site.key.public().id());
        assert_eq!(site.extract(&archive).unwrap().digest(), sha256(&binary));
        site.assert_nothing_staged();
    }
    assert!(matches!(site.lookup(&id("1.4.0")), Lookup::Miss));
}

#[test]
fn a1_a_forged_archive_with_matching_hashes_is_refused() {
    let site = Site::new();
    let good = site.store(&id("1.2.0"), b"good", TarZst);
    let forged = compress(&release_tar("exuvia", b"evil"), TarZst);
    // The attacker's own key, and the genuine signature of other bytes.
    let attacker = SecretKey::<Release>::generate().unwrap();
    let own = attacker.sign(&Context::archive(&id("1.2.0")), &mut &*forged).unwrap();
    for signature in [own, site.sign(&id("1.2.0"), &good)] {
        site.plant_blob(&forged);
        site.plant_entry(&id("1.2.0"), ".tar.zst", &forged, signature.as_bytes());
        let reason = site.rejected(&id("1.2.0"));
        assert!(not_signed(&reason), "{reason:?}");
        assert!(!site.blob_path(&forged).exists(), "nobody else names it");
    }
}

#[test]
fn a1_an_archive_exchanged_under_its_own_name_is_refused_and_removed() {
    let site = Site::new();
    let good = site.store(&id("1.2.0"), &noise(5000, 1), TarGz);
    let mut evil = good.clone();
    evil[2000] ^= 1;
    fs::write(site.blob_path(&good), &evil).unwrap();
    assert!(not_signed(&site.rejected(&id("1.2.0"))));
    site.assert_cache_empty();
}

#[test]
fn a2_an_archive_exchanged_after_the_hit_changes_nothing() {
    let site = Site::new();
    let binary = noise(400_000, 1);
    let good = site.store(&id("1.2.0"), &binary, TarZst);
    let hit = site.hit(&id("1.2.0"));
    let blob = site.blob_path(&good);
    // In place, through the same file, and by removal of everything.
    File::options().write(true).open(&blob).unwrap().write_all(&noise(good.len(), 2)).unwrap();
    fs::remove_dir_all(site.path("cache")).unwrap();
    assert_eq!(site.extract(&hit).unwrap().digest(), sha256(&binary));
}

#[test]
fn a2_an_archive_exchanged_while_it_is_looked_up_is_either_verified_or_refused() {
    let site = Site::new();
    let binary = noise(600_000, 1);
    let good = site.store(&id("1.2.0"), &binary, TarGz);
    let entry = fs::read(site.entry_path(&id("1.2.0"))).unwrap();
    let evil = noise(good.len(), 9);
    let (blob, spare) = (site.blob_path(&good), site.path("spare"));
    let over = AtomicBool::new(false);
    let (mut hits, mut refused) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for bytes in [&evil, &good] {
                    fs::create_dir_all(blob.parent().unwrap()).unwrap();
                    fs::write(&spare, bytes).unwrap();
                    fs::rename(&spare, &blob).unwrap();
                    thread::sleep(Duration::from_micros(300));
                }
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) || (hits == 0 && begun.elapsed() < Duration::from_secs(20)) {
            fs::write(site.entry_path(&id("1.2.0")), &entry).unwrap();
            match site.lookup(&id("1.2.0")) {
                Lookup::Hit(archive) => {
                    hits += 1;
                    assert_eq!(site.extract(&archive).unwrap().digest(), sha256(&binary));
                }
                Lookup::Rejected(rejection) => {
                    refused += 1;
                    assert!(
                        matches!(
                            rejection.reason,
                            Reason::Archive(ArchiveError::NotSigned { .. }) | Reason::BlobMissing
                        ),
                        "{rejection}"
                    );
                }
                Lookup::Miss => panic!("the entry was there"),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(hits > 0 && refused > 0, "{hits} hits, {refused} refused: the race was not run");
    site.assert_nothing_staged();
}

#[test]
fn a3_an_archive_that_changes_length_or_content_while_it_is_copied_yields_signed_bytes_or_nothing() {
    let site = Site::new();
    let binary = noise(3 << 20, 1);
    let good = site.store(&id("1.2.0"), &binary, TarGz);
    let entry = fs::read(site.entry_path(&id("1.2.0"))).unwrap();
    let blob = site.blob_path(&good);
    let over = AtomicBool::new(false);
    let (mut hits, mut reasons) = (0, Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0u64;
            while !over.load(Ordering::Relaxed) {
                fs::create_dir_all(blob.parent().unwrap()).unwrap();
                fs::write(&blob, &good).unwrap();
                thread::sleep(Duration::from_millis(round % 13));
                let file = File::options().write(true).open(&blob);
                let Ok(mut file) = file else { continue };
                match round % 3 {
                    0 => file.set_len(good.len() as u64 / 2).unwrap(),
                    1 => file.set_len(good.len() as u64 * 3).unwrap(),
                    _ => file.write_all(&[0; 4096]).unwrap(),
                }
                thread::sleep(Duration::from_millis(round % 7));
                round += 1;
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            fs::write(site.entry_path(&id("1.2.0")), &entry).unwrap();
            match site.lookup(&id("1.2.0")) {
                Lookup::Hit(archive) => {
                    hits += 1;
                    assert_eq!(archive.length(), good.len() as u64);
                    assert_eq!(site.extract(&archive).unwrap().digest(), sha256(&binary));
                }
                Lookup::Rejected(rejection) => reasons.push(rejection.reason),
                Lookup::Miss => panic!("the entry was there"),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    for reason in &reasons {
        let expected = matches!(
            reason,
            Reason::Archive(ArchiveError::NotSigned { .. } | ArchiveError::Shrank { .. })
                | Reason::Length { .. }
                | Reason::BlobMissing
        );
        assert!(expected, "{reason:?}");
    }
    assert!(!reasons.is_empty(), "{hits} hits: the race was not run");
    site.assert_nothing_staged();
}

#[test]
fn a3_an_archive_of_another_length_than_its_entry_says_is_refused_unread() {
    let site = Site::new();
    for length in [0, 10, 100_000] {
        let good = site.store(&id("1.2.0"), b"binary", TarZst);
        File::options().write(true).open(site.blob_path(&good)).unwrap().set_len(length).unwrap();
        let reason = site.rejected(&id("1.2.0"));
        assert!(matches!(reason, Reason::Length { found, .. } if found == length), "{reason:?}");
        site.assert_cache_empty();
    }
}

/// Puts something at a path.
type Plant<'a> = Box<dyn Fn(&Path) + 'a>;

/// Everything that can stand where a file should, and the rule that it breaks.
fn impostors(site: &Site) -> Vec<(Plant<'_>, Refusal)> {
    let secret = site.path("secret");
    fs::write(&secret, "secret").unwrap();
    vec![
        (Box::new(|at| symlink("/dev/zero", at).unwrap()), Refusal::Symlink),
        (Box::new(move |at| symlink(&secret, at).unwrap()), Refusal::Symlink),
        (Box::new(|at| symlink("/nowhere", at).unwrap()), Refusal::Symlink),
        (Box::new(mkfifo), Refusal::NotRegular("FIFO")),
        (
            Box::new(|at| {
                // A socket's address is short; its name need not be.
                drop(std::os::unix::net::UnixListener::bind(site.path("socket")).unwrap());
                fs::rename(site.path("socket"), at).unwrap();
            }),
            Refusal::NotRegular("socket"),
        ),
        (Box::new(|at| fs::create_dir(at).unwrap()), Refusal::NotRegular("folder")),
        (
            Box::new(|at| {
                fs::create_dir_all(at.join("deep/er")).unwrap();
                fs::write(at.join("deep/er/file"), "x").unwrap();
            }),
            Refusal::NotRegular("folder"),
        ),
        (Box::new(|at| fs::hard_link(site.path("secret"), at).unwrap()), Refusal::HardLinked(2)),
        (
            Box::new(|at| {
                fs::write(at, "foreign").unwrap();
                chown(at, Some(65534), Some(65534)).unwrap();
            }),
            Refusal::OtherOwner { owner: 65534, ours: 0 },
        ),
    ]
}

#[test]
fn a4_an_entry_that_is_no_plain_file_of_ours_is_refused_and_removed() {
    let site = Site::new();
    for (plant, expected) in impostors(&site) {
        plant(&site.entry_path(&id("1.2.0")));
        let reason = within(5, || site.rejected(&id("1.2.0")));
        assert_eq!(refusal(&reason), Some(&expected), "{reason:?}");
        site.assert_cache_empty();
    }
    assert_eq!(fs::read(site.path("secret")).unwrap(), b"secret");
}

#[test]
fn a4_an_archive_that_is_no_plain_file_of_ours_is_refused_and_removed() {
    let site = Site::new();
    for (plant, expected) in impostors(&site) {
        let blob = site.blob_path(&site.store(&id("1.2.0"), b"binary", TarZst));
        fs::remove_file(&blob).unwrap();
        plant(&blob);
        let reason = within(5, || site.rejected(&id("1.2.0")));
        assert_eq!(refusal(&reason), Some(&expected), "{reason:?}");
        site.assert_cache_empty();
    }
    assert_eq!(fs::read(site.path("secret")).unwrap(), b"secret");
}

#[test]
fn a4_a_device_instead_of_an_archive_is_refused() {
    let site = Site::new();
    let blob = site.blob_path(&site.store(&id("1.2.0"), b"binary", TarZst));
    fs::remove_file(&blob).unwrap();
    let made = std::process::Command::new("mknod").arg(&blob).args(["c", "1", "5"]).status().unwrap();
    if !made.success() {
        // Some sandboxes forbid device nodes; a link to /dev/zero is played above.
        return;
    }
    let reason = within(5, || site.rejected(&id("1.2.0")));
    // A file system mounted nodev refuses before we do.
    let refused = refusal(&reason) == Some(&Refusal::NotRegular("device")) || matches!(reason, Reason::Blob(_));
    assert!(refused, "{reason:?}");
    site.assert_cache_empty();
}

#[test]
fn a4_storing_replaces_what_was_planted_in_its_way() {
    let site = Site::new();
    for (plant, _) in impostors(&site) {
        let good = site.store(&id("1.2.0"), b"binary", TarZst);
        let (entry, blob) = (site.entry_path(&id("1.2.0")), site.blob_path(&good));
        fs::remove_file(&entry).unwrap();
        fs::remove_file(&blob).unwrap();
        plant(&entry);
        plant(&blob);
        site.store(&id("1.2.0"), b"binary", TarZst);
        site.hit(&id("1.2.0"));
        site.assert_nothing_staged();
    }
    assert_eq!(fs::read(site.path("secret")).unwrap(), b"secret");
}

#[test]
fn a4_a_blob_folder_that_is_a_link_is_never_followed() {
    let site = Site::new();
    let good = site.store(&id("1.2.0"), b"binary", TarZst);
    let folder = site.blob_path(&good).parent().unwrap().to_owned();
    let elsewhere = site.path("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    let reason = site.rejected(&id("1.2.0"));
    assert_eq!(refusal(&reason), Some(&Refusal::Symlink), "{reason:?}");
    assert_eq!(files_below(&elsewhere).len(), 1, "nothing was removed through the link");
    site.store(&id("1.2.0"), b"binary", TarZst);
    site.hit(&id("1.2.0"));
    assert_eq!(files_below(&elsewhere).len(), 1, "nothing was written through the link");
}

#[test]
fn a5_an_archive_above_the_limit_is_refused_before_a_byte_is_read() {
    let mut site = Site::new();
    let good = site.store(&id("1.2.0"), &noise(4000, 1), TarZst);
    site.limits.archive = ByteLimit::kib(1);
    let reason = site.rejected(&id("1.2.0"));
    let expected = Refusal::TooLong { length: good.len() as u64, limit: 1024 };
    assert_eq!(refusal(&reason), Some(&expected), "{reason:?}");
    site.assert_cache_empty();
}

#[test]
fn a5_a_sparse_archive_of_1_tib_is_refused_at_once() {
    let site = Site::new();
    let good = site.store(&id("1.2.0"), b"binary", TarZst);
    File::options().write(true).open(site.blob_path(&good)).unwrap().set_len(1 << 40).unwrap();
    let reason = within(2, || site.rejected(&id("1.2.0")));
    assert!(matches!(refusal(&reason), Some(Refusal::TooLong { length, .. }) if *length == 1 << 40), "{reason:?}");
    site.assert_cache_empty();
}

#[test]
fn a5_a_signature_of_another_length_is_refused() {
    let site = Site::new();
    let archive = compress(&release_tar("exuvia", b"binary"), TarZst);
    for length in [0, 1, Signature::LEN - 1, Signature::LEN + 1] {
        site.plant_blob(&archive);
        site.plant_entry(&id("1.2.0"), ".tar.zst", &archive, &vec![7; length]);
        let reason = site.rejected(&id("1.2.0"));
        assert!(matches!(reason, Reason::SignatureLength(found) if found.0 == length), "{reason:?}");
        // What a malformed entry says about blobs is not believed either.
        assert_eq!(files_below(&site.path("cache/entries")).len(), 0);
    }
}

#[test]
fn a5_a_huge_entry_is_refused_before_a_byte_is_read() {
    let site = Site::new();
    File::create(site.entry_path(&id("1.2.0"))).unwrap().set_len(1 << 40).unwrap();
    let reason = within(2, || site.rejected(&id("1.2.0")));
    assert!(matches!(refusal(&reason), Some(Refusal::TooLong { limit: 16_384, .. })), "{reason:?}");
    site.assert_cache_empty();
}

#[test]
fn a5_a_deep_or_meaningless_entry_is_refused() {
    let site = Site::new();
    let digest = "ab".repeat(32);
    let wrong = [
        String::new(),
        "[".repeat(16_000),
        format!("{{\"x\":{}", "{\"x\":".repeat(3000)),
        "null".to_owned(),
        "\u{fffd}\0".to_owned(),
        format!(r#"{{"format":".tar.xz","length":1,"digest":"{digest}","signature":""}}"#),
        format!(r#"{{"format":".tar.gz","length":-1,"digest":"{digest}","signature":""}}"#),
        r#"{"format":".tar.gz","length":1,"digest":"../../../../etc/passwd","signature":""}"#.to_owned(),
        format!(r#"{{"format":".tar.gz","length":1,"digest":"{digest}","signature":"zz"}}"#),
        format!(r#"{{"format":".tar.gz","format":".tar.gz","length":1,"digest":"{digest}","signature":""}}"#),
    ];
    for text in wrong {
        fs::write(site.entry_path(&id("1.2.0")), &text).unwrap();
        let reason = site.rejected(&id("1.2.0"));
        assert!(matches!(reason, Reason::Malformed(_)), "{text}: {reason:?}");
        site.assert_cache_empty();
    }
}

#[test]
fn a6_a_cache_folder_that_is_a_link_or_somebody_elses_is_refused() {
    let site = Site::new();
    let refused = |path: &Path| match Cache::open(path) {
        Err(CacheError::Folder(error)) => error.refusal().cloned(),
        other => panic!("{other:?}"),
    };
    let link = site.path("link");
    symlink(site.path("cache"), &link).unwrap();
    assert_eq!(refused(&link), Some(Refusal::Symlink));
    let file = site.path("file");
    fs::write(&file, "").unwrap();
    assert_eq!(refused(&file), Some(Refusal::NotADirectory));
    let foreign = site.path("foreign");
    fs::create_dir(&foreign).unwrap();
    chown(&foreign, Some(65534), Some(65534)).unwrap();
    assert_eq!(refused(&foreign), Some(Refusal::OtherOwner { owner: 65534, ours: 0 }));
    assert_eq!(files_below(&foreign).len(), 0);
}

#[test]
fn a6_a_folder_inside_that_is_a_link_or_somebody_elses_is_refused() {
    for name in ["entries", "blobs", "locks", "listings"] {
        let site = Site::new();
        let inside = site.path("cache").join(name);
        fs::remove_dir(&inside).unwrap();
        symlink("/tmp", &inside).unwrap();
        let outcome = Cache::open(site.path("cache"));
        assert!(
            matches!(&outcome, Err(CacheError::Folder(error)) if error.refusal() == Some(&Refusal::Symlink)),
            "{outcome:?}"
        );
        lchown(&inside, Some(65534), Some(65534)).unwrap();
        fs::remove_file(&inside).unwrap();
        fs::create_dir(&inside).unwrap();
        chown(&inside, Some(65534), Some(65534)).unwrap();
        let outcome = Cache::open(site.path("cache"));
        assert!(
            matches!(&outcome, Err(CacheError::Folder(SysError::Refused { refusal: Refusal::OtherOwner { .. }, .. }))),
            "{outcome:?}"
        );
    }
}

#[test]
fn a6_a_cache_folder_with_loose_bits_is_tightened() {
    let site = Site::new();
    site.store(&id("1.2.0"), b"binary", TarZst);
    for path in [site.path("cache"), site.path("cache/entries"), site.path("cache/blobs")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let cache = Cache::open(site.path("cache")).unwrap();
    for path in [site.path("cache"), site.path("cache/entries"), site.path("cache/blobs")] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700, "{}", path.display());
    }
    // What was planted meanwhile is verified like everything else.
    assert!(matches!(cache.lookup(&id("1.2.0"), &site.keyring, &site.staging, &site.limits), Ok(Lookup::Hit(_))));
}

#[test]
fn a6_a_cache_folder_replaced_while_running_changes_nothing() {
    let site = Site::new();
    let binary = noise(1000, 1);
    site.store(&id("1.2.0"), &binary, TarZst);
    fs::rename(site.path("cache"), site.path("moved")).unwrap();
    symlink("/etc", site.path("cache")).unwrap();
    assert_eq!(site.extract(&site.hit(&id("1.2.0"))).unwrap().digest(), sha256(&binary));
    let archive = site.signed(&id("1.3.0"), &compress(&release_tar("exuvia", b"x"), TarZst), TarZst);
    site.cache.store(&archive, &site.extract(&archive).unwrap()).unwrap();
    assert_eq!(files_below(&site.path("moved/entries")).len(), 2);
}

#[test]
fn a7_an_older_archive_under_a_newer_name_is_refused() {
    let site = Site::new();
    let old = site.store(&id("1.2.0"), b"old and vulnerable", TarZst);
    fs::copy(site.entry_path(&id("1.2.0")), site.entry_path(&id("1.9.0"))).unwrap();
    assert!(not_signed(&site.rejected(&id("1.9.0"))));
    // The archive itself is sound, and 1.2.0 still names it.
    assert!(site.blob_path(&old).exists());
    site.hit(&id("1.2.0"));
}

#[test]
fn a8_an_archive_of_another_target_or_product_is_refused() {
    let site = Site::new();
    site.store(&id("1.2.0"), b"binary", TarGz);
    let entry = site.entry_path(&id("1.2.0"));
    for other in [
        id_of("exuvia", "1.2.0", "x86_64-unknown-linux-musl"),
        id_of("exuvia", "1.2.0", "aarch64-unknown-linux-gnu"),
        id_of("exuvi", "1.2.0", "x86_64-unknown-linux-gnu"),
        id_of("other", "1.2.0", "x86_64-unknown-linux-gnu"),
    ] {
        fs::copy(&entry, site.entry_path(&other)).unwrap();
        assert!(not_signed(&site.rejected(&other)), "{other}");
    }
    site.hit(&id("1.2.0"));
}

#[test]
fn a10_a_signed_archive_that_does_not_extract_is_never_stored_and_can_be_discarded() {
    let site = Site::new();
    let poison = compress(b"signed, but no tar at all", TarZst);
    let verified = site.signed(&id("1.2.0"), &poison, TarZst);
    // No StagedBinary comes of it, and a binary of another release is not taken for one.
    assert!(matches!(site.extract(&verified), Err(ArchiveError::Content { reason: ContentError::Truncated, .. })));
    let other = site.signed(&id("1.3.0"), &compress(&release_tar("exuvia", b"x"), TarZst), TarZst);
    let outcome = site.cache.store(&verified, &site.extract(&other).unwrap());
    assert!(matches!(outcome, Err(CacheError::NotItsBinary)));
    site.assert_cache_empty();
    // Planted, it verifies; the caller discards it, and it is met only once.
    site.plant_blob(&poison);
    site.plant_entry(&id("1.2.0"), ".tar.zst", &poison, site.sign(&id("1.2.0"), &poison).as_bytes());
    let hit = site.hit(&id("1.2.0"));
    assert!(matches!(site.extract(&hit), Err(ArchiveError::Content { .. })));
    site.cache.discard(&hit).unwrap();
    assert!(matches!(site.lookup(&id("1.2.0")), Lookup::Miss));
    site.assert_cache_empty();
}

#[test]
fn a10_a_rejected_entry_is_a_miss_the_next_time_even_when_its_archive_is_gone() {
    let site = Site::new();
    let good = site.store(&id("1.2.0"), b"binary", TarZst);
    fs::remove_file(site.blob_path(&good)).unwrap();
    assert!(matches!(site.rejected(&id("1.2.0")), Reason::BlobMissing));
    site.assert_cache_empty();
}

#[test]
fn a13_a_staged_binary_exchanged_before_it_is_published_is_refused() {
    let site = Site::new();
    let archive = site.signed(&id("1.2.0"), &compress(&release_tar("exuvia", b"good"), TarZst), TarZst);
    let staged = site.extract(&archive).unwrap();
    let [temporary] = files_below(&site.path("staging")).try_into().unwrap();
    fs::write(site.path("evil"), b"evil").unwrap();
    fs::rename(site.path("evil"), &temporary).unwrap();
    let outcome = staged.publish_into(&site.staging, "binary");
    assert!(matches!(&outcome, Err(error) if error.refusal() == Some(&Refusal::Exchanged)), "{outcome:?}");
    assert!(!site.path("staging/binary").exists());
    site.assert_nothing_staged();
}

#[test]
fn a13_the_private_copy_has_no_name_through_which_to_exchange_it() {
    let site = Site::new();
    site.store(&id("1.2.0"), &noise(100_000, 1), TarZst);
    let hit = site.hit(&id("1.2.0"));
    assert_eq!(files_below(&site.path("staging")).len(), 0);
    drop(hit);
}

#[test]
fn a14_builds_with_different_keys_do_not_remove_each_others_entries() {
    let site = Site::new();
    let newer = SecretKey::<Release>::generate().unwrap();
    let binary = noise(2000, 1);
    let bytes = site.store(&id("1.2.0"), &binary, TarZst);
    let signature = newer.sign(&Context::archive(&id("1.2.0")), &mut &*bytes).unwrap();
    // The newer build pins its key alone.
    let pinned = keyring(&[&newer]);
    let look = || site.cache.lookup(&id("1.2.0"), &pinned, &site.staging, &site.limits).unwrap();
    assert!(matches!(look(), Lookup::Miss));
    let verified = site.download(&bytes, TarZst).verify(&id("1.2.0"), &signature, &pinned).unwrap();
    site.cache.store(&verified, &site.extract(&verified).unwrap()).unwrap();
    assert!(matches!(look(), Lookup::Hit(_)));
    site.hit(&id("1.2.0"));
    assert_eq!(files_below(&site.path("cache/entries")).len(), 2);
    assert_eq!(files_below(&site.path("cache/blobs")).len(), 1, "both name the same bytes");
    // A build that pins both meets the bad one once, and then the good one.
    site.plant_entry(&id("1.2.0"), ".tar.zst", &bytes, &noise(Signature::LEN, 2));
    let both = keyring(&[&site.key, &newer]);
    let look_both = || site.cache.lookup(&id("1.2.0"), &both, &site.staging, &site.limits).unwrap();
    assert!(matches!(look_both(), Lookup::Rejected(_)));
    assert!(matches!(look_both(), Lookup::Hit(archive) if archive.key_id() == newer.public().id()));
    // A rejection in one build leaves the other's entry, and the bytes that it names.
    site.plant_entry(&id("1.2.0"), ".tar.zst", &bytes, &noise(Signature::LEN, 3));
    assert!(not_signed(&site.rejected(&id("1.2.0"))));
    assert!(matches!(look(), Lookup::Hit(_)));
}

#[test]
fn a14_an_entry_of_an_unpinned_key_is_neither_used_nor_removed_by_a_full_check() {
    let site = Site::new();
    let attacker = SecretKey::<Release>::generate().unwrap();
    site.store(&id("1.2.0"), b"good", TarZst);
    let bad = site.store(&id("1.3.0"), &noise(100, 1), TarZst);
    fs::write(site.blob_path(&bad), noise(bad.len(), 4)).unwrap();
    fs::write(site.entry_path_of(&id("1.4.0"), attacker.public().id()), "{}").unwrap();
    fs::write(site.path("cache/entries/README"), "hello").unwrap();
    let listed = site.cache.entries().unwrap();
    let count = |wanted: fn(&Listed) -> bool| listed.iter().filter(|entry| wanted(entry)).count();
    assert_eq!(count(|entry| matches!(entry, Listed::Archive(_))), 2);
    assert_eq!(count(|entry| matches!(entry, Listed::Unreadable(..))), 1);
    assert_eq!(count(|entry| matches!(entry, Listed::Foreign(_))), 1);
    let mut heard = 0;
    let checked = site.cache.verify_all(&site.keyring, &site.staging, &site.limits, &mut |_| heard += 1).unwrap();
    assert_eq!(heard, 3);
    assert!(matches!(&checked[..], [Checked::Good(_), Checked::Rejected(_), Checked::NotPinned(_)]), "{checked:?}");
    assert_eq!(files_below(&site.path("cache/entries")).len(), 3);
    site.assert_nothing_staged();
}

#[test]
fn a10_what_a_killed_writer_left_is_swept_at_the_next_open() {
    let site = Site::new();
    for dir in ["entries", "blobs", "listings"] {
        fs::write(site.path("cache").join(dir).join(".new-0123456789abcdef"), "half").unwrap();
    }
    // Planted ones that cannot be swept do not keep the cache from opening.
    fs::create_dir(site.path("cache/blobs/.new-folder")).unwrap();
    symlink("/dev/zero", site.path("cache/entries/.new-link")).unwrap();
    mkfifo(&site.path("cache/listings/.new-fifo"));
    within(5, || Cache::open(site.path("cache")).unwrap());
    let left = files_below(&site.path("cache"));
    assert!(!left.iter().any(|path| path.ends_with(".new-0123456789abcdef")), "{left:?}");
}
