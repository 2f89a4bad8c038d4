//! Row B2, over TLS: a server that cannot prove who it is, and one that leads down to plain http.
//!
//! Trust is the environment's (`SSL_CERT_FILE`), so each test runs its body in a process of its own.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use exuvia::fetch::{FetchError, HttpSettings, StaticListing, UrlRefusal};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::fetching::{asset, fetch_from, settings};

const TRUSTED: &str = "EXUVIA_TEST_TLS";

/// Runs the test again in a process that trusts the certificates in `trusted` and no others.
fn again(name: &str, trusted: &Path, folder: &Path) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("b2_tls::{name}"), "--nocapture"])
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR")
        .env(TRUSTED, folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An authority, and a server for 127.0.0.1 that it vouches for.
pub(crate) struct Certificates {
    pub(crate) authority: String,
    server: Vec<u8>,
    key: Vec<u8>,
}

fn certificates() -> Certificates {
    certificates_for("127.0.0.1")
}

pub(crate) fn certificates_for(host: &str) -> Certificates {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    Certificates { authority: authority.pem(), server: server.der().to_vec(), key: key.serialize_der() }
}

/// Answers every request with `answer`, until the test process ends.
pub(crate) fn serve(certificates: &Certificates, answer: impl Fn(SocketAddr) -> String + Send + 'static) -> SocketAddr {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certificates.key.clone()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificates.server.clone().into()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let read_head = BufReader::new(&mut stream).lines().map_while(Result::ok).find(String::is_empty);
            if read_head.is_some() {
                let _ = stream.write_all(answer(addr).as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    addr
}

fn source(addr: SocketAddr) -> StaticListing {
    let patient = HttpSettings { attempts: 3, ..settings() };
    StaticListing::new(format!("https://{addr}/releases.json").parse().unwrap(), &patient, None)
}

pub(crate) fn whole(_: SocketAddr) -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]".to_owned()
}

/// The certificates of a server that this process trusts; `None` where the test has just run, in a
/// process of its own.
fn trusted(name: &str) -> Option<Certificates> {
    if let Some(folder) = env::var_os(TRUSTED) {
        let read = |name: &str| fs::read(Path::new(&folder).join(name)).unwrap();
        return Some(Certificates { authority: String::new(), server: read("server.der"), key: read("key.der") });
    }
    let folder = tempfile::tempdir().unwrap();
    let made = certificates();
    fs::write(folder.path().join("authority.pem"), &made.authority).unwrap();
    fs::write(folder.path().join("server.der"), &made.server).unwrap();
    fs::write(folder.path().join("key.der"), &made.key).unwrap();
    again(name, &folder.path().join("authority.pem"), folder.path());
    None
}

#[tokio::test]
async fn b2_a_server_that_a_trusted_authority_vouches_for_is_believed() {
    let Some(trusted) = trusted("b2_a_server_that_a_trusted_authority_vouches_for_is_believed") else { return };
    assert_eq!(fetch_from(&source(serve(&trusted, whole)), &asset("/asset", None)).await.unwrap(), b"[]");
}

#[tokio::test]
async fn b2_a_server_of_another_authority_is_refused_at_once() {
    let Some(_trusted) = trusted("b2_a_server_of_another_authority_is_refused_at_once") else { return };
    let started = Instant::now();
    let outcome = fetch_from(&source(serve(&certificates(), whole)), &asset("/asset", None)).await;
    assert!(matches!(outcome, Err(FetchError::Tls { .. })), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_millis(1400), "not tried again: the pauses alone would be longer");
}

#[tokio::test]
async fn b2_https_never_leads_down_to_plain_http() {
    let Some(trusted) = trusted("b2_https_never_leads_down_to_plain_http") else { return };
    let addr = serve(&trusted, |addr| {
        format!("HTTP/1.1 302 Found\r\nLocation: http://{addr}/asset\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    let outcome = fetch_from(&source(addr), &asset("/asset", None)).await;
    assert!(matches!(outcome, Err(FetchError::Redirect { refusal: UrlRefusal::Downgrade, .. })), "{outcome:?}");
    // And as the address of an asset.
    let outcome = fetch_from(&source(addr), &asset(&format!("http://{addr}/asset"), None)).await;
    assert!(matches!(outcome, Err(FetchError::Address { refusal: UrlRefusal::Downgrade, .. })), "{outcome:?}");
}

#[tokio::test]
async fn b2_without_any_trusted_authority_nothing_is_believed() {
    if env::var_os(TRUSTED).is_none() {
        let folder = tempfile::tempdir().unwrap();
        let name = "b2_without_any_trusted_authority_nothing_is_believed";
        return again(name, &folder.path().join("missing.pem"), folder.path());
    }
    let addr = serve(&certificates(), whole);
    let outcome = fetch_from(&source(addr), &asset("/asset", None)).await;
    assert!(matches!(outcome, Err(FetchError::Client(_) | FetchError::Tls { .. })), "{outcome:?}");
}
