//! Timestamp, snapshot, targets and the files themselves (sections 5.4 to 5.7 of the specification).

use exuvia::sys::Dir;
use exuvia::tuf::metadata::{Answer, DelegationError, Delegator, KeyPolicy, Metadata, RoleType, Signature, Timestamp};
use exuvia::tuf::{Digests, MetadataError, Mismatch, Store, UpdateError};
use exuvia::types::ByteLimit;
use proptest::prelude::*;

use crate::sim::{Client, Error, Fault, LATER, PAST, Sim, bump, expires, refused, signer, version};

fn unsigned(error: &MetadataError, of: &str) -> bool {
    matches!(error, MetadataError::Delegation(DelegationError::Unsigned { role, .. }) if role == of)
}

#[test]
fn t06_every_file_must_carry_the_version_under_which_it_was_asked_for() {
    let client = Client::refreshed();
    bump(&mut client.sim().targets);
    client.sim().publish();
    bump(&mut client.sim().targets);
    let error = refused(client.refresh());
    assert!(matches!(error, MetadataError::Version { role, expected: 2, found: 3 } if role == "targets"));
    assert_eq!(client.versions(), [1, 2, 2, 1]);
    // An old edition under a new name as well.
    client.sim().targets.head.version = version(1);
    assert!(matches!(refused(client.refresh()), MetadataError::Version { expected: 2, found: 1, .. }));
    assert_eq!(client.requests(), ["2.root.json", "timestamp.json", "2.targets.json"]);
}

#[test]
fn t12_what_has_no_end_is_cut_off_while_it_is_received() {
    for (file, limit) in [
        ("2.root.json", 1 << 20),
        ("timestamp.json", 64 << 10),
        ("2.snapshot.json", 2 << 20),
        ("2.targets.json", 5 << 20),
    ] {
        let client = Client::refreshed();
        bump(&mut client.sim().targets);
        client.sim().publish();
        client.sim().faults.insert(file.into(), Fault::Endless);
        let error = client.refresh().unwrap_err();
        assert!(matches!(&error, UpdateError::TooLong { file: cut, limit: at } if cut == file && at.get() == limit));
        let sent = client.sim().sent;
        assert!(sent <= limit && sent > limit - 1000, "{file}: {sent}");
        assert!(client.version(RoleType::Targets.as_str()) == 1);
    }
}

#[test]
fn t12_a_stated_length_is_the_limit_and_never_lifts_the_one_that_holds_for_all() {
    let client = Client::new();
    client.sim().states_digests = true;
    client.sim().publish();
    let length = client.sim().timestamp.snapshot.length.unwrap();
    client.sim().faults.insert("2.snapshot.json".into(), Fault::Endless);
    assert!(matches!(client.refresh(), Err(UpdateError::TooLong { limit, .. }) if limit.get() == length));
    client.sim().timestamp.snapshot.length = Some(1 << 40);
    bump(&mut client.sim().timestamp);
    assert!(matches!(client.refresh(), Err(UpdateError::TooLong { limit, .. }) if limit.get() == 2 << 20));
}

#[test]
fn t13_a_timestamp_with_three_ml_dsa_signatures_fits() {
    let mut sim = Sim::new();
    for number in [50, 51] {
        sim.root.add_key(signer(number).public(), RoleType::Timestamp);
        sim.signers.get_mut("timestamp").unwrap().push(number);
    }
    sim.root.role_mut(RoleType::Timestamp).threshold = 3.try_into().unwrap();
    sim.next_root();
    let client = Client::of(sim);
    client.refresh().unwrap();
    let length = client.file("timestamp.json").unwrap().len();
    assert!((16_384..65_536).contains(&length), "{length}");
}

