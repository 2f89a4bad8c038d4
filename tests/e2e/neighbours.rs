//! Hosts that give each other what they keep: in networks of their own, and on loopback with neighbours that lie.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use exuvia::types::Target;

use crate::http_server::{self, Server, raw};
use crate::namespace::{mount_small, with_a_network_of_its_own, with_mounts_of_its_own};
use crate::port::free_port;
use crate::site::{ALL, ORIGIN, PORT, Site, address};
use crate::support::{Host, Node, SignedAs, wait_for, wait_within};

const HOSTS: usize = 20;
/// The last of them are cut off when the release comes.
const CUT_OFF: usize = 5;

fn runs(node: &Node, version: &str) -> bool {
    node.record().is_some_and(|record| record["running"]["version"] == version && record["trial"].is_null())
}

#[test]
fn of_twenty_hosts_about_one_asks_the_origin_and_those_that_were_cut_off_ask_the_others() {
    with_a_network_of_its_own(
        "neighbours::of_twenty_hosts_about_one_asks_the_origin_and_those_that_were_cut_off_ask_the_others",
        || {
            if !Site::is_possible() {
                eprintln!("skipped: this kernel has no bridges, or no pairs of interfaces");
                return;
            }
            let site = Site::of(HOSTS);
            // The first host's folder of releases is what the origin serves.
            let mut hosts: Vec<Host> = (0..HOSTS).map(|_| Host::new()).collect();
            let tree = hosts[0].releases().tree().to_owned();
            let origin = SocketAddr::from((ORIGIN, free_port()));
            let server = Server::start_at(origin, move |request, stream| {
                // Slow enough that all hosts want it at the same time.
                std::thread::sleep(Duration::from_millis(300));
                http_server::serve_file(&tree, request, stream);
            });
            let mut nodes: Vec<Node> = hosts
                .iter_mut()
                .enumerate()
                .map(|(number, host)| {
                    for (key, value) in [
                        ("source.listing", format!("\"http://{origin}/releases.json\"")),
                        ("source.allow_plain_http", format!("[\"{origin}\"]")),
                        ("mirror.listen", format!("\"{}:{PORT}\"", address(number))),
                        ("mirror.peers", format!("[\"{ALL}\"]")),
                        ("poll.interval", "\"2s\"".to_owned()),
                        ("trial.start", "\"60s\"".to_owned()),
                        ("trial.probe", "\"60s\"".to_owned()),
                        ("trial.watchdog", "\"20s\"".to_owned()),
                        ("trial.probation", "\"300ms\"".to_owned()),
                        ("trial.handoff", "\"100ms\"".to_owned()),
                    ] {
                        host.set(key, &value);
                    }
                    let mut node = host.node("node");
                    // Nobody answers there: neighbours are never asked through a proxy.
                    node.set_env("http_proxy", "http://127.0.0.1:9");
                    node.set_env("no_proxy", ORIGIN.to_string());
                    node.through(&site.through(number).each_ref().map(String::as_str));
                    node
                })
                .collect();
            nodes.iter_mut().for_each(Node::start);
            for node in &nodes {
                wait_within(Duration::from_mins(3), || node.log(), || runs(node, "1.0.0").then_some(()));
            }
            for host in HOSTS - CUT_OFF..HOSTS {
                site.cut_off(host);
            }
            hosts[0].releases().publish("1.1.0");
            let patience = Duration::from_mins(5);
            for node in &nodes[..HOSTS - CUT_OFF] {
                wait_within(patience, || node.log(), || runs(node, "1.1.0").then_some(()));
            }
            let archive = format!("/1.1.0/exuvia-{}.tar.zst", Target::of_this_build());
            let sent = server.count(&archive);
            assert!((1..=2).contains(&sent), "the origin sent the archive {sent} times");
            for (number, node) in nodes.iter().enumerate().skip(HOSTS - CUT_OFF) {
                assert!(!runs(node, "1.1.0"), "host {number} was not cut off");
                site.mend(number);
            }
            for node in &nodes[HOSTS - CUT_OFF..] {
                wait_within(patience, || node.log(), || runs(node, "1.1.0").then_some(()));
            }
            assert_eq!(server.count(&archive), sent, "those that were cut off had it from their neighbours");
            let signatures = server.count(&format!("{archive}.sig"));
            assert!(signatures <= sent, "a neighbour sends the signature, too: {signatures}");
            for host in &hosts {
                host.assert_committed("1.1.0");
            }
            for node in &mut nodes {
                node.stop();
            }
        },
    );
}

