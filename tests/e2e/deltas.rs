//! Upgrades that fetch a patch instead of an archive: real builds, packed as release engineers pack them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use exuvia::archive::{Limits, UntrustedArchive};
use exuvia::cache::Cache;
use exuvia::crypto::{Keyring, Release, SecretKey, Signature};
use exuvia::publish::{Bases, Pack, pack_from};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::{ArchiveFormat, ReleaseId, Target};

use crate::support::builds;
use crate::support::{Host, Node};

const VERSIONS: [&str; 3] = ["1.0.0", "1.1.0", "1.2.0"];

fn id(version: &str) -> ReleaseId {
    ReleaseId { product: "exuvia".parse().unwrap(), version: version.parse().unwrap(), target: Target::of_this_build() }
}

/// A tree of all three versions, each with a patch from the one before it: packed once for all tests.
fn tree() -> &'static Path {
    static TREE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = TREE.get_or_init(|| {
        let dir = tempfile::Builder::new().prefix("exuvia-e2e-").tempdir().unwrap();
        let pem = fs::read_to_string(builds::root().join("tests/keys/a.key")).unwrap();
        let key = SecretKey::<Release>::from_pem(&pem).unwrap();
        let bases = Bases { versions: 1, ..Bases::default() };
        for version in VERSIONS {
            let plan = Pack {
                id: id(version),
                format: ArchiveFormat::TarZst,
                level: Some(1),
                prerelease: false,
                notes_url: None,
                base_url: None,
                published_at: jiff::Timestamp::now(),
            };
            let out = dir.path().join("site");
            let packed = pack_from(&plan, &bases, &key, &builds::exuvia(version), &out, &mut |_| ()).unwrap();
            assert_eq!(packed.patches.len(), usize::from(version != VERSIONS[0]), "{:?}", packed.left_out);
        }
        dir
    });
    Box::leak(Box::new(dir.path().join("site")))
}

