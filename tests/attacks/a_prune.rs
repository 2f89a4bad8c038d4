//! Tidying the shared cache: what goes, what stays, and what somebody is working on.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use exuvia::cache::{Cache, Keep, Lookup, Pruned, Turn};
use exuvia::types::{ArchiveFormat, ByteLimit};

use crate::archive_fixtures::{Site, id, noise};

const DAY: Duration = Duration::from_hours(24);
const ALL: Keep = Keep { max_size: ByteLimit::bytes(1 << 40), max_age: Duration::from_hours(24 * 365) };

/// Stores releases of about 100 kB each; the first one is the oldest, by a day each.
fn filled(versions: &[&str]) -> (Site, Vec<Vec<u8>>) {
    let site = Site::new();
    let mut archives = Vec::new();
    for (n, version) in versions.iter().enumerate() {
        let archive = site.store(&id(version), &noise(100_000, n as u64 + 1), ArchiveFormat::ALL[0]);
        age(&site.entry_path(&id(version)), DAY * u32::try_from(versions.len() - n).unwrap());
        age(&site.blob_path(&archive), DAY * u32::try_from(versions.len() - n).unwrap());
        archives.push(archive);
    }
    (site, archives)
}

fn age(path: &Path, by: Duration) {
    let stored = FileTimes::new().set_modified(SystemTime::now() - by);
    File::options().write(true).open(path).unwrap().set_times(stored).unwrap();
}

fn prune(cache: &Cache, keep: &Keep) -> Pruned {
    cache.prune(keep, SystemTime::now(), false).unwrap()
}

fn versions(pruned: &Pruned) -> Vec<String> {
    pruned.removed.iter().map(|entry| entry.name.id().version.to_string()).collect()
}

fn is_there(site: &Site, version: &str) -> bool {
    matches!(site.lookup(&id(version)), Lookup::Hit(_))
}

#[test]
fn a_prune_by_age_removes_what_is_older_and_nothing_else() {
    let (site, archives) = filled(&["1.0.0", "1.1.0", "1.2.0"]);
    let pruned = prune(&site.cache, &Keep { max_age: DAY * 3 / 2, ..ALL });
    assert_eq!(versions(&pruned), ["1.0.0", "1.1.0"]);
    assert_eq!(pruned.left, archives[2].len() as u64);
    assert!(!site.blob_path(&archives[0]).exists() && !site.entry_path(&id("1.0.0")).exists());
    assert!(is_there(&site, "1.2.0") && !is_there(&site, "1.1.0"));
    site.assert_nothing_staged();
}

#[test]
fn a_prune_by_size_removes_the_oldest_first() {
    let (site, archives) = filled(&["1.0.0", "1.1.0", "1.2.0"]);
    let room = ByteLimit::bytes(archives[1].len() as u64 + archives[2].len() as u64);
    assert_eq!(versions(&prune(&site.cache, &Keep { max_size: room, ..ALL })), ["1.0.0"]);
    assert_eq!(versions(&prune(&site.cache, &Keep { max_size: room, ..ALL })), Vec::<String>::new());
    assert!(is_there(&site, "1.1.0") && is_there(&site, "1.2.0"));
}

#[test]
fn a_dry_run_says_the_same_and_removes_nothing() {
    let (site, _) = filled(&["1.0.0", "1.1.0"]);
    let keep = Keep { max_age: Duration::ZERO, ..ALL };
    let dry = site.cache.prune(&keep, SystemTime::now(), true).unwrap();
    assert_eq!((versions(&dry), dry.left), (vec!["1.0.0".to_owned(), "1.1.0".to_owned()], 0));
    assert!(is_there(&site, "1.0.0") && is_there(&site, "1.1.0"));
    assert_eq!(prune(&site.cache, &keep), dry);
    site.assert_cache_empty();
}

#[test]
fn a_release_whose_download_somebody_holds_is_left_alone() {
    let (site, _) = filled(&["1.0.0", "1.1.0"]);
    let turn = site.cache.download_turn(&id("1.0.0"), DAY, &mut |_| {});
    assert!(matches!(turn, Turn::Mine(_)));
    let keep = Keep { max_age: Duration::ZERO, ..ALL };
    let pruned = prune(&site.cache, &keep);
    assert_eq!(versions(&pruned), ["1.1.0"]);
    assert_eq!(pruned.busy.len(), 1);
    assert!(is_there(&site, "1.0.0"));
    drop(turn);
    assert_eq!(versions(&prune(&site.cache, &keep)), ["1.0.0"]);
}

#[test]
fn an_archive_that_no_entry_names_goes_when_it_is_old_enough_to_be_nobodys() {
    let (site, archives) = filled(&["1.0.0"]);
    fs::remove_file(site.entry_path(&id("1.0.0"))).unwrap();
    let young = noise(1000, 9);
    site.plant_blob(&young);
    let pruned = prune(&site.cache, &ALL);
    assert_eq!((pruned.strays, pruned.left), (1, 1000));
    assert!(!site.blob_path(&archives[0]).exists() && site.blob_path(&young).exists());
}

#[test]
fn an_archive_with_two_names_stays_until_the_second_goes() {
    let (site, archives) = filled(&["1.0.0"]);
    site.plant_entry(&id("1.5.0"), ArchiveFormat::ALL[0].suffix(), &archives[0], &[0; 3309]);
    let pruned = prune(&site.cache, &Keep { max_age: DAY / 2, ..ALL });
    assert_eq!((versions(&pruned), pruned.left), (vec!["1.0.0".to_owned()], archives[0].len() as u64));
    assert!(site.blob_path(&archives[0]).exists());
}

#[test]
fn a_planted_lock_entry_or_folder_misleads_nobody() {
    let (site, _) = filled(&["1.0.0", "1.1.0"]);
    let victim = site.path("victim");
    fs::write(&victim, "precious").unwrap();
    let lock = site.path("cache/locks").join(format!("{}@1.0.0@{}", id("1.0.0").product, id("1.0.0").target));
    symlink(&victim, lock).unwrap();
    symlink(&victim, site.entry_path(&id("1.3.0"))).unwrap();
    fs::create_dir_all(site.path("elsewhere/cd")).unwrap();
    symlink(site.path("elsewhere"), site.path("cache/blobs/zz")).unwrap();
    let later = SystemTime::now() + DAY;
    let pruned = site.cache.prune(&Keep { max_age: Duration::ZERO, ..ALL }, later, false).unwrap();
    assert_eq!(versions(&pruned), ["1.1.0", "1.3.0"]);
    assert_eq!(pruned.busy.len(), 1);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(site.path("elsewhere/cd").exists());
}
