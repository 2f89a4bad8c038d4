//! What was seen once is a floor: versions never fall below it, except after a rotation of keys.

use exuvia::tuf::MetadataError;
use exuvia::tuf::metadata::RoleType;

use crate::sim::{Client, LATER, PAST, Sim, bump, expires, refused, signer, version};

fn rollback(error: &MetadataError, of: &str) -> bool {
    matches!(error, MetadataError::Rollback { file, .. } if file == of)
}

/// A client that has seen an attacker's high versions of timestamp, snapshot and targets.
fn fast_forwarded() -> Client {
    let client = Client::refreshed();
    {
        let mut sim = client.sim();
        set_versions(&mut sim, 99_999);
        sim.describe_targets();
        sim.publish();
    }
    client.refresh().unwrap();
    assert_eq!(client.versions(), [1, 100_000, 100_000, 99_999]);
    let mut sim = client.sim();
    set_versions(&mut sim, 1);
    sim.publish();
    drop(sim);
    client
}

fn set_versions(sim: &mut Sim, number: u64) {
    for head in [&mut sim.timestamp.head, &mut sim.snapshot.head, &mut sim.targets.head] {
        head.version = version(number);
    }
}

type Rotate = fn(&Client);

#[test]
fn t11_a_rotation_of_timestamp_or_snapshot_keys_takes_away_the_floors() {
    let rotations: &[(&str, Rotate)] = &[
        ("a new timestamp key", |client| client.sim().rotate(RoleType::Timestamp, 50)),
        ("a new snapshot key", |client| client.sim().rotate(RoleType::Snapshot, 51)),
        // The old key still signs, and the stored files still verify.
        ("another timestamp key", |client| client.sim().root.add_key(signer(52).public(), RoleType::Timestamp)),
        ("another snapshot key", |client| client.sim().root.add_key(signer(53).public(), RoleType::Snapshot)),
        ("a threshold", |client| {
            let mut sim = client.sim();
            sim.root.add_key(signer(54).public(), RoleType::Snapshot);
            sim.root.role_mut(RoleType::Snapshot).threshold = 2.try_into().unwrap();
            sim.signers.get_mut("snapshot").unwrap().push(54);
        }),
    ];
    for (name, rotate) in rotations {
        let client = fast_forwarded();
        assert!(rollback(&refused(client.refresh()), "timestamp.json"), "{name}");
        rotate(&client);
        client.sim().next_root();
        client.refresh().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(client.versions(), [2, 2, 2, 1], "{name}");
        // From here on the new ones are the floor.
        client.sim().timestamp.head.version = version(1);
        assert!(rollback(&refused(client.refresh()), "timestamp.json"), "{name}");
    }
}

#[test]
fn t11_the_floors_are_gone_also_when_the_update_that_saw_the_rotation_went_no_further() {
    let client = fast_forwarded();
    client.sim().root.add_key(signer(52).public(), RoleType::Timestamp);
    client.sim().next_root();
    client.sim().faults.insert("timestamp.json".into(), crate::sim::Fault::Fail);
    client.refresh().unwrap_err();
    assert_eq!(client.versions(), [2, 100_000, 100_000, 99_999], "the files are still there, and count no more");
    client.sim().faults.clear();
    client.sim().next_root();
    client.refresh().unwrap();
    assert_eq!(client.versions(), [3, 2, 2, 1]);
}

#[test]
fn t11_keys_that_change_there_and_back_between_two_updates_changed() {
    let client = fast_forwarded();
    client.sim().rotate(RoleType::Timestamp, 50);
    client.sim().next_root();
    client.sim().rotate(RoleType::Timestamp, RoleType::Timestamp as u8 + 1);
    client.sim().next_root();
    client.refresh().unwrap();
    assert_eq!(client.versions(), [3, 2, 2, 1]);
}

#[test]
fn t11_a_root_that_rotates_neither_leaves_the_floors() {
    let client = fast_forwarded();
    client.sim().rotate(RoleType::Targets, 50);
    client.sim().rotate(RoleType::Root, 51);
    client.sim().signers.insert("root".into(), vec![51, RoleType::Root as u8 + 1]);
    client.sim().next_root();
    assert!(rollback(&refused(client.refresh()), "timestamp.json"));
    assert_eq!(client.versions(), [2, 100_000, 100_000, 99_999]);
}

#[test]
fn t11_files_about_which_nothing_is_noted_are_floors() {
    let client = fast_forwarded();
    std::fs::remove_file(client.dir.path().join("state/accepted.json")).unwrap();
    client.sim().root.add_key(signer(52).public(), RoleType::Timestamp);
    client.sim().next_root();
    assert!(rollback(&refused(client.refresh()), "timestamp.json"));
}

#[test]
fn t14_of_two_timestamps_with_one_version_the_first_stays() {
    let client = Client::refreshed();
    let first = client.file("timestamp.json").unwrap();
    {
        let mut sim = client.sim();
        bump(&mut sim.snapshot);
        sim.timestamp.snapshot.version = version(2);
    }
    client.refresh().unwrap();
    assert_eq!(client.requests(), ["2.root.json", "timestamp.json"]);
    assert_eq!(client.file("timestamp.json").unwrap(), first);
    assert_eq!(client.versions(), [1; 4]);
}

