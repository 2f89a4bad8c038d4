//! The status page of a node that runs, as a browser shows it. The pictures stay in the build folder,
//! under `status-page/`, for whoever wants to look.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use exuvia::ledger::{AttemptKind, Ending, Ledger, NewAttempt, NewVeto, Outcome};
use exuvia::sys::{Loose, PrivateDir};
use jiff::Timestamp;

use crate::browser::{Browser, measure};
use crate::http_server::{Server, hold, serve_file};
use crate::place::{Place, Running};
use crate::port::free_port;

const EVIL: &str = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";

fn picture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("status-page");
    fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{name}.png"))
}

/// Takes a picture, and checks that it shows something.
fn shoot(browser: &Browser, address: &str, size: (u32, u32), dark: bool, name: &str) {
    let file = picture(name);
    fs::remove_file(&file).ok();
    browser.screenshot(address, size, dark, &file);
    let (width, height, values) = measure(&file);
    assert_eq!((width, height), size, "{name}");
    assert!(values > 64, "{name} is blank: {values} different bytes");
}

/// Starts the node with its page, and says where that is.
fn start(place: &Place) -> (Running, String) {
    let address = format!("127.0.0.1:{}", free_port());
    place.edit("listen", &address);
    (place.start(), format!("http://{address}/"))
}

fn ledger(place: &Place) -> Ledger {
    let data = PrivateDir::open_or_create(place.path("data"), Loose::RefuseWritable).unwrap();
    Ledger::open(&data, Timestamp::now()).unwrap()
}

/// Writes a failed trial into the history, as a candidate would want it to read.
fn roll_back(place: &Place, version: &str, reason: &str) {
    let (ledger, now) = (ledger(place), Timestamp::now());
    let (from, to) = (env!("CARGO_PKG_VERSION").parse().unwrap(), version.parse().unwrap());
    let attempt = NewAttempt { kind: AttemptKind::Upgrade, from: &from, to: &to, digest: None };
    let id = ledger.begin_attempt(&attempt, now).unwrap();
    let ending = Ending { outcome: Outcome::RolledBack, reason: Some(reason), digest: None, output: Some(EVIL) };
    assert!(ledger.finish(id, &ending, now).unwrap());
    ledger.veto(&NewVeto::after_failure(&to, None, reason, now), now).unwrap();
}

/// Waits until the page says so.
fn wait_for(address: &str, words: &str) -> String {
    let mut last = String::new();
    for _ in 0..600 {
        last = get(address, "127.0.0.1").1;
        if last.contains(words) {
            return last;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{words:?} is not in {last}");
}

fn get(address: &str, host: &str) -> (String, String) {
    fetch(address, "", host)
}

fn fetch(address: &str, path: &str, host: &str) -> (String, String) {
    let server = address.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn h1_a_browser_shows_hostile_text_and_runs_none_of_it() {
    let Some(browser) = Browser::find() else { return };
    let place = Place::new();
    place.publish(&["1.4.0"]);
    roll_back(&place, "1.4.0", &format!("exited: {EVIL}"));
    let (_running, address) = start(&place);
    wait_for(&address, "rolled-back");
    let dom = browser.dom(&address);
    assert!(dom.contains("&lt;script&gt;document.title='owned'&lt;/script&gt;"), "{dom}");
    assert!(!dom.contains("<img") && !dom.contains("<script"), "{dom}");
    assert!(dom.contains("<title>default: exuvia") && !dom.contains("<title>owned"), "{dom}");
    shoot(&browser, &address, (1100, 1300), false, "hostile");
}

#[test]
fn h1_the_page_tells_sentences_to_its_own_host_alone() {
    let place = Place::new();
    place.publish(&["1.4.0"]);
    roll_back(&place, "1.4.0", "exited: see /srv/secret");
    let (_running, address) = start(&place);
    wait_for(&address, "/srv/secret");
    let (head, body) = get(&address, "status.evil.example");
    assert!(head.contains("content-security-policy: default-src 'none'; style-src 'nonce-"), "{head}");
    assert!(!body.contains("/srv/secret") && !body.contains(&place.root().display().to_string()), "{body}");
    assert!(body.contains("rolled-back") && body.contains(">exited<"), "{body}");
}

#[test]
fn the_page_is_rendered_at_rest_frozen_and_rolled_back() {
    let Some(browser) = Browser::find() else { return };
    let place = Place::new();
    let (running, address) = start(&place);
    wait_for(&address, "Up to date");
    shoot(&browser, &address, (1100, 1200), false, "idle");
    drop(running);

    place.publish(&["1.4.0", "1.5.0"]);
    place.run(&["pause", "--for", "3h"]).exits(0);
    let (running, address) = start(&place);
    wait_for(&address, "Upgrades are frozen");
    wait_for(&address, "the gate <strong>pause</strong> is shut");
    shoot(&browser, &address, (1100, 1300), true, "frozen-dark");
    drop(running);

    place.run(&["resume"]).exits(0);
    place.publish(&["1.5.0"]);
    roll_back(&place, "1.5.0", "exited: it ended with exit code 101, 12 s after it was ready");
    let (_running, address) = start(&place);
    wait_for(&address, "1.5.0 did not prove itself");
    wait_for(&address, "the gate <strong>veto</strong> is shut");
    shoot(&browser, &address, (500, 1700), false, "rolled-back-phone");
}

#[test]
fn the_page_shows_how_far_a_download_is() {
    let Some(browser) = Browser::find() else { return };
    let place = Place::new();
    let tree = place.path("releases");
    let server = Server::start(move |request, stream| {
        if !request.path.ends_with(".tar.zst") {
            return serve_file(&tree, request, stream);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").ok();
        stream.write_all(&vec![b'x'; 600_000]).ok();
        hold(stream);
    });
    place.publish(&["1.4.0=1000000"]);
    place.edit("source.listing", &server.url("/releases.json"));
    let (_running, address) = start(&place);
    let page = wait_for(&address, "aria-label=\"Download\" max=\"1000000\" value=\"600000\"");
    assert!(page.contains("Downloads 1.4.0.") && page.contains("600.0 kB of 1.0 MB"), "{page}");
    assert!(page.contains("http-equiv=\"refresh\" content=\"2\""), "{page}");
    shoot(&browser, &address, (1100, 1300), false, "upgrading");
}

#[test]
fn a_node_whose_source_cannot_be_used_runs_and_says_so_everywhere() {
    let place = Place::new();
    place.edit("source.listing", "https:releases.example/releases.json");
    let (_running, address) = start(&place);
    let page = wait_for(&address, "No releases are looked for:");
    assert!(page.contains("the setting source.listing cannot be used"), "{page}");
    let status = place.run(&["status"]).exits(0);
    assert!(status.stdout.contains("none that can be used: the setting source.listing"), "{status:#?}");
    let metrics = fetch(&address, "metrics", "127.0.0.1").1;
    assert!(metrics.contains("\nexuvia_upgrade_source_usable 0\n"), "{metrics}");
    let doctor = place.run(&["doctor", "--json"]).exits(3).json();
    assert!(doctor["findings"].as_array().unwrap().iter().any(|finding| finding["check"] == "source"), "{doctor}");
    place.run(&["upgrade"]).exits(2);
    // What is wrong with the source says nothing about a bundle.
    place.run(&["upgrade", "--from", "releases", "--dry-run"]).exits(0);
}