/// Serves these versions of the tree, as they were packed.
pub fn publish(host: &Host, versions: &[&str]) {
    for version in versions {
        let to = host.releases().tree().join(version);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(tree().join(version)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    let listing: serde_json::Value = serde_json::from_slice(&fs::read(tree().join("releases.json")).unwrap()).unwrap();
    let listed = |entry: &&serde_json::Value| versions.iter().any(|version| entry["tag_name"] == format!("v{version}"));
    let listing: Vec<_> = listing.as_array().unwrap().iter().filter(listed).collect();
    host.releases().publish_listing(&serde_json::to_vec(&listing).unwrap());
}

fn stem() -> String {
    format!("exuvia-{}", Target::of_this_build())
}

fn patch_of(host: &Host, version: &str) -> PathBuf {
    let folder = host.releases().tree().join(version);
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.into_iter().find(|path| path.extension().is_some_and(|end| end == "patch")).unwrap()
}

/// The cache of the host holds the archive of 1.0.0, as after a download.
pub fn host_with_a_base() -> Host {
    let host = Host::new();
    let keys = ["a.pem", "b.pem"]
        .map(|name| fs::read_to_string(builds::root().join("tests/keys/release").join(name)).unwrap());
    let keys = Keyring::from_pems(keys.iter().map(String::as_str)).unwrap();
    let archive = tree().join("1.0.0").join(format!("{}.tar.zst", stem()));
    let signature = fs::read(archive.with_file_name(format!("{}.tar.zst.sig", stem()))).unwrap();
    let scratch = PrivateDir::open_or_create(host.path("scratch"), Loose::RefuseWritable).unwrap();
    let mut copy = scratch.unnamed_file().unwrap();
    std::io::copy(&mut fs::File::open(archive).unwrap(), &mut copy).unwrap();
    let verified = UntrustedArchive::from_private_file(copy, ArchiveFormat::TarZst)
        .unwrap()
        .verify(&id("1.0.0"), &Signature::from_bytes(&signature).unwrap(), &keys)
        .unwrap();
    let staged = verified.extract(&scratch, &Limits::default(), &mut |_| ()).unwrap();
    Cache::open(host.path("cache")).unwrap().store(&verified, &staged).unwrap();
    drop(staged);
    fs::remove_dir_all(host.path("scratch")).unwrap();
    host
}

/// Bytes of release files that were asked for, once for each request.
fn fetched(host: &Host) -> u64 {
    let requests = host.server().requests();
    let files = requests.iter().filter(|request| !request.path.ends_with("releases.json"));
    let length = |path: &str| fs::metadata(host.releases().tree().join(path.trim_start_matches('/'))).unwrap().len();
    files.map(|request| length(&request.path)).sum()
}

fn archives_fetched(host: &Host, version: &str) -> usize {
    host.server().count(&format!("/{version}/{}.tar.zst", stem()))
}

fn events(node: &Node, version: &str) -> String {
    let attempt = node.wait_for_outcome(version)["id"].to_string();
    node.cli(&["history", attempt.trim_matches('"'), "--json"]).exits(0).json()["events"].to_string()
}

#[test]
fn an_upgrade_fetches_only_a_patch_and_its_sibling_nothing() {
    let host = host_with_a_base();
    let nodes = ["one", "two"].map(|name| host.start(name));
    for node in &nodes {
        node.wait_until_it_runs("1.0.0");
    }
    publish(&host, &["1.0.0", "1.1.0"]);
    for node in &nodes {
        node.wait_until_it_runs("1.1.0");
    }
    let told = nodes.each_ref().map(|node| events(node, "1.1.0"));
    let patched = |events: &&String| events.contains("from 1.0.0 by 1 patch");
    assert_eq!(told.iter().filter(patched).count(), 1, "{told:?}");
    assert_eq!(archives_fetched(&host, "1.1.0"), 0);
    let whole = fs::metadata(host.releases().archive("1.1.0")).unwrap().len();
    let (fetched, patch) = (fetched(&host), fs::metadata(patch_of(&host, "1.1.0")).unwrap().len());
    assert_eq!(fetched, patch + 2 * Signature::LEN as u64, "the patch, its signature, and that of the tar, once");
    assert!(fetched * 4 < whole, "{fetched} of {whole}");
    nodes[0].cli(&["cache", "ls"]).exits(0).says("exuvia 1.1.0").says("(its tar)");
    nodes[0].cli(&["cache", "verify"]).exits(0).says("(its tar)");

    // What the patch made is what the next patch begins with.
    publish(&host, &["1.0.0", "1.1.0", "1.2.0"]);
    for node in &nodes {
        node.wait_until_it_runs("1.2.0");
    }
    let told = nodes.each_ref().map(|node| events(node, "1.2.0"));
    assert_eq!(told.iter().filter(|events| events.contains("from 1.1.0 by 1 patch")).count(), 1, "{told:?}");
    assert_eq!(archives_fetched(&host, "1.2.0"), 0);
    host.assert_committed("1.2.0");
    host.assert_clean(&["1.1.0", "1.2.0"], &[&nodes[0], &nodes[1]]);
}

#[test]
fn a_chain_of_patches_leads_over_several_versions() {
    let host = host_with_a_base();
    let node = host.start("one");
    publish(&host, &VERSIONS);
    node.wait_until_it_runs("1.2.0");
    let events = events(&node, "1.2.0");
    assert!(events.contains("from 1.0.0 by 2 patch"), "{events}");
    assert_eq!((archives_fetched(&host, "1.1.0"), archives_fetched(&host, "1.2.0")), (0, 0));
    host.assert_clean(&["1.0.0", "1.2.0"], &[&node]);
}

#[test]
fn d1_a_bad_patch_costs_one_whole_download_and_its_reason_is_in_the_history() {
    type Spoil = fn(&Host);
    let spoil: [(&str, Spoil, &str); 3] = [
        (
            "changed",
            |host| {
                let path = patch_of(host, "1.1.0");
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            "not signed by a trusted release key as a patch",
        ),
        (
            "for another base",
            |host| {
                // The patch of the next version, with its own good signature, under this one's name.
                let (from, to) = (patch_of(host, "1.2.0"), patch_of(host, "1.1.0"));
                for end in ["", ".sig"] {
                    let with = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
                    fs::copy(with(&from), with(&to)).unwrap();
                }
                let path = host.releases().tree().join("releases.json");
                let mut listing: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                let length = fs::metadata(&to).unwrap().len();
                let name = to.file_name().unwrap().to_str().unwrap();
                for asset in listing[0]["assets"].as_array_mut().unwrap() {
                    if asset["name"] == name {
                        asset["size"] = length.into();
                        asset.as_object_mut().unwrap().remove("digest");
                    }
                }
                host.releases().publish_listing(&serde_json::to_vec(&listing).unwrap());
            },
            "not signed by a trusted release key as a patch",
        ),
        (
            "of a tar that is not signed as this release",
            |host| {
                let folder = host.releases().tree().join("1.1.0");
                let name = format!("{}.tar.sig", stem());
                fs::copy(host.releases().tree().join("1.2.0").join(&name), folder.join(&name)).unwrap();
            },
            "was not made by a trusted release key",
        ),
    ];
    for (what, spoil, says) in spoil {
        let mut host = host_with_a_base();
        let node = host.start_quiet("one");
        publish(&host, &["1.1.0", "1.2.0"]);
        publish(&host, &["1.1.0"]);
        spoil(&host);
        node.cli(&["upgrade"]).exits(0).says("runs 1.1.0");
        node.wait_until_it_runs("1.1.0");
        let events = events(&node, "1.1.0");
        assert!(events.contains("patch-refused") && events.contains(says), "{what}: {events}");
        assert_eq!(archives_fetched(&host, "1.1.0"), 1, "{what}");
        host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    }
}

#[test]
fn d1_a_patch_that_never_ends_or_is_not_there_costs_one_whole_download() {
    for endless in [true, false] {
        let mut host = host_with_a_base();
        host.serve(move |tree, request, stream| {
            if Path::new(&request.path).extension().is_none_or(|end| end != "patch") {
                return crate::http_server::serve_file(tree, request, stream);
            }
            if endless {
                crate::http_server::raw(stream, b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
                while crate::http_server::raw(stream, &[0; 8192]) {}
            } else {
                crate::http_server::reply(stream, 404, &[], b"");
            }
        });
        let node = host.start_quiet("one");
        publish(&host, &["1.1.0"]);
        node.cli(&["upgrade"]).exits(0).says("runs 1.1.0");
        node.wait_until_it_runs("1.1.0");
        let events = events(&node, "1.1.0");
        assert!(events.contains("patch-refused"), "{events}");
        assert_eq!(archives_fetched(&host, "1.1.0"), 1);
        host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    }
}

#[test]
fn patches_are_taken_from_a_folder_as_from_a_server() {
    let mut host = host_with_a_base();
    host.set("source.listing", &crate::support::host::quoted(host.releases().tree()));
    publish(&host, &["1.1.0"]);
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    assert!(events(&node, "1.1.0").contains("from 1.0.0 by 1 patch"));
    assert!(host.server().requests().is_empty());
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}
