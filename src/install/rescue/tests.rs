#![allow(clippy::disallowed_methods, reason = "tests set up files")]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use serde_json::json;

use super::super::tests::{SPAN, Site, bytes, installed, names, node, put, verdict};
use super::super::{Binary, Purpose, StartCheck, StartEnd, VerdictKind};
use super::*;

/// Version 1.1.0 was committed over 1.0.0, which had come up before, by node `a`.
fn committed_anew() -> Site {
    let site = Site::new();
    came_up(&site, "a", "1.0.0");
    commit(&site, "a", "1.1.0");
    site
}

fn commit(site: &Site, name: &str, version: &str) {
    let candidate = site.stage(version);
    let epoch = site.lease(name, &candidate, SPAN).unwrap();
    site.install.arm_rescue(&candidate).unwrap();
    site.install.commit(&candidate, epoch).unwrap();
    site.install.release_lease(epoch).unwrap();
    let mut record = site.install.node(&node(name)).unwrap().unwrap();
    record.previous = Some(std::mem::replace(&mut record.running, candidate));
    record.conclude(verdict(version, VerdictKind::Good));
    site.install.write_node(&node(name), &record).unwrap();
}

/// The committed binary as a launcher of that version finds itself.
fn own(site: &Site) -> Binary {
    Binary::open(site.install.home(), site.install.committed_name()).unwrap()
}

/// The node's cold start led to READY.
fn came_up(site: &Site, name: &str, runs: &str) -> bool {
    site.install.prove_start(&node(name), &own(site), &installed(runs), None).unwrap()
}

fn rescue(site: &Site) -> Binary {
    Binary::open(site.install.dir(), Install::RESCUE).unwrap()
}

fn check(site: &Site, name: &str) -> StartCheck {
    site.install.check_start(&rescue(site), &node(name), None, false).unwrap()
}

#[track_caller]
fn counted(site: &Site, name: &str, start: u8) {
    assert_eq!(check(site, name), StartCheck::Counted { against: installed("1.1.0"), start });
}

#[track_caller]
fn put_back(check: StartCheck) -> PutBack {
    let StartCheck::PutBack(put_back) = check else { panic!("{check:?}") };
    assert_eq!((&put_back.failed, &put_back.restored), (&installed("1.1.0"), &installed("1.0.0")));
    put_back
}

fn path(site: &Site) -> PathBuf {
    site.path(Install::RESCUE)
}

#[test]
fn the_first_start_that_succeeds_makes_the_rescue_and_the_next_ones_write_nothing() {
    let site = Site::new();
    assert!(site.install.rescue_state().binary.is_none());
    assert!(came_up(&site, "a", "1.0.0"));
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(path(&site)), inode(site.committed()), "a link, and not a copy");
    let written = inode(site.path("rescue.json"));
    assert!(!came_up(&site, "a", "1.0.0"));
    assert_eq!(inode(site.path("rescue.json")), written);
    assert_eq!(check(&site, "a"), StartCheck::Nothing);
}

#[test]
fn a_version_that_fails_every_start_is_replaced_by_the_one_before_and_vetoed_on_that_node() {
    let site = committed_anew();
    site.adopt("b", "1.1.0");
    let last = site.stage("0.9.0");
    for start in 1..=START_TRIES {
        counted(&site, "a", start);
        site.assert_committed("1.1.0");
    }
    let deed = put_back(check(&site, "a"));
    assert_eq!((deed.starts, &deed.node), (START_TRIES, &node("a")));
    site.assert_committed("1.0.0");
    let (record, adopted) = site.adopt("a", "1.0.0");
    assert_eq!(adopted, super::super::Adopted::AsRecorded, "nobody's replacement");
    assert_eq!((&record.running, &record.previous), (&installed("1.0.0"), &None));
    let verdict = record.verdicts.last().unwrap();
    assert_eq!((verdict.kind, verdict.reason.as_str()), (VerdictKind::Bad, "cold-start"));
    assert_eq!((&verdict.candidate, &verdict.from), (&installed("1.1.0"), &installed("1.0.0")));
    assert_eq!(site.adopt("b", "1.0.0").0.verdicts, [], "each node's verdicts are its own");
    assert_eq!(site.install.rescue_state().last, Some(deed));
    // Once.
    assert_eq!(check(&site, "a"), StartCheck::Nothing);
    site.assert_committed("1.0.0");
    assert!(site.install.prune().unwrap().contains(&last.folder_name()));
}

