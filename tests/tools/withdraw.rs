use std::fs;

use super::pack::{Desk, release};
use super::{TARGET, snapshot, test_key};

fn listed(desk: &Desk) -> Vec<(String, bool)> {
    let listing: serde_json::Value =
        serde_json::from_slice(&fs::read(desk.path().join("site/releases.json")).unwrap()).unwrap();
    let entry =
        |entry: &serde_json::Value| (entry["tag_name"].as_str().unwrap().to_owned(), entry["draft"].as_bool().unwrap());
    listing.as_array().unwrap().iter().map(entry).collect()
}

fn desk() -> Desk {
    let desk = Desk::new();
    for version in ["1.4.0", "1.5.0"] {
        desk.pack("site", version, TARGET, &[]).ok();
    }
    desk
}

/// As nodes read the listing.
fn offered(desk: &Desk) -> Vec<String> {
    let bytes = fs::read(desk.path().join("site/releases.json")).unwrap();
    let listing = exuvia::fetch::Listing::parse(&bytes, &exuvia::fetch::ListingLimits::default()).unwrap();
    listing.releases.iter().map(|release| release.version.to_string()).collect()
}

#[test]
fn a_withdrawn_release_is_offered_to_no_node_until_that_is_undone() {
    let desk = desk();
    let before = snapshot(&desk.path().join("site"));
    let said = release(&["withdraw", "1.5.0", "--tree", "site"], desk.path()).ok();
    assert_eq!(said.out, "1.5.0 is withdrawn\nPublish site/releases.json now: until then nodes read the old one.\n");
    assert_eq!(offered(&desk), ["1.4.0"]);
    assert_eq!(listed(&desk), [("v1.5.0".to_owned(), true), ("v1.4.0".to_owned(), false)]);
    let key = test_key("a.pem").replace("tests/keys/", "tests/keys/release/");
    let verified = release(&["verify", "site", "--key", &key], desk.path()).ok();
    assert!(verified.out.contains("ignored  v1.5.0 (a draft)"), "{}", verified.out);

    let again = release(&["withdraw", "1.5.0", "--tree", "site", "--json"], desk.path()).ok().json();
    assert_eq!((&again["changed"], &again["withdrawn"]), (&serde_json::json!([]), &true.into()));
    release(&["withdraw", "1.5.0", "--tree", "site", "--undo"], desk.path()).ok();
    assert_eq!(offered(&desk), ["1.5.0", "1.4.0"]);
    assert_eq!(snapshot(&desk.path().join("site")), before, "as if nothing had happened");
}

#[test]
fn a_withdrawn_version_is_never_used_for_anything_else() {
    let desk = desk();
    release(&["withdraw", "1.5.0", "--tree", "site"], desk.path()).ok();
    let before = snapshot(&desk.path().join("site"));
    fs::write(desk.path().join("binary"), "another program".repeat(1000)).unwrap();
    for target in [TARGET, "aarch64-unknown-linux-gnu"] {
        desk.pack("site", "1.5.0", target, &[]).refused(4, "was withdrawn");
    }
    assert_eq!(snapshot(&desk.path().join("site")), before);
}

#[test]
fn all_versions_are_withdrawn_or_none() {
    let desk = desk();
    let before = snapshot(&desk.path().join("site"));
    let withdraw = |args: &[&str]| release(&[&["withdraw", "--tree", "site"], args].concat(), desk.path());
    withdraw(&["1.4.0", "1.6.0"]).refused(2, "does not list version 1.6.0");
    assert_eq!(snapshot(&desk.path().join("site")), before, "nothing was changed");
    withdraw(&["1.4.0", "1.5.0"]).ok();
    assert!(offered(&desk).is_empty());
    release(&["withdraw", "1.4.0", "--tree", "nowhere"], desk.path()).refused(9, "nowhere");
    fs::write(desk.path().join("site/releases.json"), "<html>").unwrap();
    withdraw(&["1.4.0"]).refused(4, "releases.json was left as it is");
    assert_eq!(fs::read(desk.path().join("site/releases.json")).unwrap(), b"<html>");
}
