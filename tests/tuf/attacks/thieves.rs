//! Thieves of some of the keys, and those who have too few.

use exuvia::tuf::metadata::{MetaFile, Metadata, RoleType, Root};
use exuvia::tuf::{MetadataError, Rules, UpdateError};

use super::site::{Served, Site, TIMESTAMP, is_rollback, is_unsigned};
use crate::sim::{Sim, bump, signer, version};

#[test]
fn b5_versions_that_a_thief_set_as_high_as_they_go_end_with_a_rotation_of_the_keys() {
    let mut site = Site::new();
    let honest = (site.sim.timestamp.clone(), site.sim.snapshot.clone());
    site.sim.timestamp.head.version = version(u64::MAX);
    site.sim.snapshot.head.version = version(u64::MAX - 1);
    site.sim.timestamp.snapshot = MetaFile::of(version(u64::MAX - 1));
    site.mirror.upload(&site.sim);
    site.refresh().unwrap();
    // Nothing that is genuine can follow.
    (site.sim.timestamp, site.sim.snapshot) = honest;
    site.release(b"release 2");
    assert!(is_rollback(&site.refused(), "timestamp.json"));
    site.sim.rotate(RoleType::Timestamp, 70);
    site.sim.rotate(RoleType::Snapshot, 71);
    site.sim.next_root();
    site.release(b"release 3");
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
    // From here on these are the floor, and the thief's keys are nothing.
    let newest = site.mirror.all();
    bump(&mut site.sim.timestamp);
    site.sim.signers.insert("timestamp".to_owned(), vec![RoleType::Timestamp as u8 + 1]);
    site.mirror.upload(&site.sim);
    assert!(is_unsigned(&site.refused(), "timestamp"));
    site.mirror.set_all(newest);
    site.refresh().unwrap();
}

#[test]
fn k3_who_has_the_timestamp_key_can_neither_go_back_nor_say_what_is_in_a_snapshot() {
    let mut site = Site::new();
    site.release(b"release 2");
    site.refresh().unwrap();
    let (newest, honest) = (site.mirror.all(), site.sim.timestamp.clone());
    // An older snapshot, which the publisher signed.
    site.sim.timestamp.snapshot = MetaFile::of(version(2));
    bump(&mut site.sim.timestamp);
    site.mirror.put("timestamp.json", Served::Bytes(site.sim.signed("timestamp", &site.sim.timestamp)));
    assert!(is_rollback(&site.refused(), "snapshot.json"));
    // The same version once more, with another content: the one that was there first stays.
    site.sim.timestamp.head.version = honest.head.version;
    site.mirror.put("timestamp.json", Served::Bytes(site.sim.signed("timestamp", &site.sim.timestamp)));
    let before = site.held();
    site.refresh().unwrap();
    assert!(site.changed_since(&before).is_empty());
    // A snapshot of the thief's own. That timestamp is a good one, and names what nobody signed.
    site.sim.timestamp = honest.clone();
    bump(&mut site.sim.snapshot);
    site.sim.signers.insert("snapshot".to_owned(), vec![RoleType::Timestamp as u8 + 1]);
    site.sim.bump_timestamp();
    site.mirror.upload(&site.sim);
    assert!(is_unsigned(&site.refused_but(TIMESTAMP), "snapshot"));
    // The publisher goes on with a new key.
    site.mirror.set_all(newest);
    site.sim.signers.insert("snapshot".to_owned(), vec![RoleType::Snapshot as u8 + 1]);
    site.sim.rotate(RoleType::Timestamp, 70);
    site.sim.next_root();
    site.release(b"release 3");
    assert_eq!(site.fetch("node").unwrap(), b"release 3");
}

