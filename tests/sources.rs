//! Where releases come from: GitHub's API, mirrors, bundles; and the ways to them, proxies and
//! authorities of one's own.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

#[path = "support/github.rs"]
mod github;
#[path = "support/http_server.rs"]
mod http_server;
#[path = "support/program.rs"]
mod program;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use exuvia::fetch::{
    AssetError, Bundle, BundleError, FetchError, Freshness, HttpSettings, Listing, Mirror, Origin, Release,
    ReleaseSource, SkipReason, StaticListing,
};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::ByteLimit;
use github::{ARCHIVE, GitHub, SIGNATURE, TOKEN};
use http_server::{Server, reply};
use jiff::{SignedDuration, Timestamp};
use program::copy_program;
use serde_json::json;

const CAP: ByteLimit = ByteLimit::mib(16);
const NAME: &str = "exuvia-x86_64-unknown-linux-gnu.tar.zst";

fn settings() -> HttpSettings {
    HttpSettings {
        connect_timeout: Duration::from_secs(2),
        stall_timeout: Duration::from_millis(1500),
        attempts: 1,
        ..HttpSettings::default()
    }
}

fn versions(listing: &Listing) -> Vec<String> {
    listing.releases.iter().map(|release| release.version.to_string()).collect()
}

fn release<'a>(listing: &'a Listing, version: &str) -> &'a Release {
    listing.releases.iter().find(|release| release.version.to_string() == version).unwrap()
}

async fn had(source: &ReleaseSource, release: &Release) -> Result<[Vec<u8>; 2], FetchError> {
    let product = ("exuvia".parse().unwrap(), "x86_64-unknown-linux-gnu".parse().unwrap());
    let chosen = release.choose(&product.0, &product.1).unwrap();
    let mut both = [Vec::new(), Vec::new()];
    for (asset, bytes) in [&chosen.archive, &chosen.signature].into_iter().zip(&mut both) {
        let mut file = tempfile::tempfile().unwrap();
        let mut error = None;
        for place in source.places(asset) {
            match source.fetch_asset(&place, asset, &mut file, CAP, &mut |_, _| {}).await {
                Ok(_) => {
                    error = None;
                    break;
                }
                Err(failed) => error = Some(failed),
            }
        }
        if let Some(error) = error {
            assert_eq!(file.metadata().unwrap().len(), 0, "after {error}");
            return Err(error);
        }
        file.read_to_end(bytes).unwrap();
    }
    Ok(both)
}

#[tokio::test]
async fn releases_of_a_repository_are_read_page_by_page_and_what_is_none_is_said() {
    for path in ["", "/api/v3"] {
        let github = GitHub::start(path);
        let source = github.source(path, false, &settings(), None);
        let listing = source.releases(Freshness::Shared, Timestamp::now()).await.unwrap();
        assert_eq!(versions(&listing), ["1.4.0-rc.1", "1.3.0", "1.2.0", "1.1.0", "1.0.0"], "with and without v");
        assert!(release(&listing, "1.4.0-rc.1").prerelease && !release(&listing, "1.3.0").prerelease);
        let skipped: Vec<_> = listing.skipped.iter().map(|skipped| skipped.tag.as_str()).collect();
        assert_eq!(skipped, ["v1.5.0", "nightly", "docs-2025-12"]);
        assert_eq!(listing.skipped[0].reason, SkipReason::Draft);
        // Still being uploaded: not there yet.
        let (product, target) = ("exuvia".parse().unwrap(), "x86_64-unknown-linux-gnu".parse().unwrap());
        let half = release(&listing, "1.1.0").choose(&product, &target);
        assert!(matches!(half, Err(AssetError::NoArchive { .. })), "{half:?}");
        assert_eq!(github.api.requests().len(), 2);
        for request in github.api.requests() {
            assert_eq!(request.header("accept"), Some("application/vnd.github+json"));
            assert_eq!(request.header("x-github-api-version"), Some("2022-11-28"));
            assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("exuvia/")));
        }
    }
}

#[tokio::test]
async fn files_of_a_repository_come_from_their_public_address_or_with_a_token_from_the_api() {
    for token in [false, true] {
        let github = GitHub::start("");
        let source = ReleaseSource::GitHub(github.source("", token, &settings(), None));
        let listing = source.releases(Freshness::Unconditional, Timestamp::now()).await.unwrap();
        let both = had(&source, release(&listing, "1.3.0")).await.unwrap();
        assert_eq!(both, [ARCHIVE, SIGNATURE]);
        assert_eq!((github.web.requests().len(), github.api.requests().len()), if token { (0, 4) } else { (2, 2) });
        assert_eq!(github.store.requests().len(), 2);
    }
}