#[test]
fn a_start_that_succeeds_ends_the_guard_and_makes_the_new_version_the_rescue() {
    let site = committed_anew();
    counted(&site, "a", 1);
    counted(&site, "a", 2);
    assert!(came_up(&site, "a", "1.1.0"));
    assert_eq!(rescue(&site).digest(), installed("1.1.0").digest);
    for _ in 0..5 {
        assert_eq!(check(&site, "a"), StartCheck::Nothing);
    }
    site.assert_committed("1.1.0");
}

#[test]
fn starts_that_an_operator_ended_are_not_counted_and_those_that_failed_are() {
    let site = committed_anew();
    let start =
        |invocation: &str| site.install.check_start(&rescue(&site), &node("a"), Some(invocation), false).unwrap();
    let end = |invocation: &str, end| site.install.note_end(&node("a"), Some(invocation), end).unwrap();
    for round in 0..10 {
        let name = format!("stopped-{round}");
        assert_eq!(start(&name), StartCheck::Counted { against: installed("1.1.0"), start: 1 });
        end(&name, StartEnd::Excused);
        // The end of another service says nothing about this one.
        end("of-somebody-else", StartEnd::Failed);
    }
    for round in 1..=START_TRIES {
        let name = format!("failed-{round}");
        assert_eq!(start(&name), StartCheck::Counted { against: installed("1.1.0"), start: round });
        end(&name, StartEnd::Failed);
    }
    put_back(start("the-last"));
    site.assert_committed("1.0.0");
}

#[test]
fn a_start_that_a_reboot_cut_short_is_not_counted_unless_it_had_failed_before() {
    let site = committed_anew();
    let reboot = || {
        site.edit("rescue.json", |rescue| {
            for start in rescue["guards"][0]["starts"]["a"].as_array_mut().unwrap() {
                start["boot"] = json!("another");
            }
        });
    };
    for _ in 0..5 {
        counted(&site, "a", 1);
        reboot();
    }
    counted(&site, "a", 1);
    site.install.note_end(&node("a"), None, StartEnd::Failed).unwrap();
    reboot();
    counted(&site, "a", 2);
    reboot();
    counted(&site, "a", 2);
}

#[test]
fn nodes_that_start_at_once_do_not_use_up_each_others_tries_and_one_that_comes_up_is_enough() {
    let site = committed_anew();
    let names: Vec<_> = (0..12).map(|n| format!("n{n}")).collect();
    for name in &names {
        counted(&site, name, 1);
    }
    // A node at an older version came up under the new launcher: its own starts are good, no more.
    assert!(!came_up(&site, "n0", "1.0.0"));
    counted(&site, "n0", 1);
    counted(&site, "n1", 2);
    assert!(came_up(&site, "a", "1.1.0"));
    assert_eq!(check(&site, "n1"), StartCheck::Nothing);
}

#[test]
fn what_an_operator_put_there_or_what_is_not_committed_yet_is_left_alone() {
    let site = Site::new();
    came_up(&site, "a", "1.0.0");
    let candidate = site.stage("1.1.0");
    site.install.arm_rescue(&candidate).unwrap();
    assert_eq!(check(&site, "a"), StartCheck::Nothing, "a handoff that did not come to its commit");
    assert!(site.install.rescue_state().guards_against.is_none());

    let site = committed_anew();
    counted(&site, "a", 1);
    put(&site.committed(), &bytes("2.0.0"));
    for _ in 0..5 {
        assert_eq!(check(&site, "a"), StartCheck::Nothing);
    }
    assert_eq!(fs::read(site.committed()).unwrap(), bytes("2.0.0"));
}

#[test]
fn a_second_upgrade_that_does_not_come_to_its_commit_leaves_the_guard_against_the_first() {
    let site = committed_anew();
    counted(&site, "a", 1);
    site.install.arm_rescue(&site.stage("1.2.0")).unwrap();
    counted(&site, "a", 2);
    // And one that does takes the last version that came up as its rescue, not the one in between.
    commit(&site, "a", "1.2.0");
    assert_eq!(rescue(&site).digest(), installed("1.0.0").digest);
    for _ in 0..START_TRIES {
        assert!(matches!(check(&site, "a"), StartCheck::Counted { .. }));
    }
    let StartCheck::PutBack(deed) = check(&site, "a") else { panic!() };
    assert_eq!((deed.failed, deed.restored), (installed("1.2.0"), installed("1.0.0")));
    site.assert_committed("1.0.0");
}

#[test]
fn the_version_before_is_kept_for_the_rescue_when_nothing_else_names_it() {
    let site = committed_anew();
    let mut record = site.install.node(&node("a")).unwrap().unwrap();
    record.previous = None;
    site.install.write_node(&node("a"), &record).unwrap();
    site.install.prune().unwrap();
    assert!(site.install.open_version(&installed("1.0.0")).is_ok());
}

