use super::*;
use crate::crypto::{ReleaseMetadata, SecretKey};
use crate::tuf::json::{Json, Object};
use crate::tuf::{FormatError, Problem};
use crate::types::ByteLimit;

const LIMIT: ByteLimit = ByteLimit::mib(1);
const POLICY: KeyPolicy = KeyPolicy::MlDsa;

fn signer(keyid: &str, seed: u8) -> MlDsaSigner {
    MlDsaSigner::new(keyid, SecretKey::<ReleaseMetadata>::from_seed(&[seed; 32]))
}

fn head() -> Head {
    Head::first("2030-01-01T00:00:00Z".parse().unwrap())
}

fn root_of(signers: &[&MlDsaSigner]) -> Root {
    let keyids: Vec<String> = signers.iter().map(|signer| signer.public().keyid().to_owned()).collect();
    Root::new(head(), signers.iter().map(|signer| signer.public()), |_| Role::one_of(keyids.clone()))
}

fn format<T: Signed>(text: &str) -> Result<Metadata<T>, FormatError> {
    Metadata::from_bytes(text.as_bytes(), LIMIT)
}

/// A file as it may come from anywhere, with something unknown at every place.
fn strange_targets() -> String {
    r#"{"unsigned":[1],"signatures":[{"keyid":"b","sig":"zz","x":1},{"keyid":"a","sig":"","x":null}],"signed":{
        "_type":"targets","version":7,"spec_version":"1.0","expires":"2030-01-01T00:00:00Z","zz":{"big":123456789012345678901},
        "targets":{"e\u0301":{"length":0,"hashes":{"md9":"AA"},"custom":{"a":[true,null]},"y":"\u0001"}},
        "delegations":{"d":0,"succinct_roles":null,"keys":{
            "k":{"keytype":"future","scheme":"future/9","keyval":{"public":{"x":1},"private":""},"n":1},
            "l":{"keytype":"ml-dsa","scheme":"ml-dsa-65/1","keyval":{"public":"not PEM"}}},
          "roles":[{"name":"z","keyids":["k","missing"],"threshold":9,"terminating":true,"paths":["*"],"path_hash_prefixes":null,"q":0},
                   {"name":"../a","keyids":[],"threshold":1,"terminating":false,"path_hash_prefixes":["8f"]}]}}}"#
        .to_owned()
}

#[test]
fn t33_members_that_nobody_knows_are_kept_everywhere_and_are_signed() {
    let text = strange_targets();
    let Json::Object(all) = Json::parse(text.as_bytes()).unwrap() else { unreachable!() };
    let metadata: Metadata<Targets> = format(&text).unwrap();
    assert_eq!(metadata.signed_bytes(), crate::tuf::canonical(&all["signed"]));
    let written = Json::parse(&metadata.to_bytes().unwrap()).unwrap();
    assert_eq!(written, Json::Object(all));
    let again: Metadata<Targets> = Metadata::from_bytes(&metadata.to_indented_bytes().unwrap(), LIMIT).unwrap();
    assert_eq!(again, metadata);
}

#[test]
fn an_explicit_null_stays_one() {
    let signer = signer("k", 1);
    let metadata = Metadata::new(root_of(&[&signer]));
    let text = String::from_utf8(metadata.to_bytes().unwrap()).unwrap();
    for (member, stated) in
        [("", None), ("\"consistent_snapshot\":null,", None), ("\"consistent_snapshot\":false,", Some(false))]
    {
        let changed = text.replace("\"consistent_snapshot\":true,", member);
        let read: Metadata<Root> = format(&changed).unwrap();
        assert_eq!(read.signed.consistent_snapshot, stated);
        assert_eq!(String::from_utf8(read.to_bytes().unwrap()).unwrap(), changed);
    }
}

#[test]
fn the_order_of_signatures_and_of_delegated_roles_is_kept_and_is_part_of_equality() {
    let metadata: Metadata<Targets> = format(&strange_targets()).unwrap();
    let order: Vec<_> = metadata.signatures.iter().map(|signature| signature.keyid.as_str()).collect();
    assert_eq!(order, ["b", "a"]);
    let mut other = metadata.clone();
    let first = other.signatures.get("b").unwrap().clone();
    other.signatures.remove("b");
    other.signatures.insert(first);
    assert_ne!(metadata, other);
    let mut other = metadata.clone();
    other.signed.roles_mut().unwrap().reverse();
    assert_ne!(metadata, other);
    assert_eq!(metadata, metadata.clone());
}

