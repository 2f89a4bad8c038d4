use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::names::Kind;
use super::reach::{Odd, Roots, Sorted, Times};
use crate::publish::repo::place::Stored;
use crate::tuf::metadata::{RoleType, RoleVersion};
use crate::types::Product;

const DAY: i64 = 24 * 60 * 60;

fn product() -> Product {
    "exuvia".parse().unwrap()
}

fn version(number: u64) -> RoleVersion {
    RoleVersion::new(number).unwrap()
}

/// Written on that day.
fn file(path: &str, day: i64) -> Stored {
    Stored { path: path.to_owned(), length: 7, modified: Timestamp::from_second(day * DAY).unwrap() }
}

fn edition(role: &str, number: u64, day: i64) -> Stored {
    file(&format!("public/metadata/{number}.{role}.json"), day)
}

fn archive(number: u64) -> String {
    format!("public/targets/exuvia/1.{number}.0/{}.exuvia-x86_64-unknown-linux-gnu.tar.zst", "ab".repeat(32))
}

fn roots(targets: u64, snapshot: u64, named: &[u64]) -> Roots {
    Roots {
        product: product(),
        targets: version(targets),
        snapshot: version(snapshot),
        editions: BTreeSet::new(),
        named: named.iter().map(|number| archive(*number)).collect(),
    }
}

/// A week of grace.
fn on_day(day: i64) -> Times {
    Times { now: Timestamp::from_second(day * DAY).unwrap(), grace: Duration::from_hours(7 * 24) }
}

fn over(sorted: &Sorted) -> Vec<(RoleType, u64)> {
    sorted.over.iter().map(|(role, number, _)| (*role, number.get())).collect()
}

#[test]
fn an_edition_s_time_counts_from_the_next_one_and_roots_stay() {
    let files = [
        edition("root", 1, 0),
        edition("root", 2, 1),
        edition("targets", 1, 0),
        edition("targets", 2, 10),
        edition("targets", 3, 20),
        edition("snapshot", 1, 0),
        edition("snapshot", 2, 20),
        file("public/metadata/timestamp.json", 20),
    ];
    let sort = |day| Sorted::of(&files, &roots(3, 2, &[]), on_day(day));
    assert!(over(&sort(16)).is_empty());
    assert_eq!(sort(16).in_hand, [version(2), version(1)]);
    assert_eq!(over(&sort(17)), [(RoleType::Targets, 1)]);
    assert_eq!(over(&sort(26)), [(RoleType::Targets, 1)]);
    assert_eq!(over(&sort(27)), [(RoleType::Targets, 1), (RoleType::Targets, 2), (RoleType::Snapshot, 1)]);
}

#[test]
fn the_editions_before_the_published_ones_stay_while_the_timestamp_is_new() {
    // The next edition was written long before the timestamp that named it.
    let files = [
        edition("targets", 1, 0),
        edition("targets", 2, 1),
        edition("snapshot", 1, 0),
        edition("snapshot", 2, 1),
        file("public/metadata/timestamp.json", 30),
    ];
    let sorted = Sorted::of(&files, &roots(2, 2, &[]), on_day(30));
    assert!(over(&sorted).is_empty());
    assert_eq!(sorted.in_hand, [version(1)]);
    let sorted = Sorted::of(&files, &roots(2, 2, &[]), on_day(31));
    assert_eq!(over(&sorted), [(RoleType::Targets, 1), (RoleType::Snapshot, 1)]);
}

#[test]
fn a_gap_between_editions_makes_their_time_longer_and_never_shorter() {
    let files = [edition("targets", 1, 0), edition("targets", 9, 50), file("public/metadata/timestamp.json", 50)];
    assert!(over(&Sorted::of(&files, &roots(9, 1, &[]), on_day(56))).is_empty());
    assert_eq!(over(&Sorted::of(&files, &roots(9, 1, &[]), on_day(57))), [(RoleType::Targets, 1)]);
    // Nor does a clock that was set back in between.
    let files = [edition("targets", 1, 40), edition("targets", 2, 3), file("public/metadata/timestamp.json", 3)];
    assert!(over(&Sorted::of(&files, &roots(2, 1, &[]), on_day(46))).is_empty());
    assert_eq!(over(&Sorted::of(&files, &roots(2, 1, &[]), on_day(47))), [(RoleType::Targets, 1)]);
}

#[test]
fn what_is_newer_than_published_or_named_otherwise_is_left_for_people() {
    let files = [
        edition("targets", 1, 0),
        edition("targets", 2, 0),
        file("public/metadata/notes.txt", 0),
        file("public/targets/other/file", 0),
        file("staged/targets.json~", 0),
    ];
    let sorted = Sorted::of(&files, &roots(1, 1, &[]), on_day(400));
    let odd: Vec<_> = sorted.odd.iter().map(|(path, odd)| (path.as_str(), *odd)).collect();
    let left = ["public/metadata/2.targets.json", "public/metadata/notes.txt", "public/targets/other/file"];
    assert_eq!(odd[0], (left[0], Odd::Newer));
    assert_eq!(odd[1..], [(left[1], Odd::Name), (left[2], Odd::Name), ("staged/targets.json~", Odd::Name)]);
    assert!(over(&sorted).is_empty() && sorted.unnamed.is_empty());
    assert_eq!(sorted.in_hand, [version(2)]);
}

