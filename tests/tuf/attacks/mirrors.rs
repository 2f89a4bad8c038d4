//! Mirrors that replay, mix and withhold what was signed once.

use std::collections::BTreeMap;

use exuvia::tuf::{MetadataError, UpdateError};

use super::site::{Mirror, SNAPSHOT, Served, Site, TIMESTAMP, is_rollback};
use crate::sim::{LATER, expires};

#[test]
fn b4_a_mirror_that_withholds_what_is_new_is_found_out_when_the_timestamp_expires() {
    let mut site = Site::new();
    let frozen = site.mirror.all();
    site.release(b"release 2");
    let newest = site.mirror.all();
    site.mirror.set_all(frozen);
    let before = site.held();
    // Nobody can tell yet.
    site.refresh().unwrap();
    assert!(site.changed_since(&before).is_empty());
    site.now = "2030-07-01T00:00:00Z".to_owned();
    assert!(matches!(site.refused(), MetadataError::Expired { role, .. } if role == "timestamp"));
    // Nor does it help to withhold all.
    site.mirror.set_all(BTreeMap::new());
    let outcome = site.refresh();
    assert!(matches!(outcome, Err(UpdateError::Absent { file }) if file == "timestamp.json"));
    assert!(site.changed_since(&before).is_empty());
    site.mirror.set_all(newest);
    site.sim.timestamp.head.expires = expires(LATER);
    site.release(b"release 3");
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
}

#[test]
fn b5_an_old_file_of_any_role_in_place_of_the_new_one_is_refused() {
    let mut site = Site::new();
    let old = site.mirror.all();
    site.sim.next_root();
    site.release(b"release 2");
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
    assert_eq!(site.fetch("extra/file").unwrap(), b"extra 1");
    let newest = site.mirror.all();
    let timestamp = |files: &BTreeMap<String, Served>| files["timestamp.json"].clone();
    // The whole repository of yesterday.
    site.mirror.put("timestamp.json", timestamp(&old));
    assert!(is_rollback(&site.refused(), "timestamp.json"));
    // An old root as the next one.
    site.mirror.set_all(newest);
    site.mirror.replay("2.root.json", "3.root.json");
    assert!(matches!(site.refused(), MetadataError::Version { role, expected: 3, found: 2 } if role == "root"));
    site.mirror.files.lock().unwrap().remove("3.root.json");
    // Single files of yesterday among those of today, each under its new name.
    site.release(b"release 3");
    let newest = site.mirror.all();
    for (old, new, kept) in [
        ("3.snapshot.json", "4.snapshot.json", TIMESTAMP),
        ("2.targets.json", "3.targets.json", &["snapshot.json", "state/accepted.json"][..]),
    ] {
        site.mirror.replay(old, new);
        let error = site.refused_but(kept);
        assert!(matches!(error, MetadataError::Mismatch { .. }), "{error}");
        site.mirror.set_all(newest.clone());
    }
    site.mirror.replay("2.role.json", "3.role.json");
    site.refresh().unwrap();
    let before = site.held();
    assert!(matches!(
        site.fetch("extra/file"),
        Err(UpdateError::Metadata(MetadataError::Mismatch { role, .. })) if role == "role"
    ));
    assert!(site.changed_since(&before).is_empty());
    site.mirror.set_all(newest);
    assert_eq!(site.fetch("extra/file").unwrap(), b"extra 1");
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
}

#[test]
fn b5_without_digests_the_versions_alone_refuse_what_is_mixed() {
    let mut site = Site::new();
    site.sim.states_digests = false;
    site.release(b"release 2");
    site.refresh().unwrap();
    site.release(b"release 3");
    let newest = site.mirror.all();
    site.mirror.replay("3.snapshot.json", "4.snapshot.json");
    let error = site.refused_but(TIMESTAMP);
    assert!(matches!(error, MetadataError::Version { role, expected: 4, found: 3 } if role == "snapshot"));
    site.mirror.set_all(newest.clone());
    site.mirror.replay("2.targets.json", "3.targets.json");
    let error = site.refused_but(&["snapshot.json", "state/accepted.json"]);
    assert!(matches!(error, MetadataError::Version { role, expected: 3, found: 2 } if role == "targets"));
    // One role's file as another's, which the same publisher signed.
    site.mirror.set_all(newest.clone());
    site.mirror.replay("4.snapshot.json", "timestamp.json");
    assert!(matches!(site.refused(), MetadataError::Format { role, .. } if role == "timestamp"));
    site.mirror.set_all(newest);
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
}

#[test]
fn of_two_mirrors_that_disagree_the_newer_one_is_right_and_the_older_one_changes_nothing() {
    let mut site = Site::new();
    let behind = Mirror::new();
    behind.set_all(site.mirror.all());
    site.release(b"release 2");
    // First the one that is behind, which nobody can tell; then the newer one, and then never back.
    site.refresh_from(&behind).unwrap();
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
    let before = site.held();
    for _ in 0..2 {
        let outcome = site.refresh_from(&behind);
        assert!(
            matches!(&outcome, Err(UpdateError::Metadata(error)) if is_rollback(error, "timestamp.json")),
            "{outcome:?}"
        );
        assert!(site.changed_since(&before).is_empty());
        site.refresh().unwrap();
    }
    // One that has two halves: what was verified from it stays, and the whole comes from the other.
    site.release(b"release 3");
    behind.set_all(site.mirror.all());
    behind.files.lock().unwrap().remove("3.targets.json");
    let outcome = site.refresh_from(&behind);
    assert!(matches!(&outcome, Err(UpdateError::Absent { file }) if file == "3.targets.json"), "{outcome:?}");
    assert_eq!(site.changed_since(&before), SNAPSHOT);
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
}