/// A host whose mirror serves at the port that is returned.
fn mirroring(host: &mut Host) -> SocketAddr {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    host.set("mirror.listen", &format!("\"{address}\""));
    address
}

/// The answer to one request: its status and its body. Reads until the other side closes.
fn ask(mirror: SocketAddr, method: &str, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(mirror).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.get(end + 4..).unwrap_or_default().to_vec())
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(bytes))
}

/// A host that has upgraded to 1.1.0, with that archive in its cache.
fn upgraded() -> (Host, Node, SocketAddr) {
    let mut host = Host::new();
    let mirror = mirroring(&mut host);
    host.releases().publish("1.1.0");
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    (host, node, mirror)
}

#[test]
fn n2_only_signed_releases_can_be_read_and_by_their_digest_alone() {
    let (host, node, mirror) = upgraded();
    let archive = fs::read(host.releases().archive("1.1.0")).unwrap();
    let digest = sha256(&archive);
    let served = wait_for(
        || format!("the mirror serves\n{}", node.log()),
        || Some(ask(mirror, "GET", &format!("/v1/files/{digest}"))).filter(|(status, _)| *status == 200),
    );
    assert!(served.1 == archive, "{} bytes", served.1.len());
    let signature = fs::read(host.releases().archive("1.1.0").with_extension("zst.sig")).unwrap();
    assert_eq!(ask(mirror, "GET", &format!("/v1/files/{digest}/signature")), (200, signature));
    assert_eq!(ask(mirror, "HEAD", &format!("/v1/files/{digest}")), (200, Vec::new()));

    // What lies beside it, by name, by digest, and by ways around.
    let binary = sha256(&fs::read(host.binary()).unwrap());
    let config = sha256(&fs::read(node.config_path()).unwrap());
    let folder = host.path("cache/entries");
    let entry = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let entry_digest = sha256(&fs::read(&entry).unwrap());
    for path in [
        "/",
        "/v1/files",
        "/v1/files/",
        "/v1/files/..",
        "/v1/files/../../etc/passwd",
        "/v1/files/%2e%2e%2fx",
        "/v1/files/%2Fetc%2Fpasswd",
        "/status",
        "/metrics",
        &format!("/v1/files/{}", digest.to_uppercase()),
        &format!("/v1/files/{digest}/"),
        &format!("/v1/files/{digest}/signature/x"),
        &format!("/v1/files/{}", "0".repeat(64)),
        &format!("/v1/files/{binary}"),
        &format!("/v1/files/{config}"),
        &format!("/v1/files/{entry_digest}"),
        &format!("/v1/files/{binary}/signature"),
    ] {
        for method in ["GET", "HEAD"] {
            let (status, body) = ask(mirror, method, path);
            assert!(status == 404 && body.is_empty(), "{method} {path}: {status}, {} bytes", body.len());
        }
    }
    for method in ["PUT", "POST", "DELETE"] {
        let (status, _) = ask(mirror, method, &format!("/v1/files/{digest}"));
        assert_eq!(status, 405, "{method}");
    }
    let locks = fs::read_dir(host.path("cache/locks")).unwrap().count();
    assert!(locks <= 3, "questions left {locks} files behind");
    let (_, metrics) = node.get("/metrics").unwrap();
    assert!(metrics.contains("exuvia_mirror_requests_total{result=\"served\"}"), "{metrics}");
    // The last piece is counted when it is sent, which its reader may see first.
    let sent = format!("exuvia_mirror_sent_bytes_total {}\n", archive.len());
    wait_for(|| node.get("/metrics").unwrap().1, || node.get("/metrics").unwrap().1.contains(&sent).then_some(()));
}

#[test]
fn n3_what_was_planted_in_the_cache_is_not_served() {
    let (host, node, mirror) = upgraded();
    let entries = host.path("cache/entries");
    let entry = fs::read_dir(&entries).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    let mut planted: serde_json::Value = serde_json::from_slice(&fs::read(&entry).unwrap()).unwrap();
    let secret = b"a secret of this host".repeat(100);
    let digest = sha256(&secret);
    let folder = host.path("cache/blobs").join(&digest[..2]).join(&digest[2..4]);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&digest), &secret).unwrap();
    planted["digest"] = digest.clone().into();
    planted["length"] = secret.len().into();
    let name = entry.file_name().unwrap().to_str().unwrap().replace("@1.1.0@", "@9.9.9@");
    fs::write(entries.join(&name), serde_json::to_vec(&planted).unwrap()).unwrap();
    wait_for(
        || format!("what was planted is found out\n{}", node.log()),
        || {
            let (status, body) = ask(mirror, "GET", &format!("/v1/files/{digest}"));
            assert!(status == 404 && body.is_empty(), "{status}");
            (!entries.join(&name).exists()).then_some(())
        },
    );
    // What a worker says goes through its launcher.
    wait_for(|| node.log(), || node.log().contains("cache_rejected").then_some(()));

    // A signed archive under the digest of another file: what is sent has the digest that was asked for, or nothing.
    let mut lying: serde_json::Value = serde_json::from_slice(&fs::read(&entry).unwrap()).unwrap();
    let archive = fs::read(host.releases().archive("1.1.0")).unwrap();
    let other = "ab".repeat(32);
    let folder = host.path("cache/blobs/ab/ab");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&other), &archive).unwrap();
    lying["digest"] = other.clone().into();
    fs::write(&entry, serde_json::to_vec(&lying).unwrap()).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let (status, body) = ask(mirror, "GET", &format!("/v1/files/{other}"));
    assert!(status == 404 && body.is_empty(), "{status}");
}