#[tokio::test]
async fn siblings_ask_github_together_and_a_listing_that_did_not_change_costs_one_request() {
    let root = tempfile::tempdir().unwrap();
    let shared = || PrivateDir::open_or_create(root.path().join("listings"), Loose::Tighten).unwrap();
    let github = GitHub::start("");
    let (first, second) =
        (github.source("", false, &settings(), Some(shared())), github.source("", false, &settings(), Some(shared())));
    let start = Timestamp::now();
    let whole = first.releases(Freshness::Shared, start).await.unwrap();
    assert_eq!((whole.origin, github.api.requests().len()), (Origin::Whole, 2));
    let sibling = second.releases(Freshness::Shared, start).await.unwrap();
    assert_eq!((sibling.origin, github.api.requests().len()), (Origin::Sibling, 2));
    let later = second.releases(Freshness::Shared, start + SignedDuration::from_hours(1)).await.unwrap();
    assert_eq!((later.origin, github.api.requests().len()), (Origin::Confirmed, 3));
    assert_eq!((&later.releases, &later.skipped), (&whole.releases, &whole.skipped));
    // Who has a token may see more, and shares with others who do.
    let insider = github.source("", true, &settings(), Some(shared()));
    assert_eq!(insider.releases(Freshness::Shared, start).await.unwrap().origin, Origin::Whole);
}

#[tokio::test]
async fn what_the_api_refuses_is_explained() {
    let github = GitHub::with("", |request, stream| {
        if request.header("authorization").is_some() {
            let body = github::vector("bad-credentials.json");
            github::send(stream, 401, &github::budget("4999", "1799999999"), body.as_bytes());
        }
        request.header("authorization").is_some()
    });
    let refused = github.source("", true, &settings(), None).releases(Freshness::Shared, Timestamp::now()).await;
    let Err(error @ FetchError::TokenRefused { .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("GH_TOKEN") && !format!("{error} {error:?}").contains(TOKEN));

    for token in [false, true] {
        let source = github.source("/elsewhere", token, &settings(), None);
        let missing = source.releases(Freshness::Shared, Timestamp::now()).await.unwrap_err();
        let expected = if token { "token_refused" } else { "no_repository" };
        assert_eq!(missing.kind(), expected, "{missing}");
    }
}

/// A published tree with one release.
fn publish(root: &Path) {
    fs::create_dir_all(root.join("1.0.0")).unwrap();
    fs::write(root.join("1.0.0").join(NAME), ARCHIVE).unwrap();
    fs::write(root.join("1.0.0").join(format!("{NAME}.sig")), SIGNATURE).unwrap();
    list(root, "");
}

fn list(root: &Path, base: &str) {
    let asset = |name: &str, size: usize| json!({"name": name, "size": size, "browser_download_url": format!("{base}1.0.0/{name}")});
    let assets = [asset(NAME, ARCHIVE.len()), asset(&format!("{NAME}.sig"), SIGNATURE.len())];
    fs::write(root.join("releases.json"), json!([{"tag_name": "v1.0.0", "assets": assets}]).to_string()).unwrap();
}

fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    publish(root.path());
    root
}

fn mirrored(origin: &str, mirrors: &[String], shared: Option<PrivateDir>) -> ReleaseSource {
    let mirrors = mirrors.iter().map(|mirror| mirror.parse::<Mirror>().unwrap()).collect();
    let listing = StaticListing::new(origin.parse().unwrap(), &settings(), shared);
    ReleaseSource::Listing(listing.with_mirrors(mirrors))
}

#[tokio::test]
async fn a_mirror_stands_in_for_a_server_that_is_away() {
    let (root, deeper) = (tree(), tempfile::tempdir().unwrap());
    publish(&deeper.path().join("mirror/tree"));
    let gone = Server::start(|_, _| {});
    let origin = gone.url("/dl/releases.json");
    drop(gone);
    let failing = Server::start(|_, stream| reply(stream, 503, &[], b""));
    let good = Server::folder(deeper.path());
    let _ = root;
    let source = mirrored(&origin, &[failing.url(""), good.url("/mirror/tree")], None);
    let listing = source.releases(Freshness::Unconditional, Timestamp::now()).await.unwrap();
    assert_eq!((versions(&listing), listing.origin), (vec!["1.0.0".to_owned()], Origin::Mirror));
    assert_eq!(had(&source, &listing.releases[0]).await.unwrap(), [ARCHIVE, SIGNATURE]);
    // The one that had the listing is asked first for the files.
    assert_eq!((failing.requests().len(), good.requests().len()), (1, 3));
}

#[tokio::test]
async fn a_file_that_the_server_lacks_comes_from_a_mirror_also_where_the_listing_names_it_absolutely() {
    let (root, copy) = (tree(), tree());
    let (origin, mirror) = (Server::folder(root.path()), Server::folder(copy.path()));
    for base in [String::new(), origin.url("/")] {
        list(root.path(), &base);
        fs::remove_file(root.path().join("1.0.0").join(NAME)).ok();
        let source = mirrored(&origin.url("/releases.json"), &[mirror.url("/")], None);
        let listing = source.releases(Freshness::Shared, Timestamp::now()).await.unwrap();
        assert_eq!(listing.origin, Origin::Whole);
        assert_eq!(had(&source, &listing.releases[0]).await.unwrap(), [ARCHIVE, SIGNATURE]);
    }
    assert_eq!(mirror.count("/releases.json"), 0, "the server itself has it");
}

