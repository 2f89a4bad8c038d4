//! `repo doctor` before a real store, and before stores that do otherwise than they say.

use std::sync::Mutex;

use crate::server::{Between, Moto, Verdict};
use crate::{Desk, said};

const PLACE: &str = "s3://releases/checked";

/// The grade of each check, by its name.
#[track_caller]
fn grades(desk: &Desk, args: &[&str]) -> (Option<i32>, serde_json::Value) {
    let output = desk.run(&[&["repo", "doctor", "--to", PLACE, "--json"], args].concat());
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", said(&output)));
    (output.status.code(), value)
}

#[track_caller]
fn grade<'a>(value: &'a serde_json::Value, name: &str) -> (&'a str, &'a str) {
    let checks = value["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name}: {value}"));
    (check["grade"].as_str().unwrap(), check["found"].as_str().unwrap())
}

#[test]
fn a_store_that_does_what_it_says_passes_and_nothing_is_left_there() {
    let moto = Moto::start();
    let desk = Desk::new(&moto.endpoint());
    let (code, value) = grades(&desk, &[]);
    assert_eq!(code, Some(0), "{value}");
    for name in ["write", "read", "overwrite", "list", "list-removed", "remove-missing", "clock", "large", "clean-up"] {
        assert_eq!(grade(&value, name).0, "ok", "{value}");
    }
    assert_ne!(grade(&value, "conditional").0, "fail");
    assert_eq!(moto.keys("checked/"), [""; 0]);
    // Beside a repository it changes nothing.
    desk.init(PLACE);
    let before = moto.keys("checked/");
    grades(&desk, &[]);
    assert_eq!(moto.keys("checked/"), before);
    desk.verify(PLACE);
}

#[test]
fn a_store_that_ignores_conditions_is_warned_of_and_can_be_used() {
    let moto = Moto::start();
    let between = Between::start(&moto, |_| Verdict::PassWithout("if-none-match"));
    let (code, value) = grades(&Desk::new(&between.endpoint()), &[]);
    assert_eq!((code, value["grade"].as_str()), (Some(0), Some("warn")), "{value}");
    let (grade, found) = grade(&value, "conditional");
    assert_eq!(grade, "warn");
    assert!(found.contains("8 are told so"), "{found}");
}

#[test]
fn a_store_whose_listing_lags_fails() {
    let moto = Moto::start();
    let empty = "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>";
    let between = Between::start(&moto, move |request| {
        if request.path.contains("list-type=2") { Verdict::Answer(empty.into()) } else { Verdict::Pass }
    });
    let desk = Desk::new(&between.endpoint());
    let (code, value) = grades(&desk, &[]);
    assert_eq!((code, value["grade"].as_str()), (Some(9), Some("fail")), "{value}");
    assert_eq!(grade(&value, "list"), ("fail", "a new file is not listed, not within 10 s"));
    assert_eq!(grade(&value, "read").0, "ok");
    assert_eq!(moto.keys("checked/"), [""; 0], "what is not listed is removed all the same");
    desk.refused(9, "cannot hold a repository", &["repo", "doctor", "--to", PLACE]);
}

#[test]
fn a_store_that_lists_what_was_removed_fails() {
    let moto = Moto::start();
    let removed = Mutex::new(None);
    let between = Between::start(&moto, move |request| {
        let mut removed = removed.lock().unwrap();
        if request.method == "DELETE" && request.path.ends_with("/listed-0") {
            *removed = request.path.strip_prefix("/releases/").map(str::to_owned);
        }
        match (&*removed, request.path.contains("list-type=2")) {
            (Some(key), true) => Verdict::Answer(
                format!(
                    "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount><Contents><Key>{key}</Key>\
                     <LastModified>2026-11-29T00:00:00.000Z</LastModified><ETag>\"1\"</ETag><Size>1</Size></Contents>\
                     </ListBucketResult>"
                )
                .into_bytes(),
            ),
            _ => Verdict::Pass,
        }
    });
    let (code, value) = grades(&Desk::new(&between.endpoint()), &[]);
    assert_eq!(code, Some(9), "{value}");
    assert_eq!((grade(&value, "list").0, grade(&value, "list-removed").0), ("ok", "fail"));
}

#[test]
fn a_store_that_cannot_be_written_fails_with_what_may_help_and_nothing_else_is_tried() {
    let moto = Moto::start();
    let lies = Between::start(&moto, |request| match request.method.as_str() {
        "GET" if request.path.contains("/doctor/") => Verdict::Answer(b"other".to_vec()),
        _ => Verdict::Pass,
    });
    let (code, value) = grades(&Desk::new(&lies.endpoint()), &[]);
    assert_eq!(code, Some(9), "{value}");
    assert!(grade(&value, "write").1.contains("does not return what was written"));
    assert_eq!(value["checks"].as_array().unwrap().len(), 2, "that, and what was removed again");
    let desk = Desk::new(&moto.endpoint());
    desk.refused(9, "cannot hold a repository", &["repo", "doctor", "--to", "s3://no-such-bucket/x"]);
    desk.refused(9, "cannot hold a repository", &["repo", "doctor", "--to", "s3://no-such-bucket/x", "--json"]);
    desk.refused(2, "is neither a folder nor an address", &["repo", "doctor", "--to", "gs://releases/x"]);
}

#[test]
fn what_everybody_may_read_is_asked_for_without_keys() {
    let moto = Moto::start();
    let desk = Desk::new(&moto.endpoint());
    let address = format!("{}/releases/checked/public/", moto.endpoint());
    let (code, value) = grades(&desk, &["--public-url", &address]);
    assert_eq!((code, grade(&value, "public").0), (Some(0), "warn"), "nothing is published: {value}");
    desk.init(PLACE);
    // The bucket is private, as a new one is.
    let (code, value) = grades(&desk, &["--public-url", &address]);
    assert_eq!((code, grade(&value, "public").0), (Some(9), "fail"), "{value}");
    // Somebody serves it.
    let timestamp = moto.object("checked/public/metadata/timestamp.json").unwrap();
    let served = Between::start(&moto, move |request| {
        assert_eq!(request.path, "/site/metadata/timestamp.json");
        Verdict::Answer(timestamp.clone())
    });
    let address = format!("{}/site", served.endpoint());
    let (code, value) = grades(&desk, &["--public-url", &address]);
    assert_eq!((code, grade(&value, "public").0), (Some(0), "ok"), "{value}");
    let cached = Between::start(&moto, |_| Verdict::Answer(b"{}".to_vec()));
    let (code, value) = grades(&desk, &["--public-url", &cached.endpoint()]);
    assert_eq!((code, grade(&value, "public").0), (Some(0), "warn"), "{value}");
}
