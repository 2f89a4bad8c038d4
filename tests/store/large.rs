//! Archives that are uploaded in parts.

use std::fs;
use std::io::Write as _;

use crate::server::{Between, Moto, Sees, Verdict};
use crate::{Desk, TARGET, cut};

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

fn is_of_an_upload(request: &Sees) -> bool {
    request.changes() && (request.path.contains("uploadId=") || request.path.contains("?uploads"))
}

#[test]
fn an_archive_of_more_than_a_part_arrives_whole_and_one_whose_upload_was_killed_is_never_seen() {
    let moto = Moto::start();
    let base = Desk::new(&moto.endpoint());
    pack_large(&base);
    base.init("s3://releases/base");
    base.ok(&Desk::add("s3://releases/base", "1.0.0"));

    let add: cut::Verb = |place| Desk::add(place, "2.0.0");
    let (requests, _) = cut::count(&moto, &base, is_of_an_upload, add);
    let good = base.verify("s3://releases/count");
    assert!(good.contains("good     exuvia 2.0.0"), "{good}");
    assert_eq!(requests, 4, "it is begun, two parts, and it is finished");

    cut::at_each(&moto, &base, is_of_an_upload, requests, add, &mut |killed| {
        let (place, prefix) = (killed.place(), &killed.prefix);
        let archives: Vec<_> = moto.keys(&format!("{prefix}/public/targets/exuvia/2.0.0/"));
        assert_eq!(
            archives.len(),
            usize::from(killed.at == requests && killed.arrived),
            "{prefix}: whole or not at all"
        );
        let good = base.verify(&place);
        assert!(good.contains("exuvia 1.0.0") && !good.contains("exuvia 2.0.0"), "{prefix}: {good}");
        moto.remove_all(&format!("{prefix}/claims/"));
        base.ok(&Desk::add(&place, "2.0.0"));
        assert!(base.verify(&place).contains("good     exuvia 2.0.0"), "{prefix}");
    });
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
