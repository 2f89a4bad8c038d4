//! Row B2, on the ways of the real world: through a proxy, and with authorities of one's own.
//!
//! Proxies and trust are the environment's, so each request is made by a process of its own.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use exuvia::fetch::{AuthoritiesError, FetchError, HttpSettings, StaticListing};

use crate::b2_tls::{certificates_for, serve, whole};
use crate::fetching::{asset, fetch_from, settings};

const HOST: &str = "releases.test";
const ADDRESS: &str = "EXUVIA_TEST_ADDRESS";
const CA_FILE: &str = "EXUVIA_TEST_CA_FILE";

/// A proxy that leads every tunnel to `to`, and remembers who asked for what.
fn proxy(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, asked) = (listener.local_addr().unwrap(), Arc::default());
    let log: Arc<Mutex<Vec<String>>> = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let log = Arc::clone(&log);
            thread::spawn(move || tunnel(client, to, &log));
        }
    });
    (addr, asked)
}

fn tunnel(mut client: TcpStream, to: SocketAddr, log: &Mutex<Vec<String>>) {
    let head: Vec<String> =
        BufReader::new(&client).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    log.lock().unwrap().push(head.join("\n"));
    let Ok(mut server) = TcpStream::connect(to) else { return };
    if client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").is_err() {
        return;
    }
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    let _ = std::io::copy(&mut server, &mut client);
}

/// Fetches one asset in a process with these variables, and returns what came of it, in a word.
fn fetched(name: &str, address: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let outcome = folder.path().join("outcome");
    let mut child = Command::new(env::current_exe().unwrap());
    for name in ["SSL_CERT_DIR", "SSL_CERT_FILE", "NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        child.env_remove(name);
    }
    let output = child
        .args(["--exact", &format!("b2_proxy::{name}"), "--nocapture"])
        .env(ADDRESS, address)
        .env("EXUVIA_TEST_OUTCOME", &outcome)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    fs::read_to_string(outcome).unwrap()
}

/// In the process of its own: does what [`fetched`] wants. `false` in the first process.
async fn is_done() -> bool {
    let Ok(address) = env::var(ADDRESS) else { return false };
    let settings = HttpSettings { ca_file: env::var_os(CA_FILE).map(Into::into), ..settings() };
    let source = StaticListing::new(address.parse().unwrap(), &settings, None);
    let outcome = match fetch_from(&source, &asset("/asset", None)).await {
        Ok(body) => String::from_utf8(body).unwrap(),
        Err(error) => error.kind().to_owned(),
    };
    fs::write(env::var_os("EXUVIA_TEST_OUTCOME").unwrap(), outcome).unwrap();
    true
}

/// What a refusal must be.
type Expected = fn(&AuthoritiesError) -> bool;