#[test]
fn t21_digest_signature_version_rollback_and_expiry_are_judged_in_this_order_and_before_storing() {
    let client = Client::new();
    client.sim().states_digests = true;
    bump(&mut client.sim().targets);
    client.sim().publish();
    client.refresh().unwrap();
    // A snapshot with everything wrong; one fault after another is mended.
    {
        let mut sim = client.sim();
        sim.targets.head.version = version(1);
        sim.snapshot.head.expires = expires(PAST);
        sim.signers.insert("snapshot".into(), vec![66]);
        sim.publish();
        sim.timestamp.snapshot.length = Some(1);
        sim.snapshot.head.version = version(9);
    }
    let next = |mend: &dyn Fn(&mut Sim)| {
        let mut sim = client.sim();
        mend(&mut sim);
        bump(&mut sim.timestamp);
        drop(sim);
        refused(client.refresh())
    };
    let length = |sim: &mut Sim| {
        sim.timestamp.snapshot.length = None;
        let bytes = sim.signed("snapshot", &sim.snapshot);
        sim.timestamp.snapshot.digests = Some(Digests::sha256_of(&mut &bytes[..]).unwrap().1);
    };
    assert!(matches!(client.refresh(), Err(UpdateError::TooLong { .. })));
    let error = next(&|sim| {
        sim.timestamp.snapshot.length = None;
    });
    assert!(matches!(error, MetadataError::Mismatch { source: Mismatch::Digest(_), .. }), "{error}");
    let error = next(&length);
    assert!(unsigned(&error, "snapshot"), "{error}");
    let error = next(&|sim| {
        sim.signers.insert("snapshot".into(), vec![RoleType::Snapshot as u8 + 1]);
        length(sim);
    });
    assert!(matches!(error, MetadataError::Version { .. }), "{error}");
    let error = next(&|sim| {
        sim.snapshot.head.version = sim.timestamp.snapshot.version;
        length(sim);
    });
    assert!(matches!(error, MetadataError::Rollback { .. }), "{error}");
    let error = next(&|sim| {
        sim.targets.head.version = version(2);
        sim.describe_targets();
        length(sim);
    });
    assert!(matches!(error, MetadataError::Expired { .. }), "{error}");
    assert_eq!(client.version("snapshot"), 2);
    let mut sim = client.sim();
    sim.snapshot.head.expires = expires(LATER);
    length(&mut sim);
    bump(&mut sim.timestamp);
    drop(sim);
    client.refresh().unwrap();
    assert_eq!(client.version("snapshot"), 3);
}

#[test]
fn t22_files_are_judged_and_stored_byte_for_byte() {
    let mut sim = Sim::new();
    sim.indented = true;
    sim.states_digests = true;
    sim.publish();
    let client = Client::of(sim);
    client.refresh().unwrap();
    let sim = client.sim();
    assert_eq!(client.file("root.json").unwrap(), sim.published_root(1));
    for (file, bytes) in [
        ("timestamp.json", sim.signed("timestamp", &sim.timestamp)),
        ("snapshot.json", sim.signed("snapshot", &sim.snapshot)),
        ("targets.json", sim.signed("targets", &sim.targets)),
    ] {
        assert!(bytes.contains(&b'\n'));
        assert_eq!(client.file(file).unwrap(), bytes);
    }
    drop(sim);
    // The same content in another spelling is not the file that was announced.
    client.sim().publish();
    client.sim().indented = false;
    assert!(matches!(client.refresh(), Err(UpdateError::Metadata(MetadataError::Mismatch { .. }))));
}

#[test]
fn t23_what_was_verified_before_a_failure_stays() {
    let client = Client::refreshed();
    bump(&mut client.sim().targets);
    client.sim().publish();
    client.sim().faults.insert("2.snapshot.json".into(), Fault::Fail);
    client.refresh().unwrap_err();
    assert_eq!(client.versions(), [1, 2, 1, 1]);
    client.sim().faults = [("2.targets.json".to_owned(), Fault::Absent)].into();
    assert!(matches!(client.refresh(), Err(UpdateError::Absent { file }) if file == "2.targets.json"));
    assert_eq!(client.versions(), [1, 2, 2, 1]);
    client.sim().faults.clear();
    client.refresh().unwrap();
    assert_eq!(client.requests(), ["2.root.json", "timestamp.json", "2.targets.json"]);
}

