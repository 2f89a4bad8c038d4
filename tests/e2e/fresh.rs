//! A node that follows release metadata: rollout, freshness, and what attackers make of them, over real HTTP
//! with real builds. The rows of the attack table that a test belongs to stand in its name.

use std::fs;

use exuvia::tuf::metadata::{Metadata, RoleType, Root};
use exuvia::tuf::{Rules, TrustedSet};
use exuvia::types::ByteLimit;
use jiff::Timestamp;

use crate::repository::{Repository, from_now, meta, path, rollout};
use crate::sim::{Fault, Sim, bump, signer, version};
use crate::support::releases::pack_into;
use crate::support::{Host, Node, SignedAs, builds, wait_for};

/// A host whose nodes follow this repository.
fn host_of(repository: &Repository) -> Host {
    let mut host = Host::new();
    host.set("source.listing", "");
    host.set("source.tuf", &repository.quoted());
    host
}

/// The versions of what the node trusts: root, timestamp, snapshot, targets.
fn trusted(host: &Host, node: &str) -> Vec<u64> {
    let version = |role: &str| {
        let bytes = fs::read(host.path(&format!("data/{node}/trust/{role}.json"))).ok()?;
        let value: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        value["signed"]["version"].as_u64()
    };
    RoleType::ALL.iter().filter_map(|kind| version(kind.as_str())).collect()
}

/// Waits until the last look of the node ended with this word, and returns what it said.
#[track_caller]
fn look_ends(node: &Node, result: &str) -> String {
    let status = node.wait_for(&format!("done with a look that ended with {result}"), |status| {
        status["last_check"]["result"] == result
    });
    status["last_check"]["detail"].as_str().unwrap().to_owned()
}

/// Waits until the last look of the node said these words.
#[track_caller]
fn look_says(node: &Node, words: &str) {
    node.wait_for(&format!("done with a look that said {words:?}"), |status| {
        status["last_check"]["detail"].as_str().is_some_and(|detail| detail.contains(words))
    });
}

#[test]
fn the_root_of_test_builds_is_the_simulator_s_first() {
    let pinned = fs::read(builds::root().join("tests/keys/release/root.json")).unwrap();
    let set = TrustedSet::bootstrap(&pinned, Rules::own(), Timestamp::now()).unwrap();
    assert_eq!(*set.root(), Sim::new().root);
}