#[test]
fn t25_a_file_of_another_type_is_refused() {
    let text = strange_targets();
    assert!(matches!(format::<Timestamp>(&text).unwrap_err().problem(), Problem::Type));
    assert!(matches!(AnyMetadata::from_bytes(text.as_bytes(), LIMIT), Ok(AnyMetadata::Targets(_))));
    let unknown = text.replace("\"targets\",\"version\"", "\"mirrors\",\"version\"");
    assert!(matches!(AnyMetadata::from_bytes(unknown.as_bytes(), LIMIT).unwrap_err().problem(), Problem::Type));
}

#[test]
fn t26_a_keyid_stands_once_among_a_role_s_keys_and_once_among_the_signatures() {
    let repeated = |text: String| matches!(format::<Targets>(&text).unwrap_err().problem(), Problem::RepeatedKeyid(_));
    assert!(repeated(strange_targets().replace("\"keyid\":\"b\"", "\"keyid\":\"a\"")));
    assert!(repeated(strange_targets().replace("[\"k\",\"missing\"]", "[\"k\",\"k\"]")));
}

#[test]
fn t28_a_threshold_below_one_is_refused_when_it_is_read() {
    for threshold in ["0", "-1", "true", "\"1\"", "null", "18446744073709551616"] {
        let text = strange_targets().replace("\"threshold\":9", &format!("\"threshold\":{threshold}"));
        let error = format::<Targets>(&text).unwrap_err();
        assert!(matches!(error.problem(), Problem::Expected(_)), "{threshold}: {error}");
        assert_eq!(error.place(), ["signed", "delegations", "roles", "threshold"]);
    }
}

#[test]
fn t29_a_threshold_above_the_number_of_keys_is_read_and_never_met() {
    let (a, b) = (signer("a", 1), signer("b", 2));
    let mut root = root_of(&[&a, &b]);
    root.role_mut(RoleType::Root).threshold = 3.try_into().unwrap();
    let mut metadata = Metadata::new(root);
    metadata.sign(&a).unwrap();
    metadata.add_signature(&b).unwrap();
    let read: Metadata<Root> = Metadata::from_bytes(&metadata.to_bytes().unwrap(), LIMIT).unwrap();
    let result = read.signed.verification(POLICY, "root", &read.signed_bytes(), &read.signatures).unwrap();
    assert_eq!((result.signed().count(), result.missing(), result.is_verified()), (2, 1, false));
}

#[test]
fn t27_the_same_key_under_two_names_counts_once() {
    let (one, other) = (signer("one", 1), signer("other", 1));
    let mut root = root_of(&[&one, &other]);
    root.role_mut(RoleType::Root).threshold = 2.try_into().unwrap();
    let mut metadata = Metadata::new(root);
    metadata.sign(&one).unwrap();
    metadata.add_signature(&other).unwrap();
    let payload = metadata.signed_bytes();
    let result = metadata.signed.verification(POLICY, "root", &payload, &metadata.signatures).unwrap();
    let answers: Vec<_> = result.answers().map(|(_, answer)| answer).collect();
    assert!(matches!(answers[..], [Answer::Signed(_), Answer::Repeated(_)]));
    assert!(!result.is_verified());
}

#[test]
fn t30_signatures_that_are_none_do_not_spoil_those_that_are() {
    let (good, bad, silent) = (signer("good", 1), signer("bad", 2), signer("silent", 3));
    let mut metadata = Metadata::new(root_of(&[&bad, &good, &silent]));
    metadata.sign(&good).unwrap();
    let payload = metadata.signed_bytes();
    let genuine = metadata.signatures.get("good").unwrap().sig.clone();
    for garbage in ["", "zz", "00", &genuine, &genuine[2..], &format!("{genuine}00"), "é", &"0".repeat(6618)] {
        metadata.signatures.insert(Signature { keyid: "bad".into(), sig: garbage.into(), unrecognized: Object::new() });
        metadata.signatures.insert(Signature {
            keyid: "foreign".into(),
            sig: garbage.into(),
            unrecognized: Object::new(),
        });
        let result = metadata.signed.verification(POLICY, "root", &payload, &metadata.signatures).unwrap();
        let answers: Vec<_> = result.answers().map(|(_, answer)| answer).collect();
        assert!(
            matches!(answers[..], [Answer::BadSignature(_), Answer::Signed(_), Answer::NoSignature(_)]),
            "{garbage}"
        );
        assert!(result.is_verified() && result.unsigned().count() == 2);
    }
    // Upper-case digits are the same number.
    metadata.signatures.insert(Signature {
        keyid: "good".into(),
        sig: genuine.to_uppercase(),
        unrecognized: Object::new(),
    });
    assert!(metadata.signed.verify_delegate(POLICY, "root", &payload, &metadata.signatures).is_ok());
}