fn pem(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn b2_a_proxy_carries_tls_and_is_trusted_with_nothing() {
    if is_done().await {
        return;
    }
    let name = "b2_a_proxy_carries_tls_and_is_trusted_with_nothing";
    let folder = tempfile::tempdir().unwrap();
    let certificates = certificates_for(HOST);
    let trusted = pem(folder.path(), "authority.pem", &certificates.authority);
    let (proxy, asked) = proxy(serve(&certificates, whole));
    let proxy = format!("http://{proxy}");
    let address = format!("https://{HOST}/releases.json");

    let through = [("HTTPS_PROXY", proxy.as_str()), ("SSL_CERT_FILE", &trusted)];
    assert_eq!(fetched(name, &address, &through), "[]");
    let heads = asked.lock().unwrap().clone();
    assert!(heads.len() == 1 && heads[0].starts_with("CONNECT releases.test:443 HTTP/1.1"), "{heads:?}");

    // A proxy that opens TLS itself is one more server that nobody vouches for.
    let other = certificates_for(HOST);
    let (intercepting, _) = self::proxy(serve(&other, whole));
    let intercepting = format!("http://{intercepting}");
    let through = [("HTTPS_PROXY", intercepting.as_str()), ("SSL_CERT_FILE", &trusted)];
    assert_eq!(fetched(name, &address, &through), "tls");
    // Unless an operator says so.
    let company = pem(folder.path(), "company.pem", &other.authority);
    let through = [("HTTPS_PROXY", intercepting.as_str()), ("SSL_CERT_FILE", &trusted), (CA_FILE, &company)];
    assert_eq!(fetched(name, &address, &through), "[]");
}

#[tokio::test]
async fn b2_a_host_that_is_excepted_is_never_asked_for_through_the_proxy() {
    if is_done().await {
        return;
    }
    let name = "b2_a_host_that_is_excepted_is_never_asked_for_through_the_proxy";
    let certificates = certificates_for("127.0.0.1");
    let folder = tempfile::tempdir().unwrap();
    let trusted = pem(folder.path(), "authority.pem", &certificates.authority);
    let server = serve(&certificates, whole);
    let (proxy, asked) = proxy(server);
    let proxy = format!("http://{proxy}");
    let common = [("HTTPS_PROXY", proxy.as_str()), ("SSL_CERT_FILE", &trusted)];
    // No such host exists, so that asking it directly fails.
    let excepted = [&common[..], &[("NO_PROXY", "example.org,.test")]].concat();
    let outcome = fetched(name, &format!("https://{HOST}/releases.json"), &excepted);
    assert!(["connect", "stalled"].contains(&outcome.as_str()), "{outcome}");
    // Loopback needs no exception.
    assert_eq!(fetched(name, &format!("https://{server}/releases.json"), &common), "[]");
    assert_eq!(asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn b2_authorities_of_ones_own_are_believed_besides_the_platforms() {
    if is_done().await {
        return;
    }
    let name = "b2_authorities_of_ones_own_are_believed_besides_the_platforms";
    let folder = tempfile::tempdir().unwrap();
    let (platform, own) = (certificates_for("127.0.0.1"), certificates_for("127.0.0.1"));
    let address = |of| format!("https://{}/releases.json", serve(of, whole));
    let store = pem(folder.path(), "platform.pem", &platform.authority);
    let ca_file = pem(folder.path(), "own.pem", &own.authority);
    let both = [("SSL_CERT_FILE", store.as_str()), (CA_FILE, &ca_file)];
    assert_eq!(fetched(name, &address(&platform), &both), "[]");
    assert_eq!(fetched(name, &address(&own), &both), "[]");
    assert_eq!(fetched(name, &address(&own), &both[..1]), "tls");
    assert_eq!(fetched(name, &address(&certificates_for("127.0.0.1")), &both), "tls");
}

#[tokio::test]
async fn b2_a_file_of_authorities_that_others_may_change_or_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = certificates_for("127.0.0.1").authority;
    let loose = pem(folder.path(), "loose.pem", &good);
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o666)).unwrap();
    let cases: [(String, Expected); 4] = [
        (loose, |reason| matches!(reason, AuthoritiesError::Unreadable(error) if error.refusal().is_some())),
        (
            folder.path().join("missing.pem").to_str().unwrap().to_owned(),
            |reason| matches!(reason, AuthoritiesError::Unreadable(error) if error.is_not_found()),
        ),
        (pem(folder.path(), "empty.pem", "no certificate\n"), |reason| matches!(reason, AuthoritiesError::Empty)),
        (pem(folder.path(), "broken.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"), |reason| {
            matches!(reason, AuthoritiesError::NotPem(_))
        }),
    ];
    let server = crate::http_server::Server::start(|_, stream| crate::http_server::reply(stream, 200, &[], b"x"));
    for (path, expected) in cases {
        let settings = HttpSettings { ca_file: Some(path.clone().into()), ..settings() };
        let source = StaticListing::new(server.url("/releases.json").parse().unwrap(), &settings, None);
        let outcome = fetch_from(&source, &asset("/asset", None)).await;
        assert!(
            matches!(&outcome, Err(FetchError::Authorities { reason, .. }) if expected(reason)),
            "{path}: {outcome:?}"
        );
    }
    assert_eq!(server.requests().len(), 0);
}
