//! What `repo gc` takes away and what it leaves: beside drafts, readers, publishers, and those who write there without
//! keys.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use exuvia::publish::repo::{Desk, Folder, Gone, Odd, Place, RepoError, Sweep, Swept};
use exuvia::tuf::metadata::RoleType;

use crate::cut_short::{Failing, copy_tree};
use crate::shop::{Shop, client_at, v};

const DAY: Duration = Duration::from_hours(24);
const BOTH: [&str; 2] = ["alice", "online"];

fn sweep(shop: &Shop, days: u32) -> Result<Swept, RepoError> {
    run(shop.place(), shop, days, false)
}

fn run(place: Box<dyn Place>, shop: &Shop, days: u32, dry_run: bool) -> Result<Swept, RepoError> {
    Desk::sweep(place, shop.now, Sweep { grace: DAY * days, dry_run }, &mut |_| ())
}

/// Every file below, in order.
fn all(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { all(&path) } else { vec![path] })
        .collect();
    found.sort();
    found
}

/// As if all of it had been written that many days before.
fn age(shop: &Shop, days: u32) {
    for path in all(&shop.path("repo")) {
        let file = fs::File::options().append(true).open(path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - DAY * days).unwrap();
    }
}

fn archive_of(shop: &Shop, version: &str) -> std::path::PathBuf {
    let files = all(&shop.path(&format!("repo/public/targets/exuvia/{version}")));
    files.into_iter().find(|file| file.extension().is_some_and(|end| end == "zst")).unwrap()
}

/// Why each went. An archive and its signature go in the order of their digests.
fn whys(swept: &Swept) -> Vec<Gone> {
    let mut whys: Vec<_> = swept.files.iter().map(|(_, _, gone)| *gone).collect();
    whys.sort_by_key(|gone| match gone {
        Gone::Archive => 0,
        Gone::Signature => 1,
        Gone::Superseded | Gone::Scratch => 2,
    });
    whys
}

