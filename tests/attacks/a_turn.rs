//! A9: the lock of a download, in the hands of somebody who never lets go.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use exuvia::cache::{Cache, GaveUp, Turn};
use exuvia::sys::Refusal;

use crate::archive_fixtures::{Site, id};

const PATIENCE: Duration = Duration::from_millis(400);

fn turn(cache: &Cache) -> Turn {
    cache.download_turn(&id("1.2.0"), PATIENCE, &mut |_| {})
}

fn lock_refusal(turn: Turn) -> Option<Refusal> {
    match turn {
        Turn::GaveUp(GaveUp::Lock(error)) => error.refusal().cloned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a9_one_at_a_time_and_each_release_for_itself() {
    let site = Site::new();
    let Turn::Mine(held) = turn(&site.cache) else { panic!("nobody else is there") };
    assert!(matches!(site.cache.download_turn(&id("1.3.0"), PATIENCE, &mut |_| {}), Turn::Mine(_)));
    assert!(matches!(turn(&site.cache), Turn::GaveUp(GaveUp::NoProgress(_))));
    drop(held);
    assert!(matches!(turn(&site.cache), Turn::Mine(_)));
}

#[test]
fn a9_a_lock_held_for_ever_without_progress_is_given_up_after_the_patience() {
    let site = Site::new();
    let _held = turn(&site.cache);
    let begun = Instant::now();
    assert!(matches!(turn(&site.cache), Turn::GaveUp(GaveUp::NoProgress(waited)) if waited >= PATIENCE));
    assert!((PATIENCE..20 * PATIENCE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[test]
fn a9_waiting_goes_on_while_the_holder_makes_progress() {
    let site = Site::new();
    // Wide, because a busy machine delays the holder, too.
    let (patience, step_every) = (Duration::from_secs(2), Duration::from_millis(600));
    let (begun, mut heard) = (Instant::now(), Vec::new());
    thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let cache = &site.cache;
        scope.spawn(move || {
            let Turn::Mine(mut mine) = turn(cache) else { panic!("nobody else is there") };
            tell.send(()).unwrap();
            for step in 1..=5 {
                thread::sleep(step_every);
                mine.progress(step * 1000);
            }
        });
        told.recv().unwrap();
        let next = site.cache.download_turn(&id("1.2.0"), patience, &mut |bytes| heard.push(bytes));
        assert!(matches!(next, Turn::Mine(_)), "{next:?}");
    });
    assert!(begun.elapsed() > patience);
    heard.dedup();
    assert!(heard.len() >= 3 && heard.is_sorted(), "{heard:?}");
}

#[test]
fn a9_a_counter_that_moves_for_ever_is_given_up_too() {
    let site = Site::new();
    let patience = Duration::from_millis(100);
    let held = File::create(site.path("cache/locks/exuvia@1.2.0@x86_64-unknown-linux-gnu")).unwrap();
    held.lock().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            use std::os::unix::fs::FileExt as _;
            let mut count = 100_000u32;
            while !over.load(Ordering::Relaxed) {
                held.write_all_at(count.to_string().as_bytes(), 0).unwrap();
                count += 1;
                thread::sleep(Duration::from_millis(5));
            }
        });
        let outcome = site.cache.download_turn(&id("1.2.0"), patience, &mut |_| {});
        over.store(true, Ordering::Relaxed);
        assert!(matches!(outcome, Turn::GaveUp(GaveUp::TooLong(_))), "{outcome:?}");
    });
}

#[test]
fn a9_a_note_that_is_no_number_or_endless_is_no_progress() {
    let site = Site::new();
    let held = File::create(site.path("cache/locks/exuvia@1.2.0@x86_64-unknown-linux-gnu")).unwrap();
    held.lock().unwrap();
    for note in [&b"\xff\xff"[..], b"soon", b"-1", b"99999999999999999999999"] {
        use std::os::unix::fs::FileExt as _;
        held.set_len(0).unwrap();
        held.write_all_at(note, 0).unwrap();
        assert!(matches!(turn(&site.cache), Turn::GaveUp(GaveUp::NoProgress(_))));
    }
    held.set_len(1 << 40).unwrap();
    assert!(matches!(turn(&site.cache), Turn::GaveUp(GaveUp::NoProgress(_))));
}

#[test]
fn a9_a_lock_file_replaced_while_it_is_held_costs_a_second_download_at_most() {
    let site = Site::new();
    let held = turn(&site.cache);
    let lock = site.path("cache/locks/exuvia@1.2.0@x86_64-unknown-linux-gnu");
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, "").unwrap();
    assert!(matches!(turn(&site.cache), Turn::Mine(_)));
    drop(held);
}

#[test]
fn a9_a_lock_that_is_a_link_is_never_followed() {
    let site = Site::new();
    let (lock, victim) = (site.path("cache/locks/exuvia@1.2.0@x86_64-unknown-linux-gnu"), site.path("victim"));
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &lock).unwrap();
    assert_eq!(lock_refusal(turn(&site.cache)), Some(Refusal::Symlink));
    fs::remove_file(&lock).unwrap();
    symlink(site.path("new"), &lock).unwrap();
    assert_eq!(lock_refusal(turn(&site.cache)), Some(Refusal::Symlink));
    assert!(!site.path("new").exists(), "nothing was made through the link");
    fs::remove_file(&lock).unwrap();
    // A second name for a file of ours: the counter must not be written into it.
    fs::hard_link(&victim, &lock).unwrap();
    assert_eq!(lock_refusal(turn(&site.cache)), Some(Refusal::HardLinked(2)));
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn a9_a_lock_that_is_a_fifo_a_folder_or_somebody_elses_is_refused_without_waiting() {
    let site = Site::new();
    let lock = site.path("cache/locks/exuvia@1.2.0@x86_64-unknown-linux-gnu");
    let begun = Instant::now();
    rustix::fs::mkfifoat(rustix::fs::CWD, &lock, rustix::fs::Mode::RWXU).unwrap();
    assert_eq!(lock_refusal(turn(&site.cache)), Some(Refusal::NotRegular("FIFO")));
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    assert_eq!(lock_refusal(turn(&site.cache)), Some(Refusal::NotRegular("folder")));
    fs::remove_dir(&lock).unwrap();
    fs::write(&lock, "").unwrap();
    std::os::unix::fs::chown(&lock, Some(65534), Some(65534)).unwrap();
    assert_eq!(lock_refusal(turn(&site.cache)), Some(Refusal::OtherOwner { owner: 65534, ours: 0 }));
    assert!(begun.elapsed() < 10 * PATIENCE);
    site.assert_cache_empty();
}
