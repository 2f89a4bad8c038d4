//! A repository of release metadata as files, for transcripts: what it says depends on its name.

use std::fs;
use std::path::Path;

use exuvia::tuf::ReleaseDescription;
use exuvia::tuf::metadata::Expires;
use exuvia::types::{ArchiveFormat, Channel, ReleaseId, RolloutPolicy, Target, Wave};
use jiff::Timestamp;

use crate::sim::{Sim, bump, signer, version};

/// Writes it into `folder/metadata`.
pub(crate) fn publish(folder: &Path, scenario: &str) {
    let mut sim = Sim::new();
    let later: Expires = "9999-01-01T00:00:00Z".parse().unwrap();
    for head in [&mut sim.root.head, &mut sim.timestamp.head, &mut sim.snapshot.head, &mut sim.targets.head] {
        head.expires = later;
    }
    sim.next_root();
    // On from what lies there: nobody is taken back.
    let before = fs::read(folder.join("metadata/timestamp.json")).map_or(1, |bytes| {
        let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        file["signed"]["version"].as_u64().unwrap()
    });
    for head in [&mut sim.timestamp.head, &mut sim.snapshot.head, &mut sim.targets.head] {
        head.version = version(before + 1);
    }
    sim.publish();
    match scenario {
        "plain" => offer(&mut sim, "1.4.0", |_| ()),
        "expired" => {
            sim.timestamp.head.expires = Expires::at(Timestamp::UNIX_EPOCH);
            sim.bump_timestamp();
        }
        "barrier" => offer(&mut sim, "1.4.0", |described| described.barriers = vec!["1.0.0".parse().unwrap()]),
        "barrier-offered" => {
            offer(&mut sim, "1.4.0", |described| described.barriers = vec!["1.0.0".parse().unwrap()]);
            offer(&mut sim, "1.0.0", |_| ());
        }
        "halted" => offer(&mut sim, "1.4.0", |described| described.rollout = Some(rollout(0, true, &[]))),
        "scheduled" => offer(&mut sim, "1.4.0", |described| {
            described.rollout = Some(rollout(Timestamp::now().as_second() + 86_400, false, &[]));
        }),
        // So long after the start that a wave for everybody would have come.
        "nobody" => offer(&mut sim, "1.4.0", |described| {
            described.rollout = Some(rollout(0, false, &[(u32::MAX, 1)]));
        }),
        "unsigned" => {
            sim.signers.insert("timestamp".to_owned(), vec![66]);
            assert_ne!(signer(66).public(), signer(2).public());
            sim.bump_timestamp();
        }
        "older" => {
            sim.timestamp.head.version = version(1);
            sim.timestamp.snapshot.version = version(1);
        }
        "replaced" => offer(&mut sim, "1.4.0", |_| ()),
        other => panic!("{other} is no repository"),
    }
    write(&sim, &folder.join("metadata"));
    for (path, bytes) in &sim.artifacts {
        let target = sim.targets.target(path).unwrap();
        let file = folder.join("targets").join(target.prefixed_path());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let bytes = if scenario == "replaced" { bytes.to_ascii_uppercase() } else { bytes.clone() };
        fs::write(file, bytes).unwrap();
    }
}

fn write(sim: &Sim, folder: &Path) {
    fs::remove_dir_all(folder).ok();
    fs::create_dir_all(folder).unwrap();
    let put = |name: String, bytes: Vec<u8>| fs::write(folder.join(name), bytes).unwrap();
    put("2.root.json".to_owned(), sim.published_root(2));
    put("timestamp.json".to_owned(), sim.signed("timestamp", &sim.timestamp));
    put(format!("{}.snapshot.json", sim.snapshot.head.version), sim.signed("snapshot", &sim.snapshot));
    put(format!("{}.targets.json", sim.targets.head.version), sim.signed("targets", &sim.targets));
}

fn offer(sim: &mut Sim, version: &str, describe: impl FnOnce(&mut ReleaseDescription)) {
    let (product, version) = ("exuvia".parse().unwrap(), version.parse().unwrap());
    let id = ReleaseId { product, version, target: Target::of_this_build() };
    let path = ReleaseDescription::path(&id, ArchiveFormat::TarGz);
    let mut described = ReleaseDescription::new(id, Channel::Stable);
    describe(&mut described);
    sim.add_artifact("targets", &path, b"what nobody signed");
    sim.add_artifact("targets", &format!("{path}.sig"), &[b'x'; 3309]);
    let mut target = sim.targets.target(&path).unwrap().clone();
    described.attach(&mut target);
    sim.targets.insert(target);
    bump(&mut sim.targets);
    sim.publish();
}

fn rollout(start: i64, halted: bool, waves: &[(u32, u16)]) -> RolloutPolicy {
    let waves = waves.iter().map(|(after, permille)| Wave { after: *after, permille: *permille }).collect();
    RolloutPolicy::new(Timestamp::from_second(start).unwrap(), waves).unwrap().with_halted(halted)
}