#[test]
fn n2_transfers_are_bounded_and_who_takes_nothing_gives_its_place_to_others() {
    let mut host = Host::new();
    let mirror = mirroring(&mut host);
    host.set("mirror.transfers", "1");
    host.releases().publish("1.1.0");
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    let archive = fs::read(host.releases().archive("1.1.0")).unwrap();
    let path = format!("/v1/files/{}", sha256(&archive));
    wait_for(|| node.log(), || (ask(mirror, "HEAD", &path).0 == 200).then_some(()));
    // It asks for all, reads nothing, has room for little, and stays.
    let mut idle = TcpStream::connect(mirror).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&idle, 64 << 10).unwrap();
    write!(idle, "GET {path} HTTP/1.1\r\nHost: mirror\r\n\r\n").unwrap();
    let asked = Instant::now();
    wait_for(|| node.log(), || (ask(mirror, "HEAD", &path).0 == 503).then_some(()));
    assert_eq!(ask(mirror, "GET", &path).0, 503);
    // Others are sent nothing meanwhile, and the node serves.
    assert!(node.serves());
    wait_within(Duration::from_secs(40), || node.log(), || (ask(mirror, "HEAD", &path).0 == 200).then_some(()));
    assert!(asked.elapsed() >= Duration::from_secs(15), "it was not stalled: {:?}", asked.elapsed());
    assert!(ask(mirror, "GET", &path).1 == archive, "the next one is served");
    drop(idle);
}

/// A host that follows nothing, with six archives in its cache; their digests.
fn with_six_archives(host: &mut Host) -> (Node, SocketAddr, Vec<String>) {
    let mirror = mirroring(host);
    host.set("source.listing", "");
    let program = host.path("program");
    let versions = ["2.0.0", "2.0.1", "2.0.2", "2.0.3", "2.0.4", "2.0.5"];
    for (number, version) in versions.iter().enumerate() {
        fs::write(&program, format!("program {number}").repeat(10_000)).unwrap();
        host.releases().publish_binary(&SignedAs::release(version), &program);
    }
    let node = host.start("one");
    node.cli(&["cache", "import", host.releases().tree().to_str().unwrap()]).exits(0).says("2.0.5: stored");
    let digests = versions.map(|version| sha256(&fs::read(host.releases().archive(version)).unwrap()));
    wait_for(|| node.log(), || (ask(mirror, "HEAD", &format!("/v1/files/{}", digests[5])).0 == 200).then_some(()));
    (node, mirror, digests.to_vec())
}

/// Files without a name that the worker has open.
fn unnamed(node: &Node) -> usize {
    let open = node.worker_pids().into_iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).unwrap());
    let leads = open.filter_map(|handle| fs::read_link(handle.unwrap().path()).ok());
    leads.filter(|path| path.to_string_lossy().contains("/staging/")).count()
}

#[test]
fn n2_private_copies_are_few_and_none_is_made_where_little_would_stay_free() {
    with_mounts_of_its_own(
        "neighbours::n2_private_copies_are_few_and_none_is_made_where_little_would_stay_free",
        || {
            let mut host = Host::new();
            let (node, mirror, digests) = with_six_archives(&mut host);
            for digest in &digests {
                assert_eq!(ask(mirror, "GET", &format!("/v1/files/{digest}")).0, 200);
            }
            assert_eq!(unnamed(&node), 4);

            let mut host = Host::new();
            let staging = host.path("bin/.exuvia/staging");
            fs::create_dir_all(&staging).unwrap();
            for folder in [staging.as_path(), staging.parent().unwrap()] {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
            }
            mount_small(&staging, "100m");
            fs::set_permissions(&staging, fs::Permissions::from_mode(0o700)).unwrap();
            let (node, mirror, digests) = with_six_archives(&mut host);
            let (status, body) = ask(mirror, "GET", &format!("/v1/files/{}", digests[0]));
            assert_eq!((status, body.len(), unnamed(&node)), (503, 0, 0));
        },
    );
}

