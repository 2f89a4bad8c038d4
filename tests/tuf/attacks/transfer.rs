//! Answers without end, without haste or with another content.

use std::time::{Duration, Instant};

use exuvia::tuf::metadata::TargetFile;
use exuvia::tuf::{Mismatch, UpdateError};

use super::site::{Served, Site, TIMESTAMP, run};
use crate::remote::{Patience, RemoteError};

#[test]
fn metadata_and_targets_without_end_are_cut_off_and_leave_nothing() {
    let mut site = Site::new();
    site.release(b"release 2");
    let newest = site.mirror.all();
    for (name, kept) in [
        ("2.root.json", &[][..]),
        ("timestamp.json", &[]),
        ("3.snapshot.json", TIMESTAMP),
        ("2.targets.json", &["snapshot.json", "state/accepted.json"]),
    ] {
        site.mirror.put(name, Served::Endless);
        let before = site.held();
        let outcome = site.refresh();
        assert!(matches!(&outcome, Err(UpdateError::TooLong { file, .. }) if file == name), "{outcome:?}");
        assert_eq!(site.changed_since(&before), kept);
        site.mirror.set_all(newest.clone());
    }
    site.refresh().unwrap();
    let before = site.held();
    let address = TargetFile::of_content("node", &mut &b"release 2"[..]).unwrap().prefixed_path();
    site.mirror.put(&address, Served::Endless);
    assert!(matches!(site.fetch("node"), Err(UpdateError::Target { source: Mismatch::Length { stated: 9, .. }, .. })));
    assert!(site.changed_since(&before).is_empty());
    site.mirror.set_all(newest);
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
}

#[test]
fn a_server_that_drips_or_says_nothing_is_given_up_in_time_and_leaves_nothing() {
    let mut site = Site::new();
    site.release(b"release 2");
    let newest = site.mirror.all();
    let second = Duration::from_secs(1);
    site.patience = Patience { silence: 2 * second, grace: second / 4, rate: 1000 };
    let before = site.held();
    for (served, is_slow) in [(Served::Drip, true), (Served::Silence, false)] {
        site.mirror.put("timestamp.json", served);
        let began = Instant::now();
        let error = match site.refresh() {
            Err(UpdateError::Download { file, source }) if file == "timestamp.json" => source,
            other => panic!("{other:?}"),
        };
        match error {
            RemoteError::TooSlow { rate: 1000 } => assert!(is_slow),
            RemoteError::Http(error) => assert!(!is_slow && error.is_timeout(), "{error:?}"),
            other => panic!("{other}"),
        }
        assert!(began.elapsed() < 20 * second);
        assert!(site.changed_since(&before).is_empty());
    }
    site.mirror.set_all(newest);
    site.patience = Patience::default();
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
}

#[test]
fn another_program_in_place_of_the_described_one_is_thrown_away() {
    let mut site = Site::new();
    site.release(b"release 2");
    let newest = site.mirror.all();
    let address = |content: &[u8]| TargetFile::of_content("node", &mut &content[..]).unwrap().prefixed_path();
    let before = {
        site.refresh().unwrap();
        site.held()
    };
    for (wrong, is_length) in [(&b"release 1"[..], false), (b"RELEASE 2", false), (b"release", true), (b"", true)] {
        site.mirror.put(&address(b"release 2"), Served::Bytes(wrong.to_vec()));
        match site.fetch("node") {
            Err(UpdateError::Target { path, source }) => {
                assert_eq!(path, "node");
                assert_eq!(matches!(source, Mismatch::Length { .. }), is_length, "{source}");
            }
            other => panic!("{other:?}"),
        }
        assert!(site.changed_since(&before).is_empty());
    }
    site.mirror.set_all(newest);
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
}

#[test]
fn t40_a_place_whose_names_cannot_carry_digests_is_asked_for_plain_ones_and_believed_no_more() {
    let site = Site::new();
    let mut file = tempfile::tempfile().unwrap();
    let mut fetch = || {
        run(async {
            let mut updater = site.updater(&site.mirror).with_plain_target_names();
            let mut refreshed = updater.refresh(site.now.parse().unwrap()).await?;
            let target = refreshed.find("node").await?.expect("it is listed");
            refreshed.fetch(&target, &mut file).await
        })
    };
    assert!(matches!(fetch(), Err(UpdateError::Absent { file }) if file == "node"));
    site.mirror.put("node", Served::Bytes(b"RELEASE 1".to_vec()));
    assert!(matches!(fetch(), Err(UpdateError::Target { source: Mismatch::Digest(_), .. })));
    site.mirror.put("node", Served::Bytes(b"release 1".to_vec()));
    fetch().unwrap();
    assert_eq!(file.metadata().unwrap().len(), 9);
}
