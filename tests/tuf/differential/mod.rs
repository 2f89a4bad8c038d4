//! The same metadata before python-tuf, before sigstore-tuf and before us: accepted or refused alike,
//! except for the differences that are listed here, each with its reason and an example.

mod mutations;
pub mod peer;
mod python;
mod sigstore;
mod tough;

use exuvia::tuf::metadata::{
    DelegationError, KeyPolicy, Metadata, Role, Root, Signed, Snapshot, SuccinctRoles, Targets, Timestamp,
    matches_pattern,
};
use exuvia::tuf::{Json, MetadataError, Rules, TrustedSet, canonical};
use exuvia::types::ByteLimit;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::sim::{NOW, Sim};
use peer::Peer;

/// Time for the example's clock-free tests, as Python writes it.
const PYTHON_NOW: &str = "2030-06-01T00:00:00+00:00";

fn run<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value)) {
    // Failures are shown whole, and nothing is written into the source tree.
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    let outcome = TestRunner::new(config).run(strategy, |value| {
        test(value);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(|number| Json::Integer(number.to_string().parse().unwrap())),
        "[1-9][0-9]{20,40}".prop_map(|digits| Json::Integer(digits.parse().unwrap())),
        any::<String>().prop_map(Json::String),
        "[\"\\\\/\u{0}-\u{1f}\u{7f}\u{e9}e\u{301}\u{ff61}\u{1f600}]{0,6}".prop_map(Json::String),
    ];
    leaf.prop_recursive(3, 30, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            proptest::collection::btree_map(any::<String>(), inner, 0..5).prop_map(Json::Object),
        ]
    })
}