#[test]
fn t15_a_timestamp_that_stays_must_not_have_expired() {
    let mut client = Client::new();
    client.sim().timestamp.head.expires = expires("2030-06-02T00:00:00Z");
    client.refresh().unwrap();
    client.now = "2030-06-03T00:00:00Z".to_owned();
    // The same version again, with a longer life: another content under one version.
    client.sim().timestamp.head.expires = expires(LATER);
    assert!(matches!(refused(client.refresh()), MetadataError::Expired { role, .. } if role == "timestamp"));
}

#[test]
fn t16_a_timestamp_whose_snapshot_falls_back_is_not_stored() {
    let client = Client::refreshed();
    client.sim().publish();
    client.refresh().unwrap();
    client.sim().snapshot.head.version = version(1);
    client.sim().bump_timestamp();
    assert!(rollback(&refused(client.refresh()), "snapshot.json"));
    assert_eq!(client.requests().last().unwrap(), "timestamp.json");
    assert_eq!(client.versions(), [1, 2, 2, 1]);
    client.sim().snapshot.head.version = version(2);
    client.sim().timestamp.head.version = version(1);
    assert!(rollback(&refused(client.refresh()), "timestamp.json"));
    assert_eq!(client.versions(), [1, 2, 2, 1]);
}

#[test]
fn t17_what_has_expired_is_a_floor_still() {
    let mut client = Client::new();
    for head in ["timestamp", "snapshot"] {
        let mut sim = client.sim();
        let head = if head == "timestamp" { &mut sim.timestamp.head } else { &mut sim.snapshot.head };
        head.expires = expires("2030-06-02T00:00:00Z");
    }
    client.sim().publish();
    client.refresh().unwrap();
    client.now = "2030-06-20T00:00:00Z".to_owned();
    client.sim().timestamp.head.expires = expires(LATER);
    client.sim().snapshot.head.expires = expires(LATER);
    client.sim().timestamp.head.version = version(1);
    assert!(rollback(&refused(client.refresh()), "timestamp.json"));
    // Targets fall back, in an otherwise newer state.
    client.sim().timestamp.head.version = version(2);
    client.sim().targets.head.version = version(2);
    client.sim().publish();
    client.refresh().unwrap();
    client.sim().snapshot.head.expires = expires("2030-06-21T00:00:00Z");
    client.sim().publish();
    client.refresh().unwrap();
    client.now = "2030-07-01T00:00:00Z".to_owned();
    client.sim().snapshot.head.expires = expires(LATER);
    client.sim().targets.head.version = version(1);
    client.sim().publish();
    assert!(rollback(&refused(client.refresh()), "targets.json"));
}

#[test]
fn t17_expired_files_of_this_host_lead_on_to_new_ones() {
    let mut client = Client::new();
    client.sim().timestamp.head.expires = expires("2030-06-02T00:00:00Z");
    client.refresh().unwrap();
    client.now = "2030-06-20T00:00:00Z".to_owned();
    client.sim().timestamp.head.expires = expires(LATER);
    bump(&mut client.sim().targets);
    client.sim().publish();
    client.refresh().unwrap();
    assert_eq!(client.versions(), [1, 2, 2, 2]);
}

#[test]
fn t18_t19_every_file_of_the_old_snapshot_is_still_there_and_not_older_whether_or_not_digests_are_stated() {
    for states_digests in [false, true] {
        let client = Client::new();
        client.sim().states_digests = states_digests;
        client.sim().delegate("targets", "role", &["*"], false, 60);
        for _ in 0..2 {
            bump(client.sim().role_mut("role"));
            bump(&mut client.sim().targets);
        }
        client.sim().publish();
        client.refresh().unwrap();

        client.sim().targets.head.version = version(1);
        client.sim().publish();
        assert!(rollback(&refused(client.refresh()), "targets.json"));
        client.sim().targets.head.version = version(3);
        client.sim().role_mut("role").head.version = version(2);
        client.sim().publish();
        assert!(rollback(&refused(client.refresh()), "role.json"));
        let role = client.sim().delegated.remove("role").unwrap();
        client.sim().publish();
        assert!(matches!(refused(client.refresh()), MetadataError::Removed(file) if file == "role.json"));
        assert_eq!(client.versions(), [1, 5, 2, 3], "what was verified before the refusal is stored");
        client.sim().delegated.insert("role".into(), role);
        client.sim().role_mut("role").head.version = version(3);
        client.sim().publish();
        client.refresh().unwrap();
        assert_eq!(client.versions(), [1, 6, 6, 3]);
    }
}

#[test]
fn t20_the_timestamp_says_which_snapshot_it_is() {
    let client = Client::refreshed();
    client.sim().publish();
    client.refresh().unwrap();
    // Newer than the one on this host, and not the one that the timestamp names.
    client.sim().publish();
    bump(&mut client.sim().snapshot);
    let error = refused(client.refresh());
    assert!(matches!(error, MetadataError::Version { expected: 3, found: 4, .. }), "{error}");
    assert_eq!(client.versions(), [1, 3, 2, 1]);
}

#[test]
fn t53_a_clock_that_goes_back_changes_nothing_but_what_has_expired() {
    let mut client = Client::refreshed();
    client.sim().publish();
    client.now = "2030-01-01T00:00:00Z".to_owned();
    client.refresh().unwrap();
    client.now = "1999-01-01T00:00:00Z".to_owned();
    client.refresh().unwrap();
    assert_eq!(client.versions(), [1, 2, 2, 1]);
    client.sim().timestamp.head.expires = expires(PAST);
    client.sim().publish();
    client.refresh().unwrap();
    client.now = crate::sim::NOW.to_owned();
    assert!(matches!(refused(client.refresh()), MetadataError::Expired { .. }));
}
