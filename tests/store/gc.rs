//! `repo gc` in a store: killed at any request, beside a publisher, and among names that are not the repository's.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::server::{Between, Moto, Sees, Verdict};
use crate::{Desk, copy_of, cut, said};

fn gc<'a>(place: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&["repo", "gc", "--to", place], args].concat()
}

/// Two releases, one of them withdrawn.
fn base(moto: &Moto) -> Desk {
    let desk = Desk::new(&moto.endpoint());
    let place = "s3://releases/base";
    desk.init(place);
    desk.ok(&Desk::add(place, "1.0.0"));
    desk.ok(&Desk::add(place, "1.1.0"));
    desk.ok(&Desk::change(place, &["withdraw", "1.1.0"], &[]));
    desk
}

/// What there is: keys, and whether each object is empty.
fn state(moto: &Moto, prefix: &str) -> Vec<(String, bool)> {
    let is_empty = |key: &String| moto.object(&format!("{prefix}{key}")).unwrap().is_empty();
    moto.keys(prefix).into_iter().map(|key| (key.clone(), is_empty(&key))).collect()
}

#[test]
fn a_sweep_that_is_killed_at_any_request_costs_readers_nothing_and_is_finished_by_the_next() {
    let moto = Moto::start();
    let base = base(&moto);
    let sweep: cut::Verb = |place| gc(place, &["--grace", "0s"]);
    let (changes, said) = cut::count(&moto, &base, Sees::changes, sweep);
    assert!(said.contains("freed in 8 files"), "{said}");
    let clean = state(&moto, "count/");
    assert_eq!(clean.iter().filter(|(_, is_empty)| *is_empty).count(), 1, "the name of 1.1.0 stays");
    assert_eq!(changes, 10, "a claim, eight files, and the claim");

    cut::at_each(&moto, &base, Sees::changes, changes, sweep, &mut |killed| {
        let (place, prefix) = (killed.place(), &killed.prefix);
        let good = base.verify(&place);
        assert!(good.contains("good     exuvia 1.0.0"), "{prefix}: {good}");
        moto.remove_all(&format!("{prefix}/claims/"));
        base.ok(&gc(&place, &["--grace", "0s"]));
        assert_eq!(state(&moto, &format!("{prefix}/")), clean, "{prefix}");
        base.verify(&place);
    });
}

#[test]
fn the_grace_counts_by_the_store_s_clock_and_what_was_emptied_may_come_back() {
    let moto = Moto::start();
    let desk = base(&moto);
    let place = "s3://releases/base";
    let before = moto.keys("base/");
    let said = desk.ok(&gc(place, &[]));
    assert!(said.contains("0 bytes freed in 0 files"), "{said}");
    assert_eq!(moto.keys("base/"), before, "all of it is new, and no claim is left");
    let dry = desk.ok(&gc(place, &["--grace", "0s", "--dry-run", "--json"]));
    assert_eq!(moto.keys("base/"), before);
    let done = desk.ok(&gc(place, &["--grace", "0s", "--json"]));
    assert_eq!(dry.replace("\"dry_run\":true", "\"dry_run\":false"), done);
    desk.ok(&Desk::add(place, "1.1.0"));
    assert!(desk.verify(place).contains("good     exuvia 1.1.0"));
}

#[test]
fn names_that_no_repository_gives_are_left_and_named() {
    let moto = Moto::start();
    let desk = base(&moto);
    let strange =
        ["public/metadata/readme", "public/targets/exuvia/1.0.0/x", "public/targets/a%20b/%C3%BC", "staged/x.json"];
    for key in strange {
        moto.put(&format!("base/{key}"), b"x");
    }
    // Beside the repository: nobody looks there.
    moto.put("base/other/file", b"x");
    moto.put("base2/public/metadata/1.targets.json", b"x");
    let said = desk.ok(&gc("s3://releases/base", &["--grace", "0s"]));
    assert_eq!(said.matches("is none of the repository's own names").count(), 4, "{said}");
    let left = moto.keys("base/");
    assert!(
        left.iter().any(|key| key == "other/file") && moto.object("base2/public/metadata/1.targets.json").is_some()
    );
    assert_eq!(
        left.iter().filter(|key| key.ends_with("/x") || key.ends_with("readme") || key.ends_with("x.json")).count(),
        3
    );
    desk.verify("s3://releases/base");
}

#[test]
fn a_name_that_is_no_path_at_all_stops_it_before_anything_goes() {
    let moto = Moto::start();
    let desk = base(&moto);
    moto.put("base/public/metadata//x", b"x");
    let before = moto.keys("base/");
    desk.refused(6, "s3://releases/base could not be used at public", &gc("s3://releases/base", &["--grace", "0s"]));
    assert_eq!(moto.keys("base/"), before);
    desk.verify("s3://releases/base");
}

#[test]
fn what_is_kept_costs_no_request() {
    let moto = Moto::start();
    let seen = Arc::new(AtomicUsize::new(0));
    let between = {
        let seen = seen.clone();
        Between::start(&moto, move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
            Verdict::Pass
        })
    };
    let desk = Desk::new(&between.endpoint());
    let place = "s3://releases/kept";
    desk.init(place);
    let requests: Vec<usize> = ["1.0.0", "1.1.0"]
        .map(|version| {
            desk.ok(&Desk::add(place, version));
            desk.ok(&gc(place, &["--grace", "0s"]));
            seen.store(0, Ordering::SeqCst);
            desk.ok(&gc(place, &["--grace", "0s"]));
            seen.load(Ordering::SeqCst)
        })
        .into();
    assert_eq!(requests[0], requests[1]);
}

#[test]
fn a_publisher_and_a_sweep_at_once_take_turns() {
    let moto = Moto::start();
    let desk = base(&moto);
    let place = "s3://releases/base";
    for round in 0..3 {
        let publish = match round {
            0 => Desk::add(place, "1.1.0"),
            _ => Desk::change(place, &["renew", "--role", "targets"], &[]),
        };
        let running = [publish, gc(place, &["--grace", "0s"])]
            .map(|args| desk.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let ended = running.map(|process| process.wait_with_output().unwrap());
        for output in &ended {
            let code = output.status.code();
            assert!(code == Some(0) || code == Some(8), "{}", said(output));
        }
        assert!(ended.iter().any(|output| output.status.success()));
        desk.verify(place);
        assert_eq!(moto.keys("base/claims/"), [""; 0]);
    }
}

#[test]
fn nothing_goes_where_what_is_published_does_not_verify_or_the_store_lies() {
    let moto = Moto::start();
    let desk = base(&moto);
    let targets = moto.object("base/public/metadata/4.targets.json").unwrap();
    moto.put("base/public/metadata/4.targets.json", b"{}");
    let before = moto.keys("base/");
    desk.refused(4, "does not verify", &gc("s3://releases/base", &["--grace", "0s"]));
    assert_eq!(moto.keys("base/"), before);
    moto.put("base/public/metadata/4.targets.json", &targets);
    // It says that it emptied the archive, and did not.
    let between = Between::start(&moto, |request| match request.method.as_str() {
        "PUT" if request.path.contains("public/targets") => Verdict::Answer(Vec::new()),
        _ => Verdict::Pass,
    });
    let lied_to = Desk { endpoint: between.endpoint(), dir: copy_of(&desk) };
    lied_to.refused(4, "does not return what was written", &gc("s3://releases/base", &["--grace", "0s"]));
    assert_eq!(moto.keys("base/"), before);
    desk.verify("s3://releases/base");
}