#[test]
fn k3_who_has_the_snapshot_key_too_can_neither_go_back_nor_leave_out_nor_list_anything() {
    let mut site = Site::new();
    site.release(b"release 2");
    site.refresh().unwrap();
    let (timestamp, snapshot) = (site.sim.timestamp.clone(), site.sim.snapshot.clone());
    let newest = site.mirror.all();
    // Whatever a thief makes good timestamps of is a floor until they are rotated: each begins anew.
    let held = site.held();
    let play = |site: &mut Site, change: &dyn Fn(&mut Sim)| {
        (site.sim.timestamp, site.sim.snapshot) = (timestamp.clone(), snapshot.clone());
        change(&mut site.sim);
        bump(&mut site.sim.snapshot);
        site.sim.bump_timestamp();
        site.mirror.upload(&site.sim);
        let error = site.refresh().unwrap_err();
        for file in site.changed_since(&held) {
            std::fs::write(site.dir.path().join(&file), &held[&file]).unwrap();
        }
        site.mirror.set_all(newest.clone());
        site.refresh().unwrap();
        match error {
            UpdateError::Metadata(error) => error,
            other => panic!("{other}"),
        }
    };
    for file in ["targets.json", "role.json"] {
        let error = play(&mut site, &|sim| {
            sim.snapshot.meta.insert(file.to_owned(), MetaFile::of(version(1)));
        });
        assert!(is_rollback(&error, file), "{error}");
    }
    let error = play(&mut site, &|sim| drop(sim.snapshot.meta.remove("role.json")));
    assert!(matches!(error, MetadataError::Removed(file) if file == "role.json"));
    // Targets of the thief's own, signed with all that was stolen.
    site.sim.signers.insert("targets".to_owned(), vec![RoleType::Timestamp as u8 + 1, RoleType::Snapshot as u8 + 1]);
    bump(&mut site.sim.targets);
    site.sim.add_artifact("targets", "node", b"the thief's");
    let error = play(&mut site, &|sim| {
        sim.snapshot.meta.insert("targets.json".to_owned(), MetaFile::of(sim.targets.head.version));
    });
    assert!(is_unsigned(&error, "targets"), "{error}");
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
}

#[test]
fn k2_fewer_keys_than_must_sign_are_refused_however_often_they_sign() {
    let mut site = Site::new();
    site.sim.root.add_key(signer(70).public(), RoleType::Timestamp);
    site.sim.root.role_mut(RoleType::Timestamp).threshold = 2.try_into().unwrap();
    site.sim.next_root();
    let own = RoleType::Timestamp as u8 + 1;
    let both = vec![own, 70];
    site.sim.signers.insert("timestamp".to_owned(), both.clone());
    site.release(b"release 2");
    site.refresh().unwrap();
    // One of them, then one of them and keys of other roles.
    let others = (1..=4).filter(|number| *number != own);
    for signers in [vec![70], [70, 60].into_iter().chain(others).collect()] {
        site.sim.signers.insert("timestamp".to_owned(), signers);
        site.sim.bump_timestamp();
        site.mirror.upload(&site.sim);
        assert!(is_unsigned(&site.refused(), "timestamp"));
    }
    // One of them twice: not even read.
    let mut twice: serde_json::Value =
        serde_json::from_slice(&site.sim.signed("timestamp", &site.sim.timestamp)).unwrap();
    let again = twice["signatures"][0].clone();
    twice["signatures"].as_array_mut().unwrap().push(again);
    site.mirror.put("timestamp.json", Served::Bytes(serde_json::to_vec(&twice).unwrap()));
    assert!(matches!(site.refused(), MetadataError::Format { role, .. } if role == "timestamp"));
    site.sim.signers.insert("timestamp".to_owned(), both);
    site.sim.bump_timestamp();
    site.mirror.upload(&site.sim);
    site.refresh().unwrap();
    // A root that only its new keys signed, however many there are.
    let honest = site.mirror.all();
    site.sim.rotate(RoleType::Root, 80);
    site.sim.next_root();
    site.mirror.upload(&site.sim);
    assert!(is_unsigned(&site.refused(), "root"));
    site.mirror.set_all(honest);
    site.refresh().unwrap();
}

#[test]
fn k4_a_root_with_a_key_of_an_unknown_kind_is_followed_over_http() {
    let mut site = Site::new();
    // A key is as the file says: read one of an unknown kind from a file.
    let text = String::from_utf8(site.sim.published_root(1)).unwrap();
    let text = text.replace("\"key-1\"", "\"unknown\"").replace("\"ml-dsa-65/1\"", "\"slh-dsa/9\"");
    let read: Metadata<Root> = Metadata::from_bytes(text.as_bytes(), Rules::own().limits.root).unwrap();
    site.sim.root.add_key(read.signed.keys()["unknown"].clone(), RoleType::Timestamp);
    site.sim.next_root();
    site.release(b"release 2");
    assert_eq!(site.fetch("node").unwrap(), b"release 2");
    assert_eq!(site.held()["root.json"], site.sim.published_root(2));
}