#[test]
fn superseded_editions_go_after_the_grace_and_the_repository_goes_on() {
    let shop = Shop::open();
    for version in ["1.4.0", "1.5.0"] {
        shop.add(&mut shop.desk(), version, &BOTH).unwrap();
    }
    shop.rotate(RoleType::Root, &["spare"], &[], &["alice"]).unwrap();
    let before = shop.files("public/metadata");
    assert!(sweep(&shop, 7).unwrap().files.is_empty(), "all of it is new");
    age(&shop, 8);
    // A reader may have the edition before this one in hand; that of eight days ago is in nobody's.
    shop.add(&mut shop.desk(), "1.6.0", &BOTH).unwrap();
    let swept = sweep(&shop, 7).unwrap();
    let gone: Vec<_> = swept.files.iter().map(|(path, _, _)| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(gone, ["1.targets.json", "2.targets.json", "1.snapshot.json", "2.snapshot.json"]);
    assert!(swept.bytes() > 1000 && before.len() > 6);
    age(&shop, 8);
    let swept = sweep(&shop, 7).unwrap();
    assert_eq!(whys(&swept), [Gone::Superseded; 2]);
    let left = ["1.root.json", "2.root.json", "4.snapshot.json", "4.targets.json", "timestamp.json"];
    assert_eq!(shop.files("public/metadata"), left);
    assert!(sweep(&shop, 7).unwrap().files.is_empty());
    shop.offers(&["1.4.0", "1.5.0", "1.6.0"]);
    shop.add(&mut shop.desk(), "1.7.0", &BOTH).unwrap();
    shop.offers(&["1.4.0", "1.5.0", "1.6.0", "1.7.0"]);
}

#[test]
fn a_withdrawn_archive_is_emptied_after_the_grace_and_its_version_stays_what_it_was() {
    let shop = Shop::open();
    shop.add(&mut shop.desk(), "1.4.0", &BOTH).unwrap();
    age(&shop, 30);
    shop.desk().withdraw(&[v("1.4.0")], &shop.by(&BOTH)).unwrap();
    let archive = archive_of(&shop, "1.4.0");
    // However old the file is: who has just read the edition that names it may ask for it.
    let swept = sweep(&shop, 7).unwrap();
    assert!(swept.files.iter().all(|(path, _, _)| path.contains("1.targets") || path.contains("1.snapshot")));
    assert!(fs::metadata(&archive).unwrap().len() > 0);
    age(&shop, 8);
    let swept = sweep(&shop, 7).unwrap();
    assert_eq!(whys(&swept), [Gone::Archive, Gone::Signature, Gone::Superseded, Gone::Superseded]);
    assert_eq!(fs::metadata(&archive).unwrap().len(), 0);
    assert_eq!(shop.files("public/targets/exuvia/1.4.0").len(), 1, "the signature is gone");
    age(&shop, 8);
    let swept = sweep(&shop, 7).unwrap();
    assert_eq!((swept.files.len(), swept.remembered), (0, 1));

    shop.pack("other", "1.4.0", "something else");
    let refused = shop.add_packed(&mut shop.desk(), "other", "1.4.0", &BOTH);
    assert!(matches!(refused, Err(RepoError::PublishedOtherwise(_))), "{refused:?}");
    shop.offers(&[]);
    // The same archive may come back.
    shop.add_packed(&mut shop.desk(), "site", "1.4.0", &BOTH).unwrap();
    shop.offers(&["1.4.0"]);
}

#[test]
fn a_reader_in_the_middle_of_an_update_goes_on_with_what_it_has_begun() {
    let shop = Shop::open();
    shop.add(&mut shop.desk(), "1.4.0", &BOTH).unwrap();
    age(&shop, 30);
    let read = fs::read(shop.path("repo/public/metadata/timestamp.json")).unwrap();
    shop.desk().withdraw(&[v("1.4.0")], &shop.by(&BOTH)).unwrap();
    shop.add(&mut shop.desk(), "1.5.0", &BOTH).unwrap();
    sweep(&shop, 7).unwrap();
    age(&shop, 6);
    sweep(&shop, 7).unwrap();
    shop.offers(&["1.5.0"]);
    // Snapshot, targets and archive of the timestamp that it read before.
    copy_tree(&shop.path("repo"), &shop.path("reader"));
    fs::write(shop.path("reader/public/metadata/timestamp.json"), read).unwrap();
    assert_eq!(client_at(&shop.path("reader"), shop.now).unwrap(), ["1.4.0"]);
}

#[test]
fn what_a_draft_names_stays_however_long_it_waits() {
    let shop = Shop::new();
    shop.init(&shop.init_of(&["alice"], &["alice", "bob"]), &["alice", "bob", "online"]).unwrap();
    shop.add(&mut shop.desk(), "1.4.0", &["alice"]).unwrap();
    age(&shop, 100);
    assert!(sweep(&shop, 7).unwrap().files.is_empty());
    let bob = &shop.by(&["bob"])[0];
    shop.desk().sign_drafts(bob, &[RoleType::Targets]).unwrap();
    shop.desk().refresh(&shop.by(&["online"])).unwrap();
    shop.offers(&["1.4.0"]);
}

#[test]
fn the_files_of_a_release_that_was_never_staged_go() {
    let shop = Shop::open();
    shop.add(&mut shop.desk(), "1.4.0", &BOTH).unwrap();
    // The power failed after both files.
    shop.pack("site", "1.5.0", "1.5.0");
    let place = Failing { inner: Folder::open(&shop.path("repo")).unwrap(), left: Arc::new(AtomicUsize::new(2)) };
    let mut desk = Desk::open(Box::new(place), shop.now).unwrap();
    shop.add_packed(&mut desk, "site", "1.5.0", &BOTH).unwrap_err();
    drop(desk);
    fs::write(shop.path("repo/public/targets/exuvia/1.5.0/.new-0123456789abcdef"), "half a file").unwrap();
    let swept = sweep(&shop, 7).unwrap();
    assert_eq!((swept.files.len(), swept.unfinished), (0, 1), "it may be going on tomorrow");
    age(&shop, 8);
    let swept = sweep(&shop, 7).unwrap();
    assert_eq!(whys(&swept)[..2], [Gone::Archive, Gone::Signature]);
    shop.offers(&["1.4.0"]);
    shop.add_packed(&mut shop.desk(), "site", "1.5.0", &BOTH).unwrap();
    shop.offers(&["1.4.0", "1.5.0"]);
}

#[test]
fn nothing_goes_where_what_is_published_does_not_verify() {
    let shop = Shop::open();
    shop.add(&mut shop.desk(), "1.4.0", &BOTH).unwrap();
    shop.add(&mut shop.desk(), "1.5.0", &BOTH).unwrap();
    age(&shop, 100);
    for name in ["3.targets.json", "3.snapshot.json", "timestamp.json", "1.root.json"] {
        let path = shop.path("repo/public/metadata").join(name);
        let good = fs::read(&path).unwrap();
        let before = all(&shop.path("repo"));
        // As somebody would who wants it gone, and has no keys.
        let text = String::from_utf8(good.clone())
            .unwrap()
            .replace("\"targets\":{", "\"targets\":{ ")
            .replace("2031-", "2039-")
            .replace("2030-", "2039-");
        fs::write(&path, text).unwrap();
        for dry_run in [true, false] {
            let refused = run(shop.place(), &shop, 7, dry_run);
            assert!(matches!(refused, Err(RepoError::Published { .. })), "{name}: {refused:?}");
        }
        fs::remove_file(&path).unwrap();
        if name != "timestamp.json" && name != "1.root.json" {
            assert!(matches!(sweep(&shop, 7), Err(RepoError::Missing { .. })), "{name}");
        }
        fs::write(&path, good).unwrap();
        assert_eq!(all(&shop.path("repo")), before, "{name}");
    }
    fs::write(shop.path("repo/staged/targets.json"), "no metadata").unwrap();
    assert!(matches!(sweep(&shop, 7), Err(RepoError::Format { .. })));
    fs::remove_file(shop.path("repo/staged/targets.json")).unwrap();
    shop.offers(&["1.4.0", "1.5.0"]);
    age(&shop, 100);
    assert_eq!(sweep(&shop, 7).unwrap().files.len(), 4);
}

#[test]
fn a_place_without_a_timestamp_loses_nothing() {
    let shop = Shop::open();
    shop.add(&mut shop.desk(), "1.4.0", &BOTH).unwrap();
    age(&shop, 100);
    let timestamp = shop.path("repo/public/metadata/timestamp.json");
    let good = fs::read(&timestamp).unwrap();
    fs::remove_file(&timestamp).unwrap();
    assert!(sweep(&shop, 0).unwrap().files.is_empty());
    fs::write(&timestamp, good).unwrap();
    shop.offers(&["1.4.0"]);
    fs::create_dir(shop.path("empty")).unwrap();
    let nothing = run(Box::new(Folder::open(&shop.path("empty")).unwrap()), &shop, 7, false);
    assert!(matches!(nothing, Err(RepoError::NotARepository(_))));
}

#[test]
fn an_older_timestamp_that_was_put_back_costs_no_newer_release() {
    let shop = Shop::open();
    shop.add(&mut shop.desk(), "1.4.0", &BOTH).unwrap();
    let timestamp = shop.path("repo/public/metadata/timestamp.json");
    let old = fs::read(&timestamp).unwrap();
    shop.add(&mut shop.desk(), "1.5.0", &BOTH).unwrap();
    let newest = fs::read(&timestamp).unwrap();
    fs::write(&timestamp, old).unwrap();
    age(&shop, 100);
    let swept = sweep(&shop, 7).unwrap();
    assert!(swept.files.iter().all(|(path, _, _)| path.contains("/1.")), "{swept:?}");
    let odd: Vec<_> = swept.odd.iter().map(|(_, odd)| *odd).collect();
    assert_eq!(odd, [Odd::Newer, Odd::Newer]);
    shop.offers(&["1.4.0"]);
    fs::write(&timestamp, newest).unwrap();
    shop.offers(&["1.4.0", "1.5.0"]);
}

#[test]
fn names_that_no_repository_gives_are_left_and_named() {
    let shop = Shop::open();
    shop.add(&mut shop.desk(), "1.4.0", &BOTH).unwrap();
    let strange = [
        "public/index.html",
        "public/metadata/01.targets.json",
        "public/metadata/1.targets.json.bak",
        "public/metadata/2.bins.json",
        "public/targets/exuvia/1.4.0/notes.txt",
        "public/targets/other/1.0.0/a b%00\u{fc}",
        "staged/notes",
    ];
    for path in strange {
        fs::create_dir_all(shop.path("repo").join(path).parent().unwrap()).unwrap();
        fs::write(shop.path("repo").join(path), "x").unwrap();
    }
    age(&shop, 100);
    fs::write(shop.path("precious"), "nobody's business here").unwrap();
    std::os::unix::fs::symlink(shop.path("precious"), shop.path("repo/public/link")).unwrap();
    std::os::unix::fs::symlink(shop.path("."), shop.path("repo/public/targets/away")).unwrap();
    let swept = sweep(&shop, 7).unwrap();
    let odd: Vec<_> = swept.odd.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(odd.len(), strange.len() + 2);
    for path in strange {
        assert!(odd.contains(&path) && shop.path("repo").join(path).exists(), "{path}");
    }
    assert!(shop.path("precious").exists() && shop.path("repo/public/link").is_symlink());
    shop.offers(&["1.4.0"]);
}

#[test]
fn an_edition_in_hand_that_cannot_be_read_keeps_every_archive() {
    let shop = Shop::open();
    shop.add(&mut shop.desk(), "1.4.0", &BOTH).unwrap();
    age(&shop, 30);
    shop.desk().withdraw(&[v("1.4.0")], &shop.by(&BOTH)).unwrap();
    fs::write(shop.path("repo/public/metadata/2.targets.json"), "{}").unwrap();
    let swept = sweep(&shop, 7).unwrap();
    assert!(swept.odd.iter().any(|(path, odd)| path.ends_with("2.targets.json") && *odd == Odd::Unreadable));
    assert!(fs::metadata(archive_of(&shop, "1.4.0")).unwrap().len() > 0);
    age(&shop, 8);
    sweep(&shop, 7).unwrap();
    assert_eq!(fs::metadata(archive_of(&shop, "1.4.0")).unwrap().len(), 0);
}

/// A repository in which each kind of file has something to lose.
fn full() -> Shop {
    let shop = Shop::open();
    for version in ["1.4.0", "1.5.0"] {
        shop.add(&mut shop.desk(), version, &BOTH).unwrap();
    }
    shop.desk().withdraw(&[v("1.4.0")], &shop.by(&BOTH)).unwrap();
    fs::create_dir_all(shop.path("repo/doctor/old")).unwrap();
    fs::write(shop.path("repo/doctor/old/large"), "left by a check that was killed").unwrap();
    age(&shop, 8);
    shop
}

#[test]
fn a_dry_run_says_what_would_go_and_changes_nothing() {
    let shop = full();
    let before: Vec<_> = all(&shop.path("repo")).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let dry = run(shop.place(), &shop, 7, true).unwrap();
    assert_eq!(dry.files.len(), 9);
    let after: Vec<_> = all(&shop.path("repo")).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert!(before == after);
    assert_eq!(sweep(&shop, 7).unwrap().files, dry.files);
    shop.offers(&["1.5.0"]);
}

#[test]
fn a_run_that_is_cut_short_at_any_step_costs_readers_nothing_and_is_finished_by_the_next() {
    let shop = full();
    copy_tree(&shop.path("repo"), &shop.path("saved"));
    let restore = || {
        fs::remove_dir_all(shop.path("repo")).unwrap();
        copy_tree(&shop.path("saved"), &shop.path("repo"));
        age(&shop, 8);
    };
    sweep(&shop, 7).unwrap();
    let clean = all(&shop.path("repo"));
    for steps in 0.. {
        restore();
        let left = Arc::new(AtomicUsize::new(steps));
        let place = Failing { inner: Folder::open(&shop.path("repo")).unwrap(), left: left.clone() };
        let outcome = run(Box::new(place), &shop, 7, false);
        shop.offers(&["1.5.0"]);
        if outcome.is_ok() {
            assert_eq!((steps, left.load(Ordering::SeqCst)), (9, 0));
            break;
        }
        assert_eq!(sweep(&shop, 7).unwrap().files.len(), 9 - steps);
        assert_eq!(all(&shop.path("repo")), clean, "after {steps} steps");
        shop.offers(&["1.5.0"]);
    }
}

#[test]
fn a_publication_that_was_cut_short_long_ago_is_finished_first_and_leaves_readers_their_editions() {
    let shop = Shop::open();
    shop.add(&mut shop.desk(), "1.4.0", &BOTH).unwrap();
    shop.pack("site", "1.5.0", "1.5.0");
    // Two files, three drafts, targets and snapshot; not the timestamp.
    let place = Failing { inner: Folder::open(&shop.path("repo")).unwrap(), left: Arc::new(AtomicUsize::new(8)) };
    let mut desk = Desk::open(Box::new(place), shop.now).unwrap();
    shop.add_packed(&mut desk, "site", "1.5.0", &BOTH).unwrap_err();
    drop(desk);
    assert!(shop.files("public/metadata").contains(&"3.snapshot.json".to_owned()));
    age(&shop, 30);
    shop.offers(&["1.4.0"]);
    let dry = run(shop.place(), &shop, 7, true).unwrap();
    assert!(dry.published.is_empty());
    shop.offers(&["1.4.0"]);
    let swept = sweep(&shop, 7).unwrap();
    assert!(!swept.published.is_empty());
    // Who read the timestamp a moment ago goes on with these.
    let left = shop.files("public/metadata");
    assert!(left.contains(&"2.targets.json".to_owned()) && left.contains(&"2.snapshot.json".to_owned()), "{left:?}");
    assert!(!left.contains(&"1.targets.json".to_owned()));
    shop.offers(&["1.4.0", "1.5.0"]);
}

#[test]
fn a_run_that_lost_its_right_removes_nothing_more() {
    let shop = full();
    let before = all(&shop.path("repo"));
    let place = crate::cut_short::Overtaken(Folder::open(&shop.path("repo")).unwrap());
    let outcome = run(Box::new(place), &shop, 7, false);
    assert!(matches!(outcome, Err(RepoError::SweepOvertaken { removed: 0, .. })), "{outcome:?}");
    assert_eq!(all(&shop.path("repo")), before);
}

#[test]
fn beside_publishers_it_takes_turns() {
    let shop = Shop::open();
    let versions = ["1.1.0", "1.2.0", "1.3.0"];
    for version in versions {
        shop.pack("site", version, version);
    }
    std::thread::scope(|scope| {
        let shop = &shop;
        scope.spawn(move || {
            for version in versions {
                shop.add_packed(&mut shop.desk(), "site", version, &BOTH).unwrap();
            }
        });
        scope.spawn(move || {
            for _ in 0..8 {
                sweep(shop, 0).unwrap();
            }
        });
    });
    sweep(&shop, 0).unwrap();
    shop.offers(&versions);
    assert_eq!(shop.files("public/metadata").len(), 4);
}