/// Neighbours that say they have everything, and then do this.
fn liar(behaves: impl Fn(&http_server::Request, &mut TcpStream) + Send + Sync + 'static) -> Server {
    Server::start(move |request, stream| {
        if request.method == "HEAD" {
            raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        } else if request.path.ends_with("/signature") {
            http_server::reply(stream, 200, &[], &[7; 3309]);
        } else {
            behaves(request, stream);
        }
    })
}

#[test]
fn n1_neighbours_that_lie_stall_or_never_end_cost_a_bounded_time_and_the_origin_stands_in() {
    let mut host = Host::new();
    let published = host.releases().archive("1.1.0");
    let liars = [
        liar(|_, stream| http_server::reply(stream, 200, &[], b"another file")),
        liar(|_, stream| {
            raw(stream, b"HTTP/1.1 200 OK\r\n\r\n");
            while raw(stream, &[0; 4096]) {}
        }),
        liar(|_, stream| http_server::hold(stream)),
        liar(|_, stream| http_server::redirect(stream, "http://127.0.0.1:1/")),
        // The right file, and a signature that is none of ours.
        liar(move |_, stream| http_server::reply(stream, 200, &[], &fs::read(&published).unwrap())),
        Server::start(|_, stream| http_server::hold(stream)),
    ];
    let peers: Vec<String> = liars.iter().map(|liar| format!("\"{}\"", liar.addr())).collect();
    host.set("mirror.peers", &format!("[{}, \"127.0.0.1:1\"]", peers.join(", ")));
    host.set("poll.interval", "\"2s\"");
    host.releases().publish("1.1.0");
    let begun = Instant::now();
    let node = host.start("one");
    wait_within(Duration::from_mins(1), || node.log(), || runs(&node, "1.1.0").then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    assert_eq!(host.server().count(&format!("/1.1.0/exuvia-{}.tar.zst", Target::of_this_build())), 1);
    let log = node.log();
    let left_out = log.matches("neighbour_left_out").count();
    assert!(left_out >= liars.len(), "{left_out} of {}\n{log}", liars.len());
    let asked: Vec<usize> = liars.iter().map(|liar| liar.requests().len()).collect();
    assert!(asked.iter().all(|asked| *asked <= 3), "none of them is asked again: {asked:?}");
    host.assert_committed("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn n1_after_eight_neighbours_that_lied_the_origin_is_asked() {
    let mut host = Host::new();
    let liars: Vec<Server> =
        (0..12).map(|_| liar(|_, stream| http_server::reply(stream, 200, &[], b"another file"))).collect();
    let peers: Vec<String> = liars.iter().map(|liar| format!("\"{}\"", liar.addr())).collect();
    host.set("mirror.peers", &format!("[{}]", peers.join(", ")));
    host.releases().publish("1.1.0");
    let node = host.start("one");
    node.wait_until_it_runs("1.1.0");
    let is_file = |request: &http_server::Request| request.method == "GET" && !request.path.ends_with("/signature");
    let files: usize = liars.iter().map(|liar| liar.requests().iter().filter(|request| is_file(request)).count()).sum();
    assert_eq!(files, 8);
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn a_patch_goes_from_neighbour_to_neighbour_too() {
    let (mut first, mut second) = (crate::deltas::host_with_a_base(), crate::deltas::host_with_a_base());
    let mirror = mirroring(&mut first);
    for host in [&first, &second] {
        crate::deltas::publish(host, &["1.0.0", "1.1.0"]);
    }
    let one = first.start("one");
    one.wait_until_it_runs("1.1.0");
    second.set("mirror.peers", &format!("[\"{mirror}\"]"));
    let two = second.start("two");
    two.wait_until_it_runs("1.1.0");
    let patches = |host: &Host| {
        host.server()
            .requests()
            .iter()
            .filter(|request| request.path.contains(".patch") && !request.path.contains(".sig"))
            .count()
    };
    assert_eq!((patches(&first), patches(&second)), (1, 0), "{}", two.log());
    one.cli(&["cache", "ls"]).exits(0).says("(a patch to it)");
    one.cli(&["cache", "verify"]).exits(0).says("(a patch to it)");
    two.cli(&["cache", "verify"]).exits(0).says("(its tar)");
}
