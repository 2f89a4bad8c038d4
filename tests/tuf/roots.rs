//! How the root is updated (section 5.3 of the specification).

use exuvia::tuf::metadata::{DelegationError, RoleType};
use exuvia::tuf::{MetadataError, UpdateError};

use crate::sim::{Client, Fault, LATER, PAST, Sim, bump, expires, refused, signer};

fn unsigned(error: &MetadataError) -> bool {
    matches!(error, MetadataError::Delegation(DelegationError::Unsigned { role, .. }) if role == "root")
}

#[test]
fn t01_a_root_that_is_not_signed_by_itself_or_lacks_a_field_is_refused_before_any_request() {
    let mut client = Client::new();
    let good = String::from_utf8(client.bootstrap.clone()).unwrap();
    client.bootstrap = good.replace("\"version\":1", "\"version\":2").into_bytes();
    assert!(unsigned(&refused(client.refresh())));
    for bootstrap in [good.replace(",\"version\":1", ""), String::new(), "{}".into(), good[1..].into()] {
        assert_ne!(bootstrap, good);
        client.bootstrap = bootstrap.into_bytes();
        assert!(matches!(refused(client.refresh()), MetadataError::Format { .. }));
    }
    assert!(client.requests().is_empty());
    assert_eq!(client.versions(), [0; 4]);
}

#[test]
fn t02_t09_expired_roots_lead_on_to_newer_ones_and_only_the_last_one_must_be_valid() {
    let mut sim = Sim::new();
    sim.root.head.expires = expires(PAST);
    sim.next_root();
    let bootstrap = sim.published_root(2);
    sim.next_root();
    let mut client = Client::of(sim);
    client.bootstrap = bootstrap;
    // All expired: the newest is stored nevertheless, before that is noticed, and nothing else is asked for.
    assert!(matches!(refused(client.refresh()), MetadataError::Expired { role, .. } if role == "root"));
    assert_eq!(client.requests(), ["3.root.json", "4.root.json"]);
    assert_eq!(client.versions(), [3, 0, 0, 0]);
    client.sim().root.head.expires = expires(LATER);
    client.sim().next_root();
    client.refresh().unwrap();
    assert_eq!(client.versions(), [4, 1, 1, 1]);
    // From a stored expired root as well.
    assert_eq!(client.requests()[0], "4.root.json");
}

#[test]
fn t03_only_the_next_root_is_asked_for_and_the_order_of_requests_is_exact() {
    let client = Client::new();
    client.refresh().unwrap();
    let first = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];
    assert_eq!(client.requests(), first);
    client.refresh().unwrap();
    assert_eq!(client.requests(), ["2.root.json", "timestamp.json"], "nothing new costs two requests");
    client.sim().next_root();
    client.sim().next_root();
    client.sim().publish();
    client.refresh().unwrap();
    let second = ["2.root.json", "3.root.json", "4.root.json", "timestamp.json", "2.snapshot.json"];
    assert_eq!(client.requests(), second);
}

#[test]
fn t03_without_consistent_snapshots_names_carry_no_versions() {
    for stated in [Some(false), None] {
        let mut sim = Sim::new();
        sim.root.consistent_snapshot = stated;
        sim.next_root();
        sim.add_artifact("targets", "a/b", b"content");
        let client = Client::of(sim);
        let (outcome, content) = client.fetch("a/b");
        outcome.unwrap();
        assert_eq!(content, b"content");
        let all = ["2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json", "a/b"];
        assert_eq!(client.requests(), all);
    }
}

#[test]
fn t04_a_server_that_fails_is_not_a_server_without_a_newer_root() {
    let client = Client::refreshed();
    client.sim().next_root();
    client.sim().publish();
    for fault in [Fault::Fail, Fault::BreaksOff(0), Fault::BreaksOff(100)] {
        client.sim().faults.insert("2.root.json".into(), fault);
        assert!(matches!(client.refresh(), Err(UpdateError::Download { file, .. }) if file == "2.root.json"));
        assert_eq!(client.requests(), ["2.root.json"]);
        assert_eq!(client.versions(), [1; 4]);
    }
    client.sim().faults.clear();
    client.refresh().unwrap();
    assert_eq!(client.versions(), [2, 2, 2, 1]);
}

/// Keys, threshold and signers of a root.
type Edition<'a> = (&'a [u8], u64, &'a [u8]);