#[tokio::test]
async fn when_all_are_away_the_error_is_the_servers_own() {
    let origin = Server::start(|_, stream| reply(stream, 500, &[], b""));
    let mirror = Server::start(|_, stream| reply(stream, 404, &[], b""));
    let source = mirrored(&origin.url("/releases.json"), &[mirror.url("/")], None);
    let outcome = source.releases(Freshness::Shared, Timestamp::now()).await;
    assert!(matches!(outcome, Err(FetchError::Status { status: 500, .. })), "{outcome:?}");
    assert_eq!(mirror.requests().len(), 1);
}

fn tar(folder: &Path, format: &str, args: &[&str]) -> PathBuf {
    let bundle = folder.with_extension(format!("{format}.tar"));
    let made = Command::new("tar")
        .arg(format!("--format={format}"))
        .arg("-cf")
        .arg(&bundle)
        .arg("-C")
        .arg(folder)
        .args(args)
        .status();
    assert!(made.unwrap().success());
    bundle
}

#[tokio::test]
async fn a_bundle_is_a_published_tree_as_a_folder_or_as_a_tar_file() {
    let root = tree();
    let bundles = [
        root.path().to_owned(),
        tar(root.path(), "ustar", &["."]),
        tar(root.path(), "gnu", &["releases.json", "1.0.0"]),
    ];
    let link = root.path().with_extension("link");
    std::os::unix::fs::symlink(&bundles[1], &link).unwrap();
    for base in ["", "https://releases.example.org/dl/"] {
        list(root.path(), base);
        tar(root.path(), "ustar", &["."]);
        for path in bundles.iter().chain([&link]) {
            let source = ReleaseSource::Bundle(Bundle::open(path, &settings()).unwrap());
            let listing = source.releases(Freshness::Shared, Timestamp::now()).await.unwrap();
            assert_eq!(versions(&listing), ["1.0.0"], "{}", path.display());
            assert_eq!(had(&source, &listing.releases[0]).await.unwrap(), [ARCHIVE, SIGNATURE]);
        }
    }
    for path in bundles[1..].iter().chain([&link]) {
        fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn what_is_no_bundle_is_refused_with_its_reason() {
    let root = tree();
    let refused = |path: &Path| match Bundle::open(path, &settings()) {
        Err(FetchError::Bundle { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let zipped = root.path().join("b.tar.gz");
    assert!(
        Command::new("tar")
            .arg("-czf")
            .arg(&zipped)
            .arg("-C")
            .arg(root.path())
            .arg("1.0.0")
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(refused(&zipped), BundleError::Compressed);
    assert_eq!(refused(&root.path().join("releases.json")), BundleError::NotTar { at: 0 });

    let linked = tree();
    std::os::unix::fs::symlink("/etc/passwd", linked.path().join("1.0.0/link")).unwrap();
    let bundle = tar(linked.path(), "ustar", &["."]);
    assert!(matches!(refused(&bundle), BundleError::Kind { kind: '2', .. }));
    fs::remove_file(bundle).unwrap();

    let missing = Bundle::open(&root.path().join("nothing"), &settings());
    assert!(matches!(&missing, Err(FetchError::Folder(error)) if error.is_not_found()), "{missing:?}");
    // A file that the listing names and the bundle lacks.
    fs::remove_file(root.path().join("1.0.0").join(NAME)).unwrap();
    let source = ReleaseSource::Bundle(Bundle::open(root.path(), &settings()).unwrap());
    let listing = source.releases(Freshness::Shared, Timestamp::now()).await.unwrap();
    let outcome = had(&source, &listing.releases[0]).await;
    assert!(matches!(&outcome, Err(FetchError::Folder(error)) if error.is_not_found()), "{outcome:?}");
}

#[test]
fn an_operator_names_a_bundle_at_the_command_line() {
    let (root, home) = (tree(), tempfile::tempdir().unwrap());
    let bundle = tar(root.path(), "ustar", &["."]);
    let program = home.path().join("exuvia");
    copy_program(env!("CARGO_BIN_EXE_exuvia").as_ref(), &program);
    let run = |args: &[&str]| {
        let dirs = ["cache", "data"].map(|name| format!("{name}_dir={}", home.path().join(name).display()));
        Command::new(&program)
            .args(["--set", &dirs[0], "--set", &dirs[1]])
            .args(args)
            .env_remove("EXUVIA_CONFIG")
            .current_dir(bundle.parent().unwrap())
            .output()
            .unwrap()
    };
    let name = bundle.file_name().unwrap().to_str().unwrap();
    let checked = run(&["upgrade", "--from", name, "--version", "1.0.0", "--allow-downgrade", "check"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(100), "{text}");
    assert!(text.contains("1.0.0"), "{text}");
    // What is in it is no signature of anybody.
    let refused = run(&["upgrade", "--from", name, "--version", "1.0.0", "--allow-downgrade"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{text}");
    let missing = run(&["upgrade", "--from", "nothing.tar"]);
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(missing.status.code() == Some(6) && text.contains("nothing.tar"), "{:?} {text}", missing.status);
    let versions = fs::read_dir(home.path().join(".exuvia/versions")).unwrap().count();
    assert!(versions <= 1, "nothing is left behind");
    fs::remove_file(bundle).unwrap();
}
