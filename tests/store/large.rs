//! Archives that are uploaded in parts.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::server::{Between, Moto, Verdict};
use crate::{Desk, TARGET, copy_of};

/// A version whose archive is longer than a part.
fn pack_large(desk: &Desk) {
    let mut program = fs::File::create(desk.path("program")).unwrap();
    program.write_all(b"#!/bin/sh\necho 2.0.0\nexit 0\n").unwrap();
    let mut state = 88_172_645_463_325_252_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take((18 << 20) / 8)
    .flatten()
    .collect();
    program.write_all(&noise).unwrap();
    drop(program);
    let what = ["--binary", "program", "--product", "exuvia", "--version", "2.0.0", "--target", TARGET];
    desk.ok(&[&["pack"], &what[..], &["--key", "a.key", "--out", "site", "--level", "1"]].concat());
}

#[test]
fn an_archive_of_more_than_a_part_arrives_whole_and_one_whose_upload_was_killed_is_never_seen() {
    let moto = Moto::start();
    let base = Desk::new(&moto.endpoint());
    pack_large(&base);
    base.init("s3://releases/base");
    base.ok(&Desk::add("s3://releases/base", "1.0.0"));

    let seen = Arc::new(AtomicUsize::new(0));
    let counts = {
        let seen = seen.clone();
        Between::start(&moto, move |request| {
            let is_upload =
                request.changes() && (request.path.contains("uploadId=") || request.path.contains("?uploads"));
            seen.fetch_add(usize::from(is_upload), Ordering::SeqCst);
            Verdict::Pass
        })
    };
    moto.copy("base/", "count/");
    let counted = Desk { endpoint: counts.endpoint(), dir: copy_of(&base) };
    counted.ok(&Desk::add("s3://releases/count", "2.0.0"));
    let good = base.verify("s3://releases/count");
    assert!(good.contains("good     exuvia 2.0.0"), "{good}");
    let requests = seen.load(Ordering::SeqCst);
    assert_eq!(requests, 4, "it is begun, two parts, and it is finished");

    for (at, forwarded) in (1..=requests).flat_map(|at| [(at, false), (at, true)]) {
        let prefix = format!("kill-{at}-{forwarded}");
        let place = format!("s3://releases/{prefix}");
        moto.copy("base/", &format!("{prefix}/"));
        let seen = AtomicUsize::new(0);
        let between = Between::start(&moto, move |request| {
            let is_upload =
                request.changes() && (request.path.contains("uploadId=") || request.path.contains("?uploads"));
            if !is_upload || seen.fetch_add(1, Ordering::SeqCst) + 1 != at {
                Verdict::Pass
            } else if forwarded {
                Verdict::PassThenHang
            } else {
                Verdict::Hang
            }
        });
        let desk = Desk { endpoint: between.endpoint(), dir: copy_of(&base) };
        let mut publisher = desk.command(&Desk::add(&place, "2.0.0")).stdout(Stdio::null()).spawn().unwrap();
        between.wait_until_it_hangs();
        publisher.kill().unwrap();
        publisher.wait().unwrap();

        let archives: Vec<_> = moto.keys(&format!("{prefix}/public/targets/exuvia/2.0.0/"));
        assert_eq!(archives.len(), usize::from(at == requests && forwarded), "{prefix}: whole or not at all");
        let good = base.verify(&place);
        assert!(good.contains("exuvia 1.0.0") && !good.contains("exuvia 2.0.0"), "{prefix}: {good}");
        moto.remove_all(&format!("{prefix}/claims/"));
        base.ok(&Desk::add(&place, "2.0.0"));
        assert!(base.verify(&place).contains("good     exuvia 2.0.0"), "{prefix}");
    }
}

#[test]
fn a_store_that_exchanges_a_part_is_found_out() {
    let moto = Moto::start();
    let between = Between::start(&moto, |request| match request.method.as_str() {
        "GET" if request.path.contains("/doctor/") && request.path.ends_with("/large") => {
            Verdict::Answer(vec![b'x'; (16 << 20) + (1 << 20) + 7])
        }
        _ => Verdict::Pass,
    });
    let desk = Desk::new(&between.endpoint());
    let output = desk.run(&["repo", "doctor", "--to", "s3://releases/x"]);
    let said = crate::said(&output);
    assert!(said.contains("fail  large") && said.contains("does not return what was written"), "{said}");
    assert_eq!(output.status.code(), Some(9), "{said}");
}
