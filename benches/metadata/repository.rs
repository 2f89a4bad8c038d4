use std::collections::BTreeMap;

use exuvia::tuf::file_name;
use exuvia::tuf::metadata::{Delegations, Role, SuccinctRoles, TargetFile, Targets};

use crate::http_server::Server;
use crate::sim::{Sim, head, signer};

/// A repository that is being served.
pub(crate) struct Published {
    pub(crate) server: Server,
    pub(crate) dir: tempfile::TempDir,
    /// With which a client begins.
    pub(crate) root: Vec<u8>,
    /// What it looks for, behind the top level.
    pub(crate) target: Option<String>,
}

/// One key a role, and ten releases at the top level, as a product of one target triple has them.
pub(crate) fn small() -> Published {
    let mut sim = sim();
    for number in 0..10 {
        sim.add_artifact("targets", &format!("node/1.{number}.0/node.tar.zst"), b"an archive");
    }
    sim.publish();
    publish(&sim, None)
}

/// 10,000 targets in 1,024 bins.
pub(crate) fn bins() -> Published {
    let mut sim = sim();
    let public = signer(60).public();
    let bins = SuccinctRoles::new(Role::one_of([public.keyid()]), 10, "bin").expect("ten bits");
    for name in bins.roles() {
        sim.delegated.insert(name.clone(), Targets::new(head()));
        sim.signers.insert(name, vec![60]);
    }
    for number in 0..10_000 {
        let path = format!("node/{number}/node.tar.zst");
        let target = TargetFile::of_content(&path, &mut path.as_bytes()).expect("memory can be read");
        sim.role_mut(&bins.role_for_target(&path)).insert(target);
    }
    sim.targets.delegations = Some(Delegations::to_bins([public], bins));
    sim.publish();
    publish(&sim, Some("node/4711/node.tar.zst"))
}

/// A hundred roots behind the first one.
pub(crate) fn chain() -> Published {
    let mut sim = sim();
    for _ in 0..100 {
        sim.next_root();
    }
    sim.publish();
    publish(&sim, None)
}

fn sim() -> Sim {
    let mut sim = Sim::new();
    sim.states_digests = true;
    sim
}

fn publish(sim: &Sim, target: Option<&str>) -> Published {
    let mut files = BTreeMap::new();
    for number in 1..=sim.root.head.version.get() {
        let root = sim.published_root(usize::try_from(number).expect("a hundred"));
        files.insert(format!("{number}.root.json"), root);
    }
    files.insert("timestamp.json".to_owned(), sim.signed("timestamp", &sim.timestamp));
    let snapshot = format!("{}.snapshot.json", sim.snapshot.head.version);
    files.insert(snapshot, sim.signed("snapshot", &sim.snapshot));
    for (name, role) in
        sim.delegated.iter().map(|(name, role)| (name.as_str(), role)).chain([("targets", &sim.targets)])
    {
        files.insert(format!("{}.{}", role.head.version, file_name(name)), sim.signed(name, role));
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in &files {
        std::fs::write(dir.path().join(name), bytes).expect("it can be written");
    }
    Published {
        server: Server::folder(dir.path()),
        dir,
        root: sim.published_root(1),
        target: target.map(ToOwned::to_owned),
    }
}