#[test]
fn a_node_upgrades_from_a_repository_and_says_what_it_trusts() {
    let repository = Repository::new();
    let host = host_of(&repository);
    let node = host.start("one");
    look_ends(&node, "up-to-date");
    repository.publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    let status = node.status().unwrap();
    assert_eq!(status["trust"], "archive signature and release metadata");
    assert_eq!(status["metadata"]["roles"][1]["role"], "timestamp");
    let (_, page) = node.get("/metrics").unwrap();
    assert!(page.contains("exuvia_upgrade_metadata_expires_timestamp_seconds{role=\"root\"} "), "{page}");
    node.cli(&["status"])
        .exits(0)
        .says("(trust: archive signature and release metadata)")
        .says("metadata   valid until");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn b4_metadata_that_expires_freezes_upgrades_and_never_the_node() {
    let repository = Repository::new();
    let host = host_of(&repository);
    let node = host.start("one");
    look_ends(&node, "up-to-date");
    let expires = from_now(2);
    repository.expire(RoleType::Timestamp, expires);
    // Whoever holds newer metadata back can offer what there was for ever: it does not count for ever.
    let detail = look_ends(&node, "metadata_expired");
    repository.publish("1.1.0");
    assert!(detail.contains(&format!("expired at {expires:.0}")), "{detail}");
    let date = format!("expired {expires:.0}: upgrades are frozen");
    assert!(node.serves());
    for verb in [&["upgrade"][..], &["upgrade", "check"], &["why"]] {
        node.cli_when_idle(verb).exits(4).says(&format!("expired at {expires:.0}"));
    }
    node.cli(&["status"]).exits(0).says(&date);
    let (_, page) = node.get("/").unwrap();
    assert!(page.contains("Upgrades are frozen:") && page.contains(&format!("{expires:.0}")), "{page}");
    let (_, metrics) = node.get("/metrics").unwrap();
    let gauge = format!("expires_timestamp_seconds{{role=\"timestamp\"}} {}", expires.as_second());
    assert!(metrics.contains(&gauge), "{metrics}");
    node.wait_for_polls(2);
    assert_eq!(node.status().unwrap()["running"]["version"], "1.0.0");
    repository.expire(RoleType::Timestamp, from_now(3600));
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a_repository_that_is_away_freezes_upgrades_and_the_node_says_until_when_its_metadata_counts() {
    let repository = Repository::new();
    let mut host = host_of(&repository);
    // Longer than all attempts at a look take.
    host.set("poll.interval", "\"20s\"");
    let mut node = host.start("one");
    let status = node.wait_for("done with a look", |status| !status["last_check"].is_null());
    let until = status["metadata"]["roles"][0]["expires"].as_str().unwrap().to_owned();
    drop(repository);
    node.cli_when_idle(&["upgrade", "check"]).exits(6).says(&format!("counts until {until}"));
    assert!(node.serves());
    node.stop();
    node.cli(&["status"]).exits(0).says(&format!("metadata   valid until {until}"));
}

/// What a repository answers for a file from now on.
fn replay(repository: &Repository, file: &str, bytes: Vec<u8>) {
    repository.sim().faults.insert(file.to_owned(), Fault::Bytes(bytes));
}

#[test]
fn b5_a_replayed_timestamp_is_refused_and_the_node_stays_where_it_is() {
    let repository = Repository::new();
    let host = host_of(&repository);
    let old = {
        let sim = repository.sim();
        sim.signed("timestamp", &sim.timestamp)
    };
    repository.publish("1.1.0");
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    let before = trusted(&host, "one");
    replay(&repository, "timestamp.json", old);
    let detail = look_ends(&node, "metadata");
    assert!(detail.contains("a rollback is refused"), "{detail}");
    assert_eq!(trusted(&host, "one"), before);
    repository.sim().faults.clear();
    look_ends(&node, "up-to-date");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn b5_metadata_that_does_not_belong_together_is_refused() {
    let repository = Repository::new();
    repository.publish("1.1.0");
    let host = host_of(&repository);
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    let before = trusted(&host, "one");
    // A new timestamp names a snapshot, and an older one comes in its place.
    let (old, next) = {
        let sim = repository.sim();
        (sim.signed("snapshot", &sim.snapshot), sim.snapshot.head.version.get() + 1)
    };
    replay(&repository, &format!("{next}.snapshot.json"), old);
    repository.publish("1.2.0");
    let detail = look_ends(&node, "metadata");
    assert!(detail.contains(&format!("it must be version {next}")), "{detail}");
    assert_eq!(trusted(&host, "one")[2..], before[2..], "what was not verified is not kept");
    // Then a snapshot that takes the targets back to an older edition.
    {
        let mut sim = repository.sim();
        sim.faults.clear();
        bump(&mut sim.snapshot);
        sim.snapshot.meta.insert("targets.json".to_owned(), meta(1));
        sim.bump_timestamp();
    }
    look_says(&node, "targets.json is older");
    assert_eq!(node.status().unwrap()["running"]["version"], "1.1.0");
    {
        let mut sim = repository.sim();
        bump(&mut sim.snapshot);
        sim.describe_targets();
        sim.bump_timestamp();
    }
    node.wait_until_it_runs("1.2.0");
}

#[test]
fn k3_who_stole_the_online_keys_cannot_install_anything_and_a_new_root_takes_their_versions_back() {
    let repository = Repository::new();
    let host = host_of(&repository);
    let node = host.start("one");
    look_ends(&node, "up-to-date");
    {
        // With the keys of timestamp and snapshot: versions as high as they go, and targets of the thief's own.
        let mut sim = repository.sim();
        let honest = sim.signers.clone();
        sim.signers.insert("targets".to_owned(), vec![66]);
        bump(&mut sim.targets);
        let forged = sim.signed("targets", &sim.targets);
        let number = sim.targets.head.version;
        sim.signers = honest;
        sim.faults.insert(format!("{number}.targets.json"), Fault::Bytes(forged));
        sim.snapshot.head.version = version(u64::MAX - 1);
        sim.timestamp.head.version = version(u64::MAX - 1);
        sim.publish();
    }
    let detail = look_ends(&node, "metadata");
    assert!(detail.contains("targets"), "{detail}");
    assert_eq!(node.status().unwrap()["running"]["version"], "1.0.0");
    {
        // The owners rotate both keys, and count from where they were.
        let mut sim = repository.sim();
        sim.faults.clear();
        sim.rotate(RoleType::Timestamp, 71);
        sim.rotate(RoleType::Snapshot, 72);
        sim.next_root();
        sim.snapshot.head.version = version(10);
        sim.timestamp.head.version = version(10);
        sim.publish();
    }
    repository.publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn k2_targets_that_too_few_keys_signed_install_nothing() {
    let repository = Repository::new();
    let host = host_of(&repository);
    let node = host.start("one");
    look_ends(&node, "up-to-date");
    repository.sim().signers.insert("targets".to_owned(), vec![66]);
    repository.publish("1.1.0");
    let stranger = look_ends(&node, "metadata");
    assert!(stranger.contains("targets"), "{stranger}");
    {
        // Two must sign, and one does.
        let mut sim = repository.sim();
        sim.root.add_key(signer(67).public(), RoleType::Targets);
        sim.root.role_mut(RoleType::Targets).threshold = std::num::NonZeroU64::new(2).unwrap();
        sim.signers.insert("targets".to_owned(), vec![67]);
        sim.next_root();
    }
    repository.publish("1.2.0");
    node.wait_for_polls(2);
    look_ends(&node, "metadata");
    assert_eq!(node.status().unwrap()["running"]["version"], "1.0.0");
    host.assert_clean(&["1.0.0"], &[&node]);
    let own = RoleType::Targets as u8 + 1;
    repository.sim().signers.insert("targets".to_owned(), vec![own, 67]);
    repository.publish("1.1.0");
    node.wait_until_it_runs("1.2.0");
}

#[test]
fn k4_a_root_with_a_key_of_an_unknown_kind_bricks_nobody() {
    let repository = Repository::new();
    let host = host_of(&repository);
    {
        let mut sim = repository.sim();
        let mut file: serde_json::Value = serde_json::from_slice(&sim.published_root(1)).unwrap();
        let unknown = serde_json::json!({"keytype": "sphinx", "scheme": "sphinx/1", "keyval": {"public": "00"}});
        file["signed"]["keys"]["sphinx"] = unknown;
        let bytes = serde_json::to_vec(&file).unwrap();
        let read = Metadata::<Root>::from_bytes(&bytes, ByteLimit::mib(1)).unwrap();
        let unknown = &read.signed.keys()["sphinx"];
        for kind in RoleType::ALL {
            sim.root.add_key(unknown.clone(), kind);
        }
        sim.next_root();
    }
    repository.publish("1.1.0");
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");
}

#[test]
fn b1_a_file_that_is_not_the_described_one_is_refused_and_so_is_a_described_one_that_nobody_signed() {
    let repository = Repository::new();
    let host = host_of(&repository);
    let node = host.start("one");
    look_ends(&node, "up-to-date");
    // Who has the keys of the metadata has not the key of the archives.
    let forged = SignedAs { key: "stranger.key", ..SignedAs::release("2.0.0") };
    let archive = packed_as(&host, &forged);
    repository.add("2.0.0", &archive.0, &archive.1, |_| ());
    look_ends(&node, "signature");
    repository.withdraw("2.0.0");
    look_ends(&node, "up-to-date");
    // The place of the files was taken over: other bytes of the same length, and then bytes without end.
    let spoil = |sim: &mut Sim| *sim.artifacts.get_mut(&path("1.1.0")).unwrap().last_mut().unwrap() ^= 1;
    repository.publish_spoilt("1.1.0", spoil);
    look_ends(&node, "not_described");
    let endless = repository.address("1.1.0");
    {
        let mut sim = repository.sim();
        spoil(&mut sim);
        sim.faults.insert(endless, Fault::Endless);
    }
    look_ends(&node, "too_long");
    host.assert_clean(&["1.0.0"], &[&node]);
    repository.sim().faults.clear();
    node.wait_until_it_runs("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

/// The archive and its signature of a real build, signed as that.
fn packed_as(host: &Host, signed_as: &SignedAs) -> (Vec<u8>, Vec<u8>) {
    let out = host.path("packing");
    let archive = pack_into(&out, signed_as, &builds::exuvia(signed_as.version));
    let mut signature = archive.as_os_str().to_owned();
    signature.push(".sig");
    let both = (fs::read(&archive).unwrap(), fs::read(signature).unwrap());
    fs::remove_dir_all(out).unwrap();
    both
}

#[test]
fn b5_of_places_that_disagree_the_first_one_that_can_be_trusted_is_followed() {
    let honest = Repository::new();
    honest.publish("1.1.0");
    // It has what there was, and goes on to sign what it has as long as nobody notices; it expires.
    let frozen = honest.copy();
    frozen.expire(RoleType::Timestamp, from_now(-1));
    let liar = honest.copy();
    liar.sim().artifacts.values_mut().for_each(|bytes| *bytes.first_mut().unwrap() ^= 1);
    let mut host = host_of(&frozen);
    host.set("source.mirrors", &format!("[{}]", honest.quoted()));
    let targets = [&liar, &honest].map(|place| format!("\"{}\"", place.server().url("/targets/")));
    host.set("source.targets", &format!("[{}]", targets.join(", ")));
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    assert!(node.log().contains("metadata_place_failed") && node.log().contains("place_failed"), "{}", node.log());
    // Both places fail: what was tampered with matters more than what is away.
    drop(honest);
    look_ends(&node, "metadata_expired");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a_chain_of_upgrades_goes_by_way_of_its_barrier() {
    let repository = Repository::new();
    let mut host = host_of(&repository);
    repository.publish("1.1.0");
    repository.publish_with("3.0.0", |described| described.barriers = vec!["2.0.0".parse().unwrap()]);
    host.set("poll.interval", "\"1h\"");
    let mut node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    // Nobody gets past it, whatever they say.
    node.cli_when_idle(&["upgrade", "--version", "3.0.0"]).exits(5).says("2.0.0 has to run before it");
    node.cli_when_idle(&["upgrade"]).exits(5).says("2.0.0 has to run before it");
    node.cli_when_idle(&["why"]).exits(0).says("the gate `barrier` is shut");
    node.cli_when_idle(&["pin", "3.0.0"]).exits(0);
    node.cli_when_idle(&["upgrade"]).exits(5).says("2.0.0 has to run before it");
    node.cli_when_idle(&["unpin"]).exits(0);
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    repository.publish("2.0.0");
    node.configure("poll.interval", "\"500ms\"");
    node.stop();
    node.start();
    node.wait_until_it_runs("3.0.0");
    let went: Vec<_> = node.history().iter().rev().map(|attempt| attempt["to"].as_str().unwrap().to_owned()).collect();
    let went: Vec<_> = went.iter().filter(|to| to.as_str() >= "1.1.0").collect();
    assert_eq!(went, ["1.1.0", "2.0.0", "3.0.0"]);
    host.assert_clean(&["2.0.0", "3.0.0"], &[&node]);
}

#[test]
fn a_release_that_is_halted_or_withdrawn_is_gone_to_by_nobody_from_the_next_look_on() {
    let repository = Repository::new();
    let host = host_of(&repository);
    let node = host.start("one");
    repository.publish_with("1.1.0", |described| described.rollout = Some(rollout(5, false, &[])));
    look_ends(&node, "waiting");
    node.cli_when_idle(&["why"]).exits(0).says("the gate `wave` is shut");
    repository.describe("1.1.0", |described| described.rollout = Some(rollout(-1, true, &[])));
    look_ends(&node, "refused");
    node.cli_when_idle(&["upgrade"]).exits(5).says("is halted");
    node.cli_when_idle(&["upgrade", "check"]).exits(5).says("is halted");
    node.cli_when_idle(&["why"]).exits(0).says("and is halted");
    // A wave that holds nobody yet, as good as.
    repository.describe("1.1.0", |described| described.rollout = Some(rollout(-60, false, &[(3600, 1000)])));
    look_ends(&node, "waiting");
    repository.withdraw("1.1.0");
    look_ends(&node, "up-to-date");
    node.cli_when_idle(&["upgrade", "--version", "1.1.0"]).exits(5).says("does not offer");
    assert_eq!(node.status().unwrap()["running"]["version"], "1.0.0");
    host.assert_clean(&["1.0.0"], &[&node]);
    // Halted again, and an operator names it.
    repository.publish_with("1.2.0", |described| described.rollout = Some(rollout(-1, true, &[])));
    look_ends(&node, "refused");
    node.cli_when_idle(&["upgrade", "--version", "1.2.0"]).exits(0);
    node.wait_until_it_runs("1.2.0");
}

#[test]
fn a_release_reaches_a_node_when_its_wave_does_also_across_a_restart() {
    let repository = Repository::new();
    let host = host_of(&repository);
    let begins = from_now(6);
    repository.publish_with("1.1.0", |described| {
        described.rollout = Some(rollout(6, false, &[(0, 1000)]));
    });
    let mut node = host.start("one");
    look_ends(&node, "waiting");
    node.stop();
    node.start();
    node.wait_until_it_serves();
    look_ends(&node, "waiting");
    node.wait_until_it_runs("1.1.0");
    assert!(Timestamp::now() >= begins);
    let history = node.history();
    let began: Timestamp = history[0]["started"].as_str().unwrap().parse().unwrap();
    assert!(began >= begins, "{history:?}");
}

#[test]
fn whatever_lies_where_a_node_remembers_metadata_it_goes_on() {
    let repository = Repository::new();
    let host = host_of(&repository);
    let mut node = host.start("one");
    look_ends(&node, "up-to-date");
    let trust = host.path("data/one/trust");
    let known = trusted(&host, "one");
    for content in ["", "{", "{\"signed\":{},\"signatures\":[]}", &"\u{ff}".repeat(100_000)] {
        node.stop();
        for file in ["root.json", "timestamp.json", "snapshot.json", "targets.json", "root_history/2.root.json"] {
            fs::write(trust.join(file), content).unwrap();
        }
        fs::write(trust.join("state/accepted.json"), content).unwrap();
        node.start();
        node.wait_until_it_serves();
        look_ends(&node, "up-to-date");
        assert_eq!(trusted(&host, "one"), known);
    }
    node.stop();
    fs::remove_dir_all(&trust).unwrap();
    node.start();
    repository.publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    assert_eq!(trusted(&host, "one").len(), 4);
    // Going back takes the program back, and not what it knows.
    let before = trusted(&host, "one");
    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.0.0");
    node.wait_for_polls(1);
    assert_eq!(trusted(&host, "one"), before);
}

#[test]
fn siblings_share_metadata_and_each_trusts_its_own_copy() {
    let repository = Repository::new();
    let mut host = host_of(&repository);
    host.set("poll.interval", "\"2s\"");
    host.set("poll.listing_ttl", "\"1h\"");
    let one = host.start("one");
    look_ends(&one, "up-to-date");
    let asked = |file: &str| repository.server().count(&format!("/metadata/{file}"));
    let number = repository.sim().targets.head.version;
    let targets = format!("{number}.targets.json");
    assert_eq!((asked("timestamp.json"), asked(&targets)), (1, 1));
    let two = host.start("two");
    look_ends(&two, "up-to-date");
    assert_eq!((asked("timestamp.json"), asked(&targets)), (1, 1), "the second node asks for nothing that is shared");
    assert_eq!(trusted(&host, "one"), trusted(&host, "two"));
    // Whoever can write to the cache can hold nobody up: what does not verify is asked for again.
    let shared = host.path("cache/listings");
    for entry in fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().path()) {
        let text = String::from_utf8_lossy(&fs::read(&entry).unwrap()).into_owned();
        fs::write(&entry, text.replace("\"sig\":\"", "\"sig\":\"00")).unwrap();
    }
    repository.publish("1.1.0");
    let three = host.start("three");
    three.wait_until_it_runs("1.1.0");
    assert!(three.log().contains("metadata_shared_unusable"), "{}", three.log());
}

#[test]
fn a_build_without_a_root_of_trust_says_so_and_runs() {
    let mut host = Host::of(&builds::COUNTER, "1.0.0");
    host.set("source.listing", "");
    host.set("source.tuf", "\"http://127.0.0.1:1/metadata/\"");
    host.set("listen", "\"off\"");
    let mut node = host.node("one");
    node.cli(&["upgrade", "check"]).exits(2).says("this build holds no root of trust");
    node.start();
    wait_for(
        || format!("the node says why it follows nothing\n{}", node.log()),
        || node.log().contains("source_unusable").then_some(()),
    );
}