#[test]
fn an_operator_may_have_the_version_before_put_back_at_once() {
    let site = committed_anew();
    let now = || site.install.check_start(&rescue(&site), &node("a"), None, true).unwrap();
    assert_eq!(put_back(now()).starts, 0);
    site.assert_committed("1.0.0");
    assert_eq!(now(), StartCheck::Nothing);
}

#[test]
fn a_pin_that_came_with_the_version_goes_with_it() {
    let site = committed_anew();
    let mut record = site.install.node(&node("a")).unwrap().unwrap();
    record.verdicts.last_mut().unwrap().purpose = Purpose::Downgrade;
    site.install.write_node(&node("a"), &record).unwrap();
    for _ in 0..=START_TRIES {
        check(&site, "a");
    }
    let record = site.install.node(&node("a")).unwrap().unwrap();
    assert_eq!(record.verdicts.last().unwrap().purpose, Purpose::Downgrade);
}

#[test]
fn a_service_that_calls_the_node_otherwise_reaches_the_node_that_runs_the_version() {
    let site = committed_anew();
    for _ in 0..START_TRIES {
        check(&site, "default");
    }
    put_back(check(&site, "default"));
    let record = site.install.node(&node("a")).unwrap().unwrap();
    assert_eq!(record.running, installed("1.0.0"));
    assert_eq!(record.verdicts.last().unwrap().kind, VerdictKind::Bad);
}

/// Every file that the rescue writes, as it lies on disk at each of its steps, leads to the same end.
#[test]
fn l1_a_rescue_that_is_cut_short_is_finished_by_the_next_check_or_by_the_launcher() {
    for finished_by_launcher in [false, true] {
        for step in 0..5 {
            let site = committed_anew();
            for _ in 0..START_TRIES {
                check(&site, "a");
            }
            let (state, record) = (site.json("install.json"), site.json("nodes/a.json"));
            put_back(check(&site, "a"));
            // Back to what lay there before the later steps.
            let last = site.json("rescue.json")["last"].clone();
            site.edit("rescue.json", |rescue| {
                rescue["last"] = json!(null);
                rescue["guards"] = json!([{ "against": installed("1.1.0"), "starts": {}, "deciding": last }]);
            });
            if step <= 3 {
                fs::write(site.path("nodes/a.json"), record.to_string()).unwrap();
            }
            if step <= 2 {
                fs::write(site.path("install.json"), state.to_string()).unwrap();
            }
            if (1..=2).contains(&step) {
                site.edit("install.json", |state| state["next"] = json!(installed("1.0.0")));
            }
            if step <= 1 {
                put(&site.committed(), &bytes("1.1.0"));
            }
            let deed = if finished_by_launcher {
                site.install.finish_put_back(&rescue(&site)).unwrap().unwrap()
            } else {
                put_back(check(&site, "a"))
            };
            assert_eq!(deed.starts, START_TRIES);
            assert_eq!(site.install.finish_put_back(&rescue(&site)).unwrap(), None);
            site.assert_committed("1.0.0");
            let record = site.adopt("a", "1.0.0").0;
            assert_eq!(record.running, installed("1.0.0"), "step {step}");
            let bad = record.verdicts.iter().filter(|verdict| verdict.kind == VerdictKind::Bad).count();
            assert_eq!(bad, 1, "step {step}");
        }
    }
}

#[test]
fn l1_a_rescue_that_is_exchanged_when_the_power_goes_is_recognised_before_and_after() {
    let site = committed_anew();
    let before = site.json("rescue.json");
    came_up(&site, "a", "1.1.0");
    let after = fs::read(path(&site)).unwrap();
    assert_eq!(after, bytes("1.1.0"));
    for file in [bytes("1.0.0"), bytes("1.1.0")] {
        let mut announced = before.clone();
        announced["next"] = json!(installed("1.1.0"));
        fs::write(site.path("rescue.json"), announced.to_string()).unwrap();
        put(&path(&site), &file);
        let found = check(&site, "a");
        // The new version is no rescue against itself.
        let is_old = file == bytes("1.0.0");
        assert_eq!(matches!(found, StartCheck::Counted { .. }), is_old, "{found:?}");
        came_up(&site, "a", "1.1.0");
        assert_eq!(rescue(&site).digest(), installed("1.1.0").digest);
    }
}

