//! Patches from the last versions: made, listed, checked, and left out where they are not worth it.

use std::fs;
use std::path::Path;

use exuvia::crypto::{Context, PublicKey, Signature};
use exuvia::types::ReleaseId;

use super::pack::{Desk, release};
use super::{TARGET, test_key};

/// A desk whose binary changes a little with each version, as a program does.
fn packed(versions: &[&str], rest: &[&str]) -> Desk {
    let desk = Desk::new();
    for version in versions {
        next(&desk, version);
        desk.pack("site", version, TARGET, rest).ok();
    }
    desk
}

fn next(desk: &Desk, version: &str) {
    let path = desk.path().join("binary");
    let mut binary = fs::read(&path).unwrap();
    let at = 1000 * version.bytes().map(usize::from).sum::<usize>();
    binary[at..at + version.len()].copy_from_slice(version.as_bytes());
    fs::write(path, binary).unwrap();
}

fn patches(desk: &Desk, version: &str) -> Vec<String> {
    let names = fs::read_dir(desk.path().join("site").join(version)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "patch")).collect();
    names.sort();
    names
}

fn verify(desk: &Desk) -> super::Run {
    release(&["verify", "site", "--key", &test_key("release/a.pem")], desk.path())
}

#[test]
fn a_release_comes_with_patches_from_the_last_three_versions() {
    let desk = packed(&["1.0.0", "1.1.0", "1.2.0", "1.3.0"], &[]);
    next(&desk, "1.4.0");
    let told = desk.pack("site", "1.4.0", TARGET, &["--json"]).ok().json();
    let from: Vec<_> = told["patches"].as_array().unwrap().iter().map(|made| made["from"].as_str().unwrap()).collect();
    assert_eq!(from, ["1.3.0", "1.2.0", "1.1.0"]);
    assert!(patches(&desk, "1.0.0").is_empty());
    let made = patches(&desk, "1.4.0");
    assert_eq!(made.len(), 3);
    let listing: serde_json::Value =
        serde_json::from_slice(&fs::read(desk.path().join("site/releases.json")).unwrap()).unwrap();
    let sums = fs::read_to_string(desk.path().join("site/1.4.0/SHA256SUMS")).unwrap();
    for name in &made {
        for name in [name.clone(), format!("{name}.sig")] {
            let listed = listing[0]["assets"].as_array().unwrap().iter().find(|asset| asset["name"] == name.as_str());
            let length = fs::metadata(desk.path().join("site/1.4.0").join(&name)).unwrap().len();
            assert_eq!(listed.unwrap()["size"], length, "{name}");
        }
        assert!(sums.contains(&format!("  {name}\n")), "{sums}");
    }
    verify(&desk).ok().says("by a patch from 1.1.0").says("by a patch from 1.3.0");

    // The signature is about this release and the digest of the tar that the patch begins with.
    let archive = fs::read(desk.path().join(format!("site/1.3.0/exuvia-{TARGET}.tar.zst"))).unwrap();
    let tar = zstd::decode_all(archive.as_slice()).unwrap();
    let base = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&tar));
    let name = format!("exuvia-{TARGET}.from-1.3.0-{}.patch", &base[..16]);
    assert!(made.contains(&name), "{made:?}");
    let file = |name: &str| fs::read(desk.path().join("site/1.4.0").join(name)).unwrap();
    let id = ReleaseId {
        product: "exuvia".parse().unwrap(),
        version: "1.4.0".parse().unwrap(),
        target: TARGET.parse().unwrap(),
    };
    let key = PublicKey::from_pem(&fs::read_to_string(test_key("release/a.pem")).unwrap()).unwrap();
    let signature = Signature::from_bytes(&file(&format!("{name}.sig"))).unwrap();
    let context = Context::patch(&id, base.parse().unwrap());
    key.verify(&context, &mut file(&name).as_slice(), &signature).unwrap();
}

#[test]
fn packing_the_same_again_changes_nothing_and_makes_no_patches() {
    let desk = packed(&["1.0.0", "1.1.0"], &[]);
    let before = super::snapshot(&desk.path().join("site"));
    let again = desk.pack("site", "1.1.0", TARGET, &["--json"]).ok().json();
    assert_eq!((&again["new"], &again["patches"]), (&false.into(), &serde_json::json!([])));
    assert_eq!(super::snapshot(&desk.path().join("site")), before);
}

#[test]
fn a_patch_that_is_not_worth_it_or_not_wanted_is_left_out_and_named() {
    let desk = packed(&["1.0.0"], &[]);
    // Nothing in common with the version before.
    let other: Vec<u8> = (0..300_000u32).flat_map(|n| (n.wrapping_mul(40_503) ^ (n << 7)).to_le_bytes()).collect();
    fs::write(desk.path().join("binary"), other).unwrap();
    desk.pack("site", "1.1.0", TARGET, &[]).ok().says("no patch     from 1.0.0").says("half of the archive");
    assert!(patches(&desk, "1.1.0").is_empty());
    next(&desk, "1.2.0");
    desk.pack("site", "1.2.0", TARGET, &["--patches", "0"]).ok();
    assert!(patches(&desk, "1.2.0").is_empty());
    verify(&desk).ok();
}

#[test]
fn a_base_that_another_key_signed_is_left_out_unless_that_key_is_named() {
    let desk = packed(&["1.0.0"], &[]);
    next(&desk, "1.1.0");
    let key = test_key("b.key");
    let pack = |version: &str, rest: &[&str]| {
        let args = ["pack", "--binary", "binary", "--product", "exuvia", "--version", version, "--target", TARGET];
        release(&[&args[..], &["--key", &key, "--out", "site", "--level", "3"], rest].concat(), desk.path())
    };
    pack("1.1.0", &[]).ok().says("no patch     from 1.0.0");
    assert!(patches(&desk, "1.1.0").is_empty());
    next(&desk, "1.2.0");
    pack("1.2.0", &["--base-key", &test_key("release/a.pem")]).ok();
    assert_eq!(patches(&desk, "1.2.0").len(), 2);
}

#[test]
fn what_is_wrong_with_a_patch_is_found_by_the_check() {
    let with = |change: &dyn Fn(&Path, &str), says: &str| {
        let desk = packed(&["1.0.0", "1.1.0"], &[]);
        let folder = desk.path().join("site/1.1.0");
        change(&folder, &patches(&desk, "1.1.0")[0]);
        verify(&desk).refused(4, "Do not serve this tree").says(says);
    };
    with(&|folder, name| fs::write(folder.join(name), "x").unwrap(), "the listing says");
    with(
        &|folder, name| {
            let mut bytes = fs::read(folder.join(name)).unwrap();
            bytes[90] ^= 1;
            fs::write(folder.join(name), bytes).unwrap();
        },
        "says SHA-256",
    );
    with(
        &|folder, name| {
            let other = fs::read(folder.join(format!("exuvia-{TARGET}.tar.sig"))).unwrap();
            fs::write(folder.join(format!("{name}.sig")), other).unwrap();
        },
        "was not signed by a trusted release key as a patch",
    );
    with(
        &|folder, _| {
            let archive = folder.with_file_name("1.0.0").join(format!("exuvia-{TARGET}.tar.zst"));
            fs::write(&archive, fs::read(&archive).unwrap().split_last().unwrap().1).unwrap();
        },
        "what it begins with does not hold",
    );
}