#[test]
fn t05_every_way_to_rotate_root_keys_ends_as_it_must() {
    let cases: &[(&[Edition<'_>], bool)] = &[
        (&[(&[1], 1, &[1]), (&[2], 1, &[2, 1]), (&[2], 1, &[2])], true),
        // Signatures that nobody asked for change nothing.
        (&[(&[1], 1, &[3, 1, 4]), (&[2], 1, &[3, 2, 1, 4]), (&[2], 1, &[3, 2, 4])], true),
        (&[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4]), (&[0, 1, 2, 3, 4], 3, &[0, 1, 3])], true),
        (&[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4]), (&[0, 1, 3, 4, 5], 3, &[0, 4, 1])], true),
        (&[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4]), (&[5, 6, 7, 8, 9], 3, &[0, 2, 4, 5, 6, 7])], true),
        (&[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[1, 2])], true),
        (&[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1, 2]), (&[1, 2, 3], 1, &[1])], true),
        // Not signed as the root before demands, or not as it demands itself.
        (&[(&[1], 1, &[1]), (&[2], 1, &[2, 3, 4])], false),
        (&[(&[1], 1, &[1]), (&[2], 1, &[1, 3, 4])], false),
        (&[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4]), (&[0, 1, 3, 4, 5], 3, &[0, 2, 4])], false),
        (&[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4]), (&[0, 1, 3, 4, 5], 3, &[0, 4, 5])], false),
        (&[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[2])], false),
        (&[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1])], false),
    ];
    for (editions, good) in cases {
        let mut sim = Sim::new();
        for (keys, threshold, signers) in *editions {
            for keyid in sim.root.role(RoleType::Root).keyids.clone() {
                sim.root.revoke_key(&keyid, RoleType::Root).unwrap();
            }
            for number in *keys {
                sim.root.add_key(signer(100 + number).public(), RoleType::Root);
            }
            sim.root.role_mut(RoleType::Root).threshold = (*threshold).try_into().unwrap();
            sim.signers.insert("root".into(), signers.iter().map(|number| 100 + number).collect());
            sim.next_root();
        }
        let newest = editions.len() + 1;
        let mut client = Client::of(sim);
        client.trust(2);
        let outcome = client.refresh();
        let trusted = if *good { newest } else { newest - 1 };
        assert_eq!(client.file("root.json").unwrap(), client.sim().published_root(trusted), "{editions:?}");
        match outcome {
            Ok(()) => assert!(good, "{editions:?}"),
            other => assert!(!good && unsigned(&refused(other)), "{editions:?}"),
        }
    }
}

#[test]
fn t06_a_root_must_carry_the_version_under_which_it_was_asked_for() {
    for wrong in [1, 3, 4, u64::MAX] {
        let mut sim = Sim::new();
        sim.root.head.version = crate::sim::version(wrong);
        sim.publish_root();
        let client = Client::of(sim);
        let refused = refused(client.refresh());
        assert!(matches!(refused, MetadataError::Version { expected: 2, found, .. } if found == wrong), "{refused}");
        assert_eq!(client.versions(), [1, 0, 0, 0]);
    }
}

#[test]
fn t07_each_root_is_stored_before_the_next_is_asked_for() {
    let mut sim = Sim::new();
    sim.next_root();
    sim.signers.insert("root".into(), vec![77]);
    sim.next_root();
    let client = Client::of(sim);
    assert!(unsigned(&refused(client.refresh())));
    assert_eq!(client.requests(), ["2.root.json", "3.root.json"]);
    let second = client.sim().published_root(2);
    assert_eq!(client.file("root.json").unwrap(), second);
    assert_eq!(client.file("root_history/2.root.json").unwrap(), second);
    assert_eq!(client.file("root_history/3.root.json"), None);
    // Also when what follows is no answer at all.
    client.sim().faults.insert("3.root.json".into(), Fault::Fail);
    client.refresh().unwrap_err();
    assert_eq!(client.file("root.json").unwrap(), second);
}

#[test]
fn t08_a_stored_root_is_never_trusted_for_being_stored() {
    let client = Client::refreshed();
    client.sim().next_root();
    client.refresh().unwrap();
    // An attacker's chain, as it would lie there if it had been stored without being verified.
    let mut evil = Sim::new();
    evil.rotate(RoleType::Root, 66);
    evil.next_root();
    client.write("root.json", &evil.published_root(2));
    client.write("root_history/2.root.json", &evil.published_root(2));
    client.refresh().unwrap();
    assert_eq!(client.requests(), ["2.root.json", "3.root.json", "timestamp.json"]);
    let second = client.sim().published_root(2);
    assert_eq!(client.file("root.json").unwrap(), second);
    assert_eq!(client.file("root_history/2.root.json").unwrap(), second);
    // A root that was the first one on this host does not stand in for the one of the program.
    client.write("root_history/1.root.json", &evil.published_root(1));
    client.refresh().unwrap();
    assert_eq!(client.file("root_history/1.root.json").unwrap(), client.bootstrap);
}

#[test]
fn t10_a_long_chain_is_followed_in_pieces() {
    let mut sim = Sim::new();
    for _ in 0..5 {
        sim.next_root();
    }
    let mut client = Client::of(sim);
    client.rules.limits.root_rotations = 2;
    client.refresh().unwrap();
    assert_eq!(client.versions(), [3, 1, 1, 1]);
    assert_eq!(client.requests()[..3], ["2.root.json", "3.root.json", "timestamp.json"]);
    client.refresh().unwrap();
    client.refresh().unwrap();
    assert_eq!(client.versions(), [6, 1, 1, 1]);
    assert_eq!(client.requests(), ["6.root.json", "7.root.json", "timestamp.json"]);
}

#[test]
fn roots_of_a_store_are_not_asked_for_again_and_a_newer_program_s_root_starts_there() {
    let mut client = Client::refreshed();
    client.sim().next_root();
    client.sim().next_root();
    client.refresh().unwrap();
    client.refresh().unwrap();
    assert_eq!(client.requests(), ["4.root.json", "timestamp.json"]);
    client.trust(3);
    client.refresh().unwrap();
    assert_eq!(client.requests(), ["4.root.json", "timestamp.json"]);
    assert_eq!(client.versions(), [3, 1, 1, 1]);
}

#[test]
fn t01_a_root_is_verified_by_its_own_role_and_not_by_other_keys_that_it_lists() {
    let mut sim = Sim::new();
    bump(&mut sim.root);
    sim.signers.insert("root".into(), vec![RoleType::Targets as u8 + 1]);
    sim.publish_root();
    let mut client = Client::of(sim);
    client.trust(2);
    assert!(unsigned(&refused(client.refresh())));
}