#[test]
fn a13_a_rescue_that_was_exchanged_puts_nothing_back() {
    let site = committed_anew();
    for _ in 0..START_TRIES {
        check(&site, "a");
    }
    let before = site.json("rescue.json");
    put(&path(&site), b"#!/bin/sh\nanother program\n");
    let refused = site.install.check_start(&rescue(&site), &node("a"), None, false);
    assert!(
        matches!(&refused, Err(InstallError::Digest { expected, .. }) if *expected == installed("1.0.0").digest),
        "{refused:?}"
    );
    let refused = site.install.check_start(&rescue(&site), &node("a"), None, true);
    assert!(matches!(refused, Err(InstallError::Digest { .. })), "{refused:?}");
    assert_eq!(site.json("rescue.json"), before);
    site.assert_committed("1.1.0");
    // Nor does a good one that is not the rescue.
    let other = own(&site);
    assert!(matches!(site.install.check_start(&other, &node("a"), None, true), Err(InstallError::Digest { .. })));
    site.assert_committed("1.1.0");
}

#[test]
fn a13_a_rescue_exchanged_after_it_was_started_puts_back_what_was_started() {
    let site = committed_anew();
    let started = rescue(&site);
    put(&path(&site), b"another program");
    let version = site.path("versions").join(installed("1.0.0").folder_name()).join("exuvia");
    put(&version, b"another program");
    for _ in 0..START_TRIES {
        site.install.check_start(&started, &node("a"), None, false).unwrap();
    }
    let outcome = site.install.check_start(&started, &node("a"), None, false);
    match outcome {
        // All its names are gone: then nothing is put back, rather than something else.
        Err(InstallError::Sys(_)) => site.assert_committed_file("1.1.0"),
        other => panic!("{other:?}"),
    }
    // With one name left, that is the file.
    let site = committed_anew();
    let started = rescue(&site);
    put(&path(&site), b"another program");
    for _ in 0..START_TRIES {
        site.install.check_start(&started, &node("a"), None, false).unwrap();
    }
    put_back(site.install.check_start(&started, &node("a"), None, false).unwrap());
    site.assert_committed("1.0.0");
}

#[test]
fn a13_a_damaged_rescue_is_made_again_from_the_version_at_the_next_start() {
    let damages: [&dyn Fn(&PathBuf); 5] = [
        &|path| fs::remove_file(path).unwrap(),
        &|path| put(path, b"#!/bin/sh\nanother program\n"),
        &|path| put(path, b""),
        &|path| {
            fs::remove_file(path).unwrap();
            symlink("/bin/true", path).unwrap();
        },
        &|path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), b"").unwrap();
        },
    ];
    for damage in damages {
        let site = committed_anew();
        damage(&path(&site));
        let tended = site.install.tend_rescue(&own(&site)).unwrap();
        assert!(matches!(tended, Tended::Repaired(_)), "{tended:?}");
        assert_eq!(rescue(&site).digest(), installed("1.0.0").digest);
        assert!(matches!(site.install.tend_rescue(&own(&site)).unwrap(), Tended::Fine));
        assert!(!names(&site.path("")).contains(&NEW.to_owned()));
        for _ in 0..START_TRIES {
            check(&site, "a");
        }
        put_back(check(&site, "a"));
    }
}

#[test]
fn l6_a_rescue_acts_also_where_the_state_of_the_install_is_damaged_or_gone() {
    for damage in [Some("[]"), None] {
        let site = committed_anew();
        for _ in 0..START_TRIES {
            check(&site, "a");
        }
        match damage {
            Some(bytes) => fs::write(site.path("install.json"), bytes).unwrap(),
            None => fs::remove_file(site.path("install.json")).unwrap(),
        }
        put_back(check(&site, "a"));
        site.assert_committed("1.0.0");
        assert_eq!(site.adopt("a", "1.0.0").0.running, installed("1.0.0"));
    }
}

#[test]
fn a_damaged_record_of_the_rescue_stops_nothing_and_is_made_anew() {
    let site = committed_anew();
    for damage in ["", "{", "[]", "\0\0\0"] {
        fs::write(site.path("rescue.json"), damage).unwrap();
        assert_eq!(check(&site, "a"), StartCheck::Nothing);
        assert!(matches!(site.install.tend_rescue(&own(&site)).unwrap(), Tended::Fine));
        site.install.arm_rescue(&site.stage("1.3.0")).unwrap();
        assert_eq!(rescue(&site).digest(), installed("1.1.0").digest, "what is committed, for want of better");
        fs::write(site.path("rescue.json"), damage).unwrap();
        assert!(came_up(&site, "a", "1.1.0"));
    }
}