#[test]
fn an_archive_goes_when_nobody_names_it_and_its_name_is_remembered() {
    let empty = Stored { length: 0, ..file(&archive(4), 0) };
    let signature = file(&format!("{}.sig", archive(2)), 0);
    let files = [file(&archive(1), 0), file(&archive(2), 0), file(&archive(3), 99), empty, signature];
    let mut sorted = Sorted::of(&files, &roots(1, 1, &[1]), on_day(100));
    assert_eq!((sorted.kept, sorted.remembered), (2, 1));
    let kinds: Vec<_> = sorted.unnamed.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::Archive, Kind::Signature]);
    sorted.spare(&[archive(2)].into());
    assert_eq!((sorted.kept, sorted.unnamed.len()), (3, 1), "the signature is named by itself");
}

/// What is removed, in order: an archive is emptied.
fn apply(files: &[Stored], sorted: &Sorted, steps: usize) -> Vec<Stored> {
    let unnamed = sorted.unnamed.iter().map(|(kind, file)| (*kind == Kind::Archive, &file.path));
    let others = sorted.over.iter().map(|(_, _, file)| file).chain(&sorted.scratch).map(|file| (false, &file.path));
    let gone: Vec<_> = unnamed.chain(others).take(steps).collect();
    let left = files.iter().filter_map(|file| match gone.iter().find(|(_, path)| **path == file.path) {
        None => Some(file.clone()),
        // It was written just now.
        Some((true, _)) => Some(Stored { length: 0, modified: Timestamp::MAX, ..file.clone() }),
        Some((false, _)) => None,
    });
    left.collect()
}

fn any_files() -> impl Strategy<Value = Vec<Stored>> {
    let editions = prop::collection::btree_map(
        (prop::sample::select(vec!["root", "targets", "snapshot"]), 1_u64..9),
        0_i64..60,
        0..20,
    );
    let archives = prop::collection::btree_map(0_u64..8, (0_i64..60, any::<bool>(), any::<bool>()), 0..8);
    let odd = prop::collection::btree_set(
        prop::sample::select(vec!["public/x", "public/metadata/0.root.json", "staged/a"]),
        0..3,
    );
    (editions, archives, odd, 0_i64..60).prop_map(|(editions, archives, odd, timestamp)| {
        let mut files = vec![file("public/metadata/timestamp.json", timestamp)];
        files.extend(editions.into_iter().map(|((role, number), day)| edition(role, number, day)));
        for (number, (day, is_empty, has_signature)) in archives {
            files.push(Stored { length: u64::from(!is_empty), ..file(&archive(number), day) });
            files.extend(has_signature.then(|| file(&format!("{}.sig", archive(number)), day)));
        }
        files.extend(odd.into_iter().map(|path| file(path, 0)));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    })
}

proptest! {
    #[test]
    fn nothing_that_is_held_on_to_ever_goes_and_a_run_that_is_cut_short_is_finished(
        mut files in any_files(),
        (targets, snapshot) in (1_u64..9, 1_u64..9),
        drafts in prop::collection::btree_set((prop::sample::select(vec![RoleType::Targets, RoleType::Snapshot]), (1_u64..9).prop_map(version)), 0..3),
        named in prop::collection::vec(0_u64..8, 0..6),
        day in 0_i64..90,
        steps in 0_usize..40,
    ) {
        for published in [edition("targets", targets, day.min(5)), edition("snapshot", snapshot, day.min(5))] {
            files.retain(|file| file.path != published.path);
            files.push(published);
        }
        let roots = Roots { editions: drafts, ..roots(targets, snapshot, &named) };
        let times = on_day(day);
        let sorted = Sorted::of(&files, &roots, times);
        let after = apply(&files, &sorted, usize::MAX);
        for file in &files {
            let stays = after.iter().any(|other| other == file);
            let must = match Kind::of(&file.path, &roots.product) {
                Kind::Edition(RoleType::Root, _) | Kind::Timestamp | Kind::Draft | Kind::Foreign => true,
                Kind::Edition(role, number) => {
                    let published = if role == RoleType::Targets { targets } else { snapshot };
                    number.get() >= published || roots.editions.contains(&(role, number))
                }
                Kind::Archive | Kind::Signature => roots.named.contains(&file.path),
                Kind::Scratch => false,
            };
            prop_assert!(stays || !must, "{}", file.path);
            let is_young = file.modified > times.now.checked_sub(times.grace).unwrap();
            prop_assert!(stays || !is_young, "{}", file.path);
            if matches!(Kind::of(&file.path, &roots.product), Kind::Archive) {
                prop_assert!(after.iter().any(|other| other.path == file.path), "its name stays: {}", file.path);
            }
        }
        let again = Sorted::of(&after, &roots, times);
        prop_assert!(again.over.is_empty() && again.unnamed.is_empty() && again.scratch.is_empty());
        // Cut short after any step, and begun again.
        let part = apply(&files, &sorted, steps);
        let finished = apply(&part, &Sorted::of(&part, &roots, times), usize::MAX);
        prop_assert_eq!(finished, after);
    }
}
