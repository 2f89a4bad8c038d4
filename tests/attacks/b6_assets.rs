//! Row B6: asset names that are ambiguous, doubled, in another case, or paths.

use std::fs;
use std::os::unix::fs::symlink;

use exuvia::fetch::{AssetError, Chosen, FetchError, Freshness, Location, Release, StaticListing, UrlRefusal};
use exuvia::sys::Refusal;

use crate::fetching::{asset, fetch_from, listing_json, now, poll, settings, source};
use crate::http_server::{Server, reply};

const STEM: &str = "exuvia-x86_64-unknown-linux-gnu";

/// The release as a node receives it from a server, and the number of requests that this took.
async fn served(names: &[&str]) -> Release {
    let assets: Vec<_> =
        names.iter().map(|name| serde_json::json!({"name": name, "browser_download_url": "/asset"})).collect();
    let body = serde_json::json!([{"tag_name": "v1.0.0", "assets": assets}]).to_string();
    let server = Server::start(move |_, stream| reply(stream, 200, &[], body.as_bytes()));
    let listing = poll(&source(&server, &settings(), None)).await.unwrap();
    assert_eq!(server.requests().len(), 1, "no asset is requested before it is chosen");
    listing.releases[0].clone()
}

async fn choose(names: &[&str]) -> Result<Chosen, AssetError> {
    served(names).await.choose(&"exuvia".parse().unwrap(), &"x86_64-unknown-linux-gnu".parse().unwrap())
}

#[tokio::test]
async fn b6_another_target_never_stands_in() {
    for other in [
        "exuvia-x86_64-unknown-linux-musl.tar.zst",
        "exuvia-x86-unknown-linux-gnu.tar.zst",
        "exuvia-i686-unknown-linux-gnu.tar.zst",
        "exuvia-x86_64-unknown-linux-gnux32.tar.zst",
        "exuvia-x86_64-unknown-linux.tar.zst",
        "exuvia-linux-x86_64.tar.zst",
        "exuvia-keygen-x86_64-unknown-linux-gnu.tar.zst",
        "my-exuvia-x86_64-unknown-linux-gnu.tar.zst",
        "exuvia-x86_64-unknown-linux-gnu.tar.zst.sig",
        "exuvia-x86_64-unknown-linux-gnu.tar.zst.bak",
        "exuvia-x86_64-unknown-linux-gnu.tar",
        "exuvia-x86_64-unknown-linux-gnu.zip",
    ] {
        let outcome = choose(&[other, &format!("{other}.sig")]).await;
        assert!(matches!(outcome, Err(AssetError::NoArchive { .. })), "{other}: {outcome:?}");
    }
}

#[tokio::test]
async fn b6_two_archives_for_one_target_are_ambiguous() {
    let names = ["gz", "zst"].map(|end| format!("{STEM}.tar.{end}"));
    let outcome = choose(&[&names[0], &names[1], &format!("{}.sig", names[0]), &format!("{}.sig", names[1])]).await;
    assert!(matches!(outcome, Err(AssetError::Ambiguous { names }) if names.len() == 2));
}

#[tokio::test]
async fn b6_a_doubled_asset_is_refused() {
    let (archive, signature) = (format!("{STEM}.tar.gz"), format!("{STEM}.tar.gz.sig"));
    for (names, double) in
        [([&archive, &archive, &signature], &archive), ([&archive, &signature, &signature], &signature)]
    {
        let outcome = choose(&names.map(String::as_str)).await;
        assert_eq!(outcome, Err(AssetError::DuplicateName { name: double.clone() }));
    }
}

#[tokio::test]
async fn b6_an_archive_without_its_own_signature_is_refused() {
    let archive = format!("{STEM}.tar.gz");
    for other in [format!("{STEM}.tar.zst.sig"), format!("{STEM}.tar.sig"), "SHA256SUMS".to_owned()] {
        let outcome = choose(&[&archive, &other]).await;
        assert_eq!(outcome, Err(AssetError::NoSignature { archive: archive.clone() }), "{other}");
    }
}

#[tokio::test]
async fn b6_upper_case_paths_and_control_characters_never_match() {
    let archive = format!("{STEM}.tar.gz");
    for bad in [
        archive.to_uppercase(),
        format!("{STEM}.TAR.GZ"),
        format!("../{archive}"),
        format!("/{archive}"),
        format!("a/{archive}"),
        format!("..\\{archive}"),
        format!("{archive}\n"),
        format!("{archive}\0"),
        format!(" {archive}"),
        format!("\u{1b}{archive}"),
    ] {
        let outcome = choose(&[&bad, &format!("{bad}.sig"), &format!("{archive}.sig")]).await;
        let Err(AssetError::BadName { wanted, found }) = outcome else { panic!("{bad:?}: {outcome:?}") };
        assert_eq!(wanted, archive);
        assert!(!found.chars().any(char::is_control));
        // Beside the right one it is no competition either.
        assert!(choose(&[&bad, &archive, &format!("{archive}.sig")]).await.is_ok(), "{bad:?}");
    }
}

#[tokio::test]
async fn b6_an_address_that_leaves_the_release_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("releases");
    fs::create_dir(&folder).unwrap();
    fs::write(root.path().join("secret"), "not for the release folder").unwrap();
    fs::write(folder.join("releases.json"), listing_json("a", "v1/a", None)).unwrap();
    fs::create_dir(folder.join("v1")).unwrap();
    fs::write(folder.join("v1/a"), "an asset").unwrap();
    symlink("../secret", folder.join("link")).unwrap();
    symlink("..", folder.join("up")).unwrap();

    let source = StaticListing::new(Location::Folder(folder), &settings(), None);
    let listing = source.releases(Freshness::Shared, now()).await.unwrap();
    assert_eq!(fetch_from(&source, &listing.releases[0].assets[0]).await.unwrap(), b"an asset");

    let secret = root.path().join("secret").display().to_string();
    for address in
        ["../secret", "v1/../../secret", &secret, "file:///etc/hostname", "%2e%2e/secret", "https://127.0.0.1/a"]
    {
        let outcome = fetch_from(&source, &asset(address, None)).await;
        let outside = |refusal: &UrlRefusal| *refusal == UrlRefusal::OutsideFolder;
        assert!(
            matches!(&outcome, Err(FetchError::Address { refusal, .. }) if outside(refusal)),
            "{address}: {outcome:?}"
        );
    }
    for address in ["link", "up/secret"] {
        let outcome = fetch_from(&source, &asset(address, None)).await;
        let Err(FetchError::Folder(error)) = outcome else { panic!("{address}: {outcome:?}") };
        assert_eq!(error.refusal(), Some(&Refusal::Symlink), "{address}");
    }
}
