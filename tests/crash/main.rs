//! Kills, failing disks and power cuts at each kind of step of an upgrade. `scripts/prove-crash-safety`
//! plays every step, and in every way.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#![allow(clippy::disallowed_methods, reason = "tests set up files")]
#![allow(unreachable_pub, reason = "one crate of tests")]

#[path = "../support/http_server.rs"]
mod http_server;
#[path = "../support/port.rs"]
mod port;
#[path = "../support/program.rs"]
mod program;
#[path = "../e2e/support/mod.rs"]
mod support;

mod lab;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lab::call::errors_of;
use lab::campaign::{Case, KILLS, places, play, turns};
use lab::point::{Place, Point};
use lab::power::Remains;
use lab::story::{End, Story};
use lab::trace::Blow;
use nix::libc;
use support::builds;

/// How many stories are told at a time. They mostly wait.
const JOBS: usize = 14;

/// One test at a time: each has its own jobs.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays the cases, and returns how each ended. What was not reached is counted against the test only
/// where that is more than threads that take turns explain.
#[track_caller]
fn all_well(cases: &[Case]) {
    assert!(cases.len() >= 15, "only {} cases: the story was not recorded", cases.len());
    let ends = play(cases, JOBS, |_, _| ());
    let mut wrong = Vec::new();
    let mut missed = 0;
    for (case, end) in cases.iter().zip(ends) {
        match end {
            Ok(End::NotReached) => missed += 1,
            Ok(_) => {}
            Err(reason) => wrong.push(format!("{case}: {reason}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
    assert!(missed * 20 <= cases.len(), "{missed} of {} points were not reached", cases.len());
}

#[test]
fn l1_a_kill_at_each_step_of_an_upgrade_leaves_old_or_new_and_ends_upgraded() {
    let _turn = turn();
    let story = Story::Upgrade;
    // Each place in one of the four ways to be killed there.
    let cases: Vec<_> = places(&story.record())
        .into_iter()
        .zip(KILLS.into_iter().cycle())
        .map(|(point, blow)| Case::Blow { story, point, blow })
        .collect();
    all_well(&cases);
}

#[test]
fn l1_a_kill_in_the_recovery_from_a_kill_leaves_old_or_new_and_ends_upgraded() {
    let _turn = turn();
    let story = Story::Upgrade;
    let turns = turns(&story.record());
    let mut cases = Vec::new();
    // A kill with a trial under way; one that is announced as committed; one that is committed.
    let trial = turns.iter().filter(|point| point.place.path.ends_with("nodes/one.json")).nth(2);
    let announced = turns.iter().rev().find(|point| point.place.path == "bin/exuvia");
    let recorded = turns.iter().rev().find(|point| point.place.path.ends_with("/install.json"));
    for first in [trial, announced, recorded].into_iter().flatten() {
        let kills = KILLS.into_iter().take(2).cycle();
        for (second, blow) in places(&story.record_recovery(first)).into_iter().step_by(3).zip(kills) {
            cases.push(Case::Twice { story, first: first.clone(), second, blow });
        }
    }
    all_well(&cases);
}

#[test]
fn l1_a_power_cut_that_takes_what_was_not_synced_leaves_old_or_new_and_ends_upgraded() {
    let _turn = turn();
    let story = Story::Upgrade;
    let cases: Vec<_> = story.remains().into_iter().step_by(3).map(|remains| Case::Cut { story, remains }).collect();
    all_well(&cases);
}

/// The steps of a migration: what touches the state, or the record that pairs it with its version.
fn of_the_state(story: Story) -> Vec<Point> {
    let touches = |point: &Point| {
        let Place { role, path, .. } = &point.place;
        role.starts_with("errand/") || path.contains("data/one/state") || path.contains("data/one/snapshots")
    };
    let calls = story.record();
    let records = turns(&calls).into_iter().filter(|point| point.place.path.ends_with("nodes/one.json"));
    places(&calls).into_iter().filter(touches).chain(records).collect()
}

#[test]
fn x4_a_kill_at_each_step_of_a_migration_leaves_binary_and_state_that_match() {
    let _turn = turn();
    let mut cases = Vec::new();
    for story in [Story::Migrate, Story::BadMigration] {
        let kills = of_the_state(story).into_iter().zip(KILLS.into_iter().cycle());
        cases.extend(kills.map(|(point, blow)| Case::Blow { story, point, blow }));
    }
    all_well(&cases);
}

#[test]
fn x4_an_error_at_each_step_of_a_migration_leaves_binary_and_state_that_match() {
    let _turn = turn();
    let mut cases = Vec::new();
    for story in [Story::Migrate, Story::BadMigration] {
        cases.extend(of_the_state(story).into_iter().enumerate().map(|(at, point)| {
            let errors = errors_of(&point.place.call);
            Case::Blow { story, point, blow: Blow::Fail(errors[at % errors.len()].1) }
        }));
    }
    all_well(&cases);
}

#[test]
fn x4_a_power_cut_in_a_migration_leaves_binary_and_state_that_match() {
    let _turn = turn();
    let story = Story::BadMigration;
    let of_the_state =
        |remains: &Remains| remains.after.contains("data/one") || remains.after.contains("nodes/one.json");
    let remains = story.remains().into_iter().filter(of_the_state).step_by(3);
    all_well(&remains.map(|remains| Case::Cut { story, remains }).collect::<Vec<_>>());
}

#[test]
fn l2_an_error_at_each_step_of_an_upgrade_ends_upgraded_or_vetoed_and_the_node_keeps_running() {
    let _turn = turn();
    let story = Story::Upgrade;
    let cases: Vec<_> = places(&story.record())
        .into_iter()
        .enumerate()
        .map(|(at, point)| {
            let errors = errors_of(&point.place.call);
            let blow = Blow::Fail(errors[at % errors.len()].1);
            Case::Blow { story, point, blow }
        })
        .collect();
    all_well(&cases);
}

#[test]
fn l2_a_disk_that_is_full_for_a_while_delays_an_upgrade_and_stops_no_node() {
    let _turn = turn();
    let story = Story::Upgrade;
    let turns = turns(&story.record()).into_iter();
    let cases: Vec<_> = turns.map(|point| Case::Blow { story, point, blow: Blow::Full }).collect();
    all_well(&cases);
}

/// One case, which must end so.
#[track_caller]
fn ends(story: Story, point: &str, blow: Blow, end: End) {
    let _turn = turn();
    let point = point.parse().expect("a point");
    let case = Case::Blow { story, point, blow };
    let ends = play(std::slice::from_ref(&case), 1, |_, _| ());
    assert_eq!(ends, [Ok(end)], "{case}");
}

#[test]
fn l2_a_full_disk_at_the_first_start_is_no_install_that_may_not_be_written() {
    let blow = Blow::Fail(libc::ENOSPC);
    ends(Story::Upgrade, "launcher/committed mkdirat bin/.exuvia #1", blow, End::Upgraded);
}

#[test]
fn l5_an_install_that_may_not_be_written_for_a_moment_is_upgraded_without_a_restart() {
    for errno in [libc::EACCES, libc::EROFS] {
        ends(Story::Upgrade, "launcher/committed mkdirat bin/.exuvia #1", Blow::Fail(errno), End::Upgraded);
    }
}

#[test]
fn l2_a_commit_that_cannot_be_noted_stands_and_is_noted_later() {
    ends(Story::Upgrade, "launcher/1.1.0 fsync bin #1", Blow::Fail(libc::EIO), End::Upgraded);
    let blow = Blow::Fail(libc::ENOSPC);
    ends(Story::Upgrade, "launcher/1.1.0 renameat bin/.exuvia/install.json #2", blow, End::Upgraded);
}

#[test]
fn l2_a_verdict_that_cannot_be_recorded_is_recorded_later() {
    let blow = Blow::Fail(libc::EDQUOT);
    ends(Story::Upgrade, "launcher/1.1.0 renameat bin/.exuvia/nodes/one.json #1", blow, End::Upgraded);
}

#[test]
fn l2_a_verdict_for_which_the_history_has_no_room_is_told_there_later() {
    let blow = Blow::Fail(libc::ENOSPC);
    ends(Story::Upgrade, "worker/1.1.0 pwrite64 data/one/ledger.db-wal #1", blow, End::Upgraded);
}

#[test]
fn l2_a_lease_that_cannot_be_given_back_is_given_back_later() {
    ends(Story::Upgrade, "launcher/1.1.0 unlinkat bin/.exuvia/lease.json #1", Blow::Fail(libc::EIO), End::Upgraded);
}

#[test]
fn l2_a_candidate_that_meets_a_full_disk_is_tried_again_and_not_vetoed() {
    let blow = Blow::Fail(libc::ENOSPC);
    ends(Story::Upgrade, "worker/1.1.0 openat data/one/ledger.lock #1", blow, End::Upgraded);
}

#[test]
fn l1_a_pin_for_a_rollback_that_a_kill_prevented_is_lifted() {
    let after = Blow::Kill { whole: true, after: true };
    ends(Story::GoBack, "cli/committed renameat bin/.exuvia/policy.json #1", after, End::Upgraded);
}

/// Every place at which a story touches the disk stands in a list that is read before it is changed:
/// `UPDATE_STEPS=1` writes it anew. What takes turns differs from run to run, so not each place is met
/// each time; one that nobody listed is news.
#[test]
fn every_step_that_touches_the_disk_is_listed() {
    let _turn = turn();
    let update = std::env::var_os("UPDATE_STEPS").is_some();
    let news = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for story in Story::ALL {
            let news = &news;
            scope.spawn(move || {
                let listed: BTreeSet<String> = listed(story).into_iter().collect();
                let found: BTreeSet<String> = story.record().into_iter().map(|point| point.place.to_string()).collect();
                if update {
                    let lines: Vec<String> = found.into_iter().collect();
                    fs::write(list(story), lines.join("\n") + "\n").unwrap();
                    return;
                }
                let mut news = news.lock().unwrap();
                news.extend(found.difference(&listed).map(|line| format!("{story}: {line} is not listed")));
                let missed: Vec<_> = listed.difference(&found).collect();
                // A candidate that fails early may have come to open the rest meanwhile, or not.
                if missed.len() * 12 > listed.len() {
                    news.push(format!("{story}: these are listed, and did not happen: {missed:#?}"));
                }
            });
        }
    });
    let news = news.into_inner().unwrap();
    assert!(news.is_empty(), "tests/crash/steps (UPDATE_STEPS=1 writes it anew):\n{}", news.join("\n"));
}

#[test]
fn the_manual_says_how_many_steps_there_are() {
    let page = fs::read_to_string(builds::root().join("src/manual/flow.md")).unwrap();
    for story in Story::ALL {
        let line = format!("| `{story}` | {} |", listed(story).len());
        assert!(page.contains(&line), "src/manual/flow.md must say: {line}");
    }
}

fn list(story: Story) -> PathBuf {
    builds::root().join(format!("tests/crash/steps/{story}.txt"))
}

fn listed(story: Story) -> Vec<String> {
    fs::read_to_string(list(story)).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The laboratory finds what it looks for: with a disk that only pretends to sync new binaries, a power
/// cut leaves a committed path that nobody can start.
#[test]
fn a_power_cut_on_a_disk_that_lies_about_a_sync_is_noticed() {
    let _turn = turn();
    let story = Story::Upgrade;
    let remains = story.remains_on_a_disk_that_ignores("fsync bin/.exuvia/staging/.new-*");
    let cases: Vec<_> = remains.into_iter().rev().take(4).map(|remains| Case::Cut { story, remains }).collect();
    let ends = play(&cases, JOBS, |_, _| ());
    assert!(ends.iter().any(Result::is_err), "{ends:?}");
}
