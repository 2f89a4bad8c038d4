//! What lies on this host may be anything: it never stops a client, and is never trusted for lying there.

use std::os::unix::fs::symlink;
use std::path::Path;

use exuvia::tuf::SetAsideReason;

use crate::sim::{Client, block_on, bump, version};

type Spoil = fn(&Path);

#[test]
fn t51_no_damage_to_stored_files_stops_a_client() {
    let damage: &[(&str, Spoil)] = &[
        ("empty", |path| std::fs::write(path, "").unwrap()),
        ("garbage", |path| std::fs::write(path, "\0\u{1}{").unwrap()),
        ("another file", |path| std::fs::write(path, "{\"signed\":{},\"signatures\":[]}").unwrap()),
        ("too long", |path| std::fs::write(path, vec![b' '; 6 << 20]).unwrap()),
        ("gone", |path| std::fs::remove_file(path).unwrap()),
        ("a link", |path| {
            std::fs::remove_file(path).unwrap();
            symlink("/dev/zero", path).unwrap();
        }),
        ("a folder", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir_all(path.join("sub")).unwrap();
        }),
        ("cut", |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
    ];
    let files = [
        "root.json",
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "role.json",
        "root_history/1.root.json",
        "root_history/2.root.json",
        "state/accepted.json",
    ];
    for (name, spoil) in damage {
        for file in files {
            let client = Client::new();
            client.sim().delegate("targets", "role", &["*"], false, 60);
            client.sim().publish();
            client.sim().next_root();
            client.find("missing").unwrap();
            spoil(&client.dir.path().join(file));
            bump(&mut client.sim().targets);
            client.sim().publish();
            client.find("missing").unwrap_or_else(|error| panic!("{file} is {name}: {error}"));
            assert_eq!(client.versions(), [2, 3, 3, 2], "{file} is {name}");
            let whole = client.beside();
            whole.find("missing").unwrap();
            for file in files.into_iter().filter(|file| *file != "state/accepted.json") {
                assert_eq!(client.file(file), whole.file(file), "{file} is as before");
            }
        }
    }
}

#[test]
fn t51_damage_is_reported() {
    let client = Client::refreshed();
    client.write("timestamp.json", b"");
    std::fs::remove_file(client.dir.path().join("snapshot.json")).unwrap();
    symlink("/dev/zero", client.dir.path().join("snapshot.json")).unwrap();
    let mut updater = client.updater();
    block_on(updater.refresh(client.now.parse().unwrap())).unwrap();
    let aside = updater.take_set_aside();
    assert!(
        matches!(&aside[..], [timestamp, snapshot]
        if timestamp.file == "timestamp.json" && matches!(timestamp.reason, SetAsideReason::Metadata(_))
        && snapshot.file == "snapshot.json" && matches!(snapshot.reason, SetAsideReason::File(_))),
        "{aside:?}"
    );
    assert!(updater.take_set_aside().is_empty());
}

#[test]
fn stored_files_are_verified_like_received_ones() {
    let client = Client::refreshed();
    client.sim().add_artifact("targets", "file", b"");
    client.sim().targets.head.version = version(1);
    // Another first edition, signed by somebody else, planted on disk.
    client.sim().signers.insert("targets".into(), vec![99]);
    let planted = {
        let sim = client.sim();
        sim.signed("targets", &sim.targets)
    };
    client.write("targets.json", &planted);
    client.sim().targets.remove("file");
    client.sim().signers.insert("targets".into(), vec![4]);
    assert_eq!(client.find("file").unwrap(), None);
    assert_eq!(client.requests().last().unwrap(), "1.targets.json");
}