#[test]
fn t31_a_key_of_an_unknown_type_is_kept_and_never_counts() {
    let good = signer("good", 1);
    let mut root = root_of(&[&good]);
    let unknown: Metadata<Targets> = format(&strange_targets()).unwrap();
    for keyid in ["k", "l"] {
        let key = unknown.signed.key(keyid).unwrap().clone();
        assert!(!key.is_usable(KeyPolicy::AnyCompiledIn) && !key.is_same_material(&key));
        root.add_key(key, RoleType::Root);
    }
    let mut metadata = Metadata::new(root);
    metadata.sign(&good).unwrap();
    metadata.signatures.insert(Signature::new("k", b"x"));
    let metadata: Metadata<Root> = Metadata::from_bytes(&metadata.to_bytes().unwrap(), LIMIT).unwrap();
    let result = metadata.signed.verification(POLICY, "root", &metadata.signed_bytes(), &metadata.signatures).unwrap();
    let answers: Vec<_> = result.answers().map(|(_, answer)| answer).collect();
    assert!(matches!(answers[..], [Answer::Signed(_), Answer::Unusable(_), Answer::Unusable(_)]));
}

#[test]
fn t32_a_keyid_is_a_name_and_no_digest() {
    let signer = signer("anything at all", 1);
    let mut metadata = Metadata::new(root_of(&[&signer]));
    metadata.sign(&signer).unwrap();
    assert!(metadata.signed.verify_delegate(POLICY, "root", &metadata.signed_bytes(), &metadata.signatures).is_ok());
}

#[test]
fn t55_ml_dsa_signs_the_prehashed_form_with_an_empty_context_and_nothing_else_counts() {
    use crate::crypto::Context;
    use crate::types::ReleaseId;
    use sha2::{Digest, Sha512};

    let secret = SecretKey::<ReleaseMetadata>::from_seed(&[1; 32]);
    let key = Key::ml_dsa("k", secret.public());
    let verifies = |sig: &[u8]| key.verifies(POLICY, b"payload", &Signature::new("k", sig));
    let sign = |message: &[u8]| secret.sign(&Context::metadata(), &mut &*message).unwrap().as_bytes().to_vec();
    let digest = Sha512::digest(b"payload");
    assert!(verifies(&sign(&[b"tuf\x01", &digest[..]].concat())));
    assert!(!verifies(&sign(b"payload")), "not prehashed");
    assert!(!verifies(&sign(&digest)), "without its prefix");
    assert!(!verifies(&sign(&[b"tuf\x02", &digest[..]].concat())), "of another version");
    assert!(!verifies(&sign(b"tuf\x01payload")), "not hashed");
    // The same seed as a release key: its signatures name a release in their context.
    let release = SecretKey::<crate::crypto::Release>::from_seed(&[1; 32]);
    let id = ReleaseId {
        product: "p".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        target: "t-u-v".parse().unwrap(),
    };
    let message = [b"tuf\x01", &digest[..]].concat();
    assert!(!verifies(release.sign(&Context::archive(&id), &mut &message[..]).unwrap().as_bytes()), "another context");
    for scheme in ["ml-dsa-65", "ml-dsa-65/2", "ml-dsa-65/01", "ml-dsa-44/1", "ML-DSA-65/1"] {
        let mut listed = key.write();
        if let Json::Object(members) = &mut listed {
            members.insert("scheme".into(), Json::from(scheme));
        }
        assert!(!Key::read("k", listed).unwrap().is_usable(KeyPolicy::AnyCompiledIn), "{scheme}");
    }
}