#[test]
fn t24_every_file_must_be_valid_beyond_the_one_moment_at_which_the_update_began() {
    let now = crate::sim::NOW;
    for role in RoleType::ALL {
        let mut sim = Sim::new();
        let at = expires(now);
        match role {
            RoleType::Root => sim.root.head.expires = at,
            RoleType::Timestamp => sim.timestamp.head.expires = at,
            RoleType::Snapshot => sim.snapshot.head.expires = at,
            RoleType::Targets => sim.targets.head.expires = at,
        }
        sim.next_root();
        let mut client = Client::of(sim);
        let error = refused(client.refresh());
        assert!(matches!(error, MetadataError::Expired { role: of, expires } if of == role.as_str() && expires == at));
        if role != RoleType::Root {
            assert_eq!(client.version(role.as_str()), 0, "an expired {role} is not stored");
        }
        client.now = "2030-05-31T23:59:59.999Z".to_owned();
        client.refresh().unwrap();
    }
}

#[test]
fn t25_one_role_s_file_is_never_taken_for_another_s_though_the_same_key_signed_it() {
    let mut sim = Sim::new();
    let key = signer(RoleType::Timestamp as u8 + 1);
    for kind in RoleType::ALL {
        sim.root.add_key(key.public(), kind);
        sim.signers.insert(kind.to_string(), vec![RoleType::Root as u8 + 1, RoleType::Timestamp as u8 + 1]);
    }
    sim.next_root();
    let client = Client::of(sim);
    let files = |client: &Client| {
        let sim = client.sim();
        [
            sim.published_root(2),
            sim.signed("timestamp", &sim.timestamp),
            sim.signed("snapshot", &sim.snapshot),
            sim.signed("targets", &sim.targets),
        ]
    };
    let names = ["3.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];
    for (at, name) in names.into_iter().enumerate() {
        for (other, bytes) in files(&client).into_iter().enumerate().filter(|(other, _)| *other != at) {
            client.sim().faults = [(name.to_owned(), Fault::Bytes(bytes))].into();
            assert!(matches!(refused(client.refresh()), MetadataError::Format { .. }), "{} as {name}", names[other]);
        }
        client.sim().faults.clear();
    }
    client.refresh().unwrap();
}

#[test]
fn k2_t26_t27_a_role_below_its_threshold_of_different_keys_is_refused_and_nothing_is_stored() {
    for role in [RoleType::Timestamp, RoleType::Snapshot, RoleType::Targets] {
        let mut sim = Sim::new();
        let own = role as u8 + 1;
        sim.root.add_key(signer(50).public(), role);
        // The same key under another name.
        let again = exuvia::tuf::metadata::Key::ml_dsa("key-again", &key_of(own));
        sim.root.add_key(again, role);
        sim.root.role_mut(role).threshold = 2.try_into().unwrap();
        sim.next_root();
        let client = Client::of(sim);
        assert!(unsigned(&refused(client.refresh()), role.as_str()));
        // A key of another role, however well it signs, does not help.
        client.sim().signers.insert(role.to_string(), vec![own, RoleType::Root as u8 + 1, 99]);
        assert!(unsigned(&refused(client.refresh()), role.as_str()));
        assert_eq!(client.version(role.as_str()), 0);
        client.sim().signers.insert(role.to_string(), vec![99, 50, own]);
        client.refresh().unwrap();
    }
}

fn key_of(number: u8) -> exuvia::crypto::PublicKey<exuvia::crypto::ReleaseMetadata> {
    exuvia::crypto::SecretKey::from_seed(&[number; 32]).public().clone()
}

#[test]
fn k3_with_stolen_online_keys_nothing_is_listed_that_the_targets_keys_did_not_sign() {
    let client = Client::refreshed();
    bump(&mut client.sim().targets);
    client.sim().add_artifact("targets", "evil", b"evil");
    // The thief has timestamp and snapshot keys, and signs targets with them.
    let stolen = vec![RoleType::Timestamp as u8 + 1, RoleType::Snapshot as u8 + 1];
    client.sim().signers.insert("targets".into(), stolen);
    client.sim().publish();
    assert!(unsigned(&refused(client.refresh()), "targets"));
    assert_eq!(client.version("targets"), 1);
}

#[test]
fn k4_t31_a_root_that_lists_a_key_of_an_unknown_kind_serves_as_before() {
    let mut sim = Sim::new();
    let text = String::from_utf8(sim.published_root(1)).unwrap();
    // A key is as the file says: read one of an unknown kind from a file.
    let text = text.replacen("\"keytype\":\"ml-dsa\",\"keyval\"", "\"keytype\":\"sphinx\",\"keyval\"", 1);
    let read: Metadata<exuvia::tuf::metadata::Root> = Metadata::from_bytes(text.as_bytes(), ByteLimit::mib(1)).unwrap();
    let unknown = read.signed.keys().values().find(|key| key.keytype() == "sphinx").unwrap().clone();
    assert!(!unknown.is_usable(KeyPolicy::AnyCompiledIn));
    let role = RoleType::ALL.into_iter().find(|kind| sim.root.role(*kind).keyids == [unknown.keyid()]).unwrap();
    sim.root.add_key(unknown, role);
    sim.root.add_key(signer(50).public(), role);
    sim.signers.get_mut(role.as_str()).unwrap().push(50);
    sim.next_root();
    let client = Client::of(sim);
    client.refresh().unwrap();
    let sim = client.sim();
    let timestamp = sim.signed(role.as_str(), &sim.timestamp);
    let timestamp = Metadata::<Timestamp>::from_bytes(&timestamp, ByteLimit::mib(1));
    assert!(role != RoleType::Timestamp || timestamp.is_ok());
}

#[test]
fn a_product_s_own_metadata_counts_ml_dsa_keys_alone() {
    let metadata = Metadata::new(Sim::new().root);
    let result = metadata.signed.verification(KeyPolicy::MlDsa, "root", b"x", &metadata.signatures).unwrap();
    assert!(result.answers().all(|(_, answer)| matches!(answer, Answer::NoSignature(_))));
    // Ed25519 is known to builds for other people's repositories, and not allowed here.
    let text = String::from_utf8(Sim::new().published_root(1)).unwrap();
    let start = text.find("\"public\":").unwrap();
    let end = start + text[start..].find("\"}").unwrap() + 1;
    let text = text.replacen(&text[start..end], &format!("\"public\":\"{}\"", "ab".repeat(32)), 1);
    let text = text.replacen("ml-dsa-65/1", "ed25519", 1).replacen("\"ml-dsa\"", "\"ed25519\"", 1);
    let read: Metadata<exuvia::tuf::metadata::Root> = Metadata::from_bytes(text.as_bytes(), ByteLimit::mib(1)).unwrap();
    let key = read.signed.keys().values().find(|key| key.keytype() == "ed25519").unwrap();
    assert!(!key.is_usable(KeyPolicy::MlDsa));
    assert_eq!(key.is_usable(KeyPolicy::AnyCompiledIn), cfg!(feature = "tuf-interop"));
    assert!(!key.verifies(KeyPolicy::MlDsa, b"x", &Signature::new(key.keyid(), &[0; 64])));
}

type Expected = fn(&Error) -> bool;

#[test]
fn t39_a_target_is_received_up_to_its_length_and_is_the_described_one_or_nothing() {
    let client = Client::new();
    client.sim().add_artifact("targets", "a/file", b"content");
    client.sim().publish();
    let (outcome, content) = client.fetch("a/file");
    outcome.unwrap();
    assert_eq!(content, b"content");
    let address = client.requests().last().unwrap().clone();
    let faults: [(Fault, Expected); 6] = [
        (Fault::Endless, |error| {
            matches!(error, UpdateError::Target { source: Mismatch::Length { found: 8, .. }, .. })
        }),
        (Fault::Bytes(b"content!".to_vec()), |error| {
            matches!(error, UpdateError::Target { source: Mismatch::Length { .. }, .. })
        }),
        (Fault::Bytes(b"conten".to_vec()), |error| {
            matches!(error, UpdateError::Target { source: Mismatch::Length { found: 6, .. }, .. })
        }),
        (Fault::Bytes(b"CONTENT".to_vec()), |error| {
            matches!(error, UpdateError::Target { source: Mismatch::Digest(_), .. })
        }),
        (Fault::Absent, |error| matches!(error, UpdateError::Absent { .. })),
        (Fault::BreaksOff(3), |error| matches!(error, UpdateError::Download { .. })),
    ];
    for (fault, expected) in faults {
        client.sim().faults.insert(address.clone(), fault);
        let (outcome, content) = client.fetch("a/file");
        let error = outcome.unwrap_err();
        assert!(expected(&error), "{error}");
        assert!(content.is_empty(), "nothing of it is left");
        assert!(client.sim().sent <= 7);
    }
}

#[test]
fn t40_the_digest_in_an_address_stands_before_the_file_s_name() {
    let client = Client::new();
    client.sim().add_artifact("targets", "a/b/file.txt", b"content");
    client.sim().publish();
    client.fetch("a/b/file.txt").0.unwrap();
    let digest = client.sim().targets.target("a/b/file.txt").unwrap().digests.get("sha256").unwrap().to_owned();
    assert_eq!(*client.requests().last().unwrap(), format!("a/b/{digest}.file.txt"));
}

#[test]
fn t38_a_target_with_a_digest_that_cannot_be_computed_is_not_even_asked_for() {
    let client = Client::new();
    client.sim().add_artifact("targets", "file", b"content");
    let mut target = client.sim().targets.target("file").unwrap().clone();
    let mut digests: std::collections::BTreeMap<_, _> =
        target.digests.iter().map(|(name, digest)| (name.to_owned(), digest.to_owned())).collect();
    digests.insert("md5".into(), "9a0364b9e99bb480dd25e1f0284c8555".into());
    target.digests = Digests::new(digests).unwrap();
    client.sim().targets.insert(target);
    let (outcome, content) = client.fetch("file");
    assert!(matches!(outcome, Err(UpdateError::Target { source: Mismatch::Algorithm(_), .. })));
    assert!(content.is_empty());
    assert_eq!(client.requests().last().unwrap(), "1.targets.json");
}

#[test]
fn t52_whatever_a_server_sends_is_an_error_and_never_a_panic() {
    for bytes in
        [&b""[..], b"{", b"[]", b"null", b"{\"signed\":{},\"signatures\":[]}", b"\xff\xfe", &vec![b'['; 60_000]]
    {
        for file in ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"] {
            let client = Client::new();
            client.sim().faults.insert(file.into(), Fault::Bytes(bytes.to_vec()));
            assert!(matches!(refused(client.refresh()), MetadataError::Format { .. }), "{file}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn t52_a_file_with_some_bytes_changed_is_refused_or_says_the_same(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let sim = Sim::new();
        let whole = sim.signed("timestamp", &sim.timestamp);
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let client = Client::of(sim);
        client.sim().faults.insert("timestamp.json".into(), Fault::Bytes(bytes.clone()));
        match client.refresh() {
            Ok(()) => {
                let parse = |bytes: &[u8]| Metadata::<Timestamp>::from_bytes(bytes, ByteLimit::mib(1)).unwrap();
                prop_assert_eq!(parse(&bytes).signed, parse(&whole).signed);
            }
            Err(UpdateError::Metadata(MetadataError::Format { .. } | MetadataError::Delegation(_))) => {
                prop_assert_eq!(client.version("timestamp"), 0);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn only_one_update_runs_in_a_store_at_a_time() {
    let client = Client::new();
    let dir = Dir::open(client.dir.path()).unwrap();
    let first = Store::open(&dir).unwrap();
    assert!(first.is_some());
    assert!(Store::open(&dir).unwrap().is_none());
    drop(first);
    assert!(Store::open(&dir).unwrap().is_some());
}

#[test]
fn a_target_that_nobody_lists_is_not_found() {
    let client = Client::new();
    assert_eq!(client.find("nothing").unwrap(), None);
    assert_eq!(client.requests(), ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]);
}