/// As any JSON library writes it, so that it can be sent.
fn escaped(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Integer(number) => number.as_str().to_owned(),
        Json::String(text) => serde_json::to_string(text).unwrap(),
        Json::Array(items) => format!("[{}]", items.iter().map(escaped).collect::<Vec<_>>().join(",")),
        Json::Object(members) => {
            let members = members.iter().rev();
            let members =
                members.map(|(name, value)| format!("{}: {}", serde_json::to_string(name).unwrap(), escaped(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

#[test]
fn canonical_json_is_byte_for_byte_what_securesystemslib_writes() {
    let peer = std::cell::RefCell::new(Peer::start());
    run(400, &json_value(), |value| {
        let text = escaped(&value);
        assert_eq!(Json::parse(text.as_bytes()).unwrap(), value);
        let request = json!({ "verb": "canonical", "json": hex::encode(text) });
        let theirs = peer.borrow_mut().bytes(&request, "bytes").unwrap();
        assert_eq!(canonical(&value), theirs);
    });
}

fn rewritten<T: Signed>(peer: &mut Peer, bytes: &[u8]) {
    let ours: Metadata<T> = Metadata::from_bytes(bytes, ByteLimit::mib(1)).unwrap();
    let request = json!({ "verb": "rewrite", "bytes": hex::encode(bytes) });
    assert_eq!(peer.bytes(&request, "bytes").unwrap(), ours.to_bytes().unwrap());
    assert_eq!(peer.bytes(&request, "payload").unwrap(), ours.signed_bytes());
}

#[test]
fn what_we_write_python_tuf_reads_and_writes_byte_for_byte() {
    let mut peer = Peer::start();
    let mut sim = Sim::new();
    sim.states_digests = true;
    sim.delegate("targets", "\u{e9}\u{1f600}\u{7f}", &["a/*", "[!x]\\\""], true, 60);
    sim.add_artifact("targets", "dir/f\u{ff}le", b"content");
    sim.publish();
    rewritten::<Root>(&mut peer, &sim.published_root(1));
    rewritten::<Timestamp>(&mut peer, &sim.signed("timestamp", &sim.timestamp));
    rewritten::<Snapshot>(&mut peer, &sim.signed("snapshot", &sim.snapshot));
    rewritten::<Targets>(&mut peer, &sim.signed("targets", &sim.targets));
}

/// How many of the steps succeed with us, and what is wrong with the next one.
fn our_update(steps: &[(String, Vec<u8>)], policy: KeyPolicy) -> (usize, Option<MetadataError>) {
    let rules = Rules { policy, ..Rules::own() };
    let file = |at: usize| steps[at].1.as_slice();
    let mut done = 0;
    let mut go = || -> Result<(), MetadataError> {
        let mut set = TrustedSet::bootstrap(file(0), rules, NOW.parse().unwrap())?;
        done = 1;
        while steps.get(done).is_some_and(|(name, _)| name == "root") {
            set = set.update_root(file(done))?;
            done += 1;
        }
        let (set, _) = set.finish_root()?.update_timestamp(file(done))?;
        done += 1;
        let set = set.update_snapshot(file(done))?;
        done += 1;
        let mut set = set.update_targets(file(done))?;
        done += 1;
        for (name, bytes) in &steps[done..] {
            set.load("targets", name, bytes)?;
            done += 1;
        }
        Ok(())
    };
    let why = go().err();
    (done, why)
}

#[test]
fn repositories_that_python_tuf_makes_are_trusted_whatever_their_keys_and_under_our_own_rules_with_ml_dsa_alone() {
    let mut peer = Peer::start();
    for kind in ["ml-dsa", "ed25519", "ecdsa", "rsa"] {
        let made = peer.ask(&json!({ "verb": "make", "kind": kind, "expires": "2031-01-01T00:00:00+00:00" })).unwrap();
        let bin = made["bin"].as_str().unwrap();
        let steps: Vec<_> = ["bootstrap", "root", "timestamp", "snapshot", "targets", bin]
            .map(|name| (name.to_owned(), hex::decode(made["files"][name].as_str().unwrap()).unwrap()))
            .into();
        let (done, why) = our_update(&steps, KeyPolicy::AnyCompiledIn);
        assert!(done == steps.len(), "{kind}: {why:?}");
        assert_eq!(peer.update(&steps, PYTHON_NOW).0, steps.len());
        let own = our_update(&steps, KeyPolicy::MlDsa);
        match kind {
            "ml-dsa" => assert_eq!(own.0, steps.len()),
            _ => assert!(matches!(
                own,
                (0, Some(MetadataError::Delegation(DelegationError::Unsigned { signed: 0, .. })))
            )),
        }
        // One signature less than both root keys is too few, in either's eyes.
        for (at, (name, bytes)) in steps.iter().enumerate() {
            let mut value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            value["signatures"][0]["sig"] = value["signatures"].as_array().unwrap().last().unwrap()["sig"].clone();
            let last = value["signatures"].as_array().unwrap().len() == 1;
            if last {
                value["signatures"][0]["sig"] = json!("00");
            }
            let mut spoilt = steps.clone();
            spoilt[at].1 = serde_json::to_vec(&value).unwrap();
            assert_eq!(our_update(&spoilt, KeyPolicy::AnyCompiledIn).0, at, "{kind} {name}");
            assert_eq!(peer.update(&spoilt, PYTHON_NOW).0, at, "{kind} {name}");
        }
    }
}

#[test]
fn t44_patterns_match_as_python_s_fnmatch_does_part_by_part() {
    let peer = std::cell::RefCell::new(Peer::start());
    let texts = ("[ab/.\\]\\[!^-]{0,5}", "[ab*?/.\\]\\[!^-]{0,8}");
    run(3000, &texts, |(path, pattern)| {
        let request = json!({ "verb": "matches", "path": path, "pattern": pattern });
        let theirs = peer.borrow_mut().ask(&request).unwrap()["matches"].as_bool().unwrap();
        assert_eq!(matches_pattern(&path, &pattern), theirs, "{path:?} {pattern:?}");
    });
}

#[test]
fn t54_bins_are_named_as_python_tuf_names_them() {
    let peer = std::cell::RefCell::new(Peer::start());
    run(300, &(1..=32_u32, any::<String>()), |(bits, path)| {
        let answer = peer.borrow_mut().ask(&json!({ "verb": "bins", "bits": bits, "path": path })).unwrap();
        let bins = SuccinctRoles::new(Role::one_of(["k"]), bits, "bin").unwrap();
        assert_eq!(answer["name"], bins.role_for_target(&path));
        assert_eq!(answer["last"], bins.suffix_len());
        assert!(bins.is_delegated_role(answer["name"].as_str().unwrap()));
    });
}