#[test]
fn t05_a_root_meets_the_old_and_the_new_threshold_each_on_its_own() {
    let (a, b, c) = (signer("a", 1), signer("b", 2), signer("c", 3));
    let mut first = root_of(&[&a, &b]);
    first.role_mut(RoleType::Root).threshold = 2.try_into().unwrap();
    let mut second = root_of(&[&b, &c]);
    second.role_mut(RoleType::Root).threshold = 2.try_into().unwrap();
    second.head.version = RoleVersion::new(2).unwrap();
    let mut metadata = Metadata::new(second);
    for (signers, verified) in [
        (vec![&a, &b, &c], true),
        // Two thresholds of two, and together two keys for each root are not there.
        (vec![&a, &c], false),
        (vec![&b, &c], false),
        (vec![&a, &b], false),
    ] {
        metadata.signatures.clear();
        for signer in signers {
            metadata.add_signature(signer).unwrap();
        }
        let payload = metadata.signed_bytes();
        let result = metadata.signed.root_verification(Some(&first), POLICY, &payload, &metadata.signatures).unwrap();
        assert_eq!(result.is_verified(), verified);
        assert_eq!(result.signed().len(), metadata.signatures.len());
    }
    let payload = metadata.signed_bytes();
    let mut third = metadata.signed.clone();
    third.head.version = RoleVersion::new(3).unwrap();
    assert!(third.root_verification(Some(&first), POLICY, &payload, &metadata.signatures).is_err());
    assert!(first.root_verification(None, POLICY, &payload, &metadata.signatures).is_ok());
}

/// A token that is not plugged in.
struct Broken;

impl Signer for Broken {
    fn sign(&self, _: &[u8]) -> Result<Signature, SignerError> {
        Err(SignerError("no such token".into()))
    }
}

#[test]
fn signing_replaces_and_adding_a_signature_does_not() {
    let (a, b) = (signer("a", 1), signer("b", 2));
    let mut metadata = Metadata::new(root_of(&[&a, &b]));
    let keyids =
        |metadata: &Metadata<Root>| -> Vec<String> { metadata.signatures.iter().map(|it| it.keyid.clone()).collect() };
    metadata.sign(&a).unwrap();
    metadata.add_signature(&b).unwrap();
    assert_eq!(keyids(&metadata), ["a", "b"]);
    let before = metadata.signatures.clone();
    metadata.add_signature(&a).unwrap();
    assert_eq!(keyids(&metadata), ["a", "b"], "replaced where it stood");
    assert_ne!(metadata.signatures, before, "hedged: never the same bytes");
    metadata.sign(&b).unwrap();
    assert_eq!(keyids(&metadata), ["b"]);

    assert!(metadata.sign(&Broken).is_err());
    assert_eq!(keyids(&metadata), ["b"], "a failure leaves what there was");
}

#[test]
fn keys_are_added_once_and_leave_the_list_with_their_last_role() {
    let (a, b) = (signer("a", 1), signer("b", 2));
    let mut root = root_of(&[&a]);
    let before = root.clone();
    root.add_key(a.public(), RoleType::Targets);
    assert_eq!(root, before);
    root.add_key(b.public(), RoleType::Targets);
    root.add_key(b.public(), RoleType::Snapshot);
    root.revoke_key("b", RoleType::Targets).unwrap();
    assert!(root.key("b").is_some());
    root.revoke_key("b", RoleType::Snapshot).unwrap();
    assert_eq!(root, before);
    assert!(matches!(root.revoke_key("b", RoleType::Snapshot), Err(EditError::NotUsed { .. })));

    let mut targets = Targets::new(head());
    assert!(matches!(targets.add_key(a.public(), "x"), Err(EditError::NoRole(_))));
    let roles = ["x", "y"].map(|name| DelegatedRole::new(name, Role::one_of(["a"]), DelegatedPaths::Patterns(vec![])));
    targets.delegations = Some(Delegations::to_roles([a.public()], roles.to_vec()).unwrap());
    targets.add_key(b.public(), "y").unwrap();
    targets.revoke_key("a", "x").unwrap();
    assert!(targets.key("a").is_some(), "y still uses it");
    targets.revoke_key("a", "y").unwrap();
    assert!(targets.key("a").is_none() && targets.key("b").is_some());
    assert!(matches!(targets.revoke_key("b", "z"), Err(EditError::NoRole(_))));

    let bins = SuccinctRoles::new(Role::one_of(["a"]), 4, "bin").unwrap();
    targets.delegations = Some(Delegations::to_bins([a.public()], bins));
    targets.add_key(b.public(), "").unwrap();
    targets.revoke_key("a", "bin-3").unwrap();
    assert_eq!(targets.delegated_role("bin-f").unwrap().keyids, ["b"]);
    assert!(targets.delegated_role("bin-10").is_none());
}

#[test]
fn what_nobody_could_read_is_not_written() {
    let signer = signer("k", 1);
    let mut metadata = Metadata::new(root_of(&[&signer]));
    metadata.signed.role_mut(RoleType::Root).keyids.push("k".into());
    assert!(matches!(metadata.to_bytes(), Err(WriteError::Unreadable(_))));
    let mut metadata = Metadata::new(root_of(&[&signer]));
    metadata.signed.head.unrecognized.insert("version".into(), Json::from(9));
    assert!(matches!(metadata.to_bytes(), Err(WriteError::Changes)));
    let dir = tempfile::tempdir().unwrap();
    let dir = crate::sys::Dir::open(dir.path()).unwrap();
    assert!(metadata.write_file(&dir, "root.json").is_err());
    assert!(dir.names().unwrap().is_empty());
    metadata.signed.head.unrecognized.clear();
    metadata.write_file(&dir, "root.json").unwrap();
    assert_eq!(Metadata::read_file(&dir, "root.json", LIMIT).unwrap(), metadata);
}

#[test]
fn t48_t49_delegated_roles_have_names_of_their_own() {
    for name in ["root", "timestamp", "snapshot", "targets", ""] {
        let text = strange_targets().replace("\"name\":\"z\"", &format!("\"name\":\"{name}\""));
        assert!(matches!(format::<Targets>(&text).unwrap_err().problem(), Problem::RoleName(_)), "{name}");
    }
    let text = strange_targets().replace("\"name\":\"z\"", "\"name\":\"../a\"");
    assert!(matches!(format::<Targets>(&text).unwrap_err().problem(), Problem::RepeatedRole(_)));
}

#[test]
fn what_is_missing_or_of_another_type_is_named_with_its_place() {
    for (from, to, place) in [
        ("\"version\":7,", "", "signed.version"),
        ("\"terminating\":true,", "", "signed.delegations.roles.terminating"),
        ("\"paths\":[\"*\"],", "", "signed.delegations.roles"),
        ("\"path_hash_prefixes\":null", "\"path_hash_prefixes\":[]", "signed.delegations.roles"),
        ("\"succinct_roles\":null", "\"succinct_roles\":{}", "signed.delegations.succinct_roles.keyids"),
        ("{\"md9\":\"AA\"}", "{}", "signed.targets.e\u{301}.hashes"),
        ("{\"md9\":\"AA\"}", "{\"md9\":1}", "signed.targets.e\u{301}.hashes.md9"),
        ("\"length\":0", "\"length\":-1", "signed.targets.e\u{301}.length"),
        ("\"sig\":\"zz\"", "\"sig\":0", "signatures.sig"),
        ("\"keytype\":\"future\",", "", "signed.delegations.keys.k.keytype"),
        ("\"delegations\":{", "\"delegations\":0,\"x\":{", "signed.delegations"),
    ] {
        let text = strange_targets();
        assert!(text.contains(from), "{from}");
        let error = format::<Targets>(&text.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.place().join("."), place, "{error}");
    }
    let root = String::from_utf8(Metadata::new(root_of(&[&signer("k", 1)])).to_bytes().unwrap()).unwrap();
    for (from, to) in
        [("\"timestamp\":", "\"mirrors\":"), ("\"roles\":{", "\"roles\":{\"mirrors\":{\"keyids\":[],\"threshold\":1},")]
    {
        assert!(matches!(format::<Root>(&root.replacen(from, to, 1)).unwrap_err().problem(), Problem::TopLevelRoles));
    }
    assert!(matches!(
        Metadata::<Root>::from_bytes(root.as_bytes(), ByteLimit::bytes(root.len() as u64 - 1)).unwrap_err().problem(),
        Problem::TooLong(_)
    ));
}
