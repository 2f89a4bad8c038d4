//! Neighbours that are asked for a file and send something else, or do not stop, or do not begin.

use std::fs::File;
use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use exuvia::cache::{Cache, Underway};
use exuvia::fetch::{FetchError, NeighbourError, Neighbours, Reply};
use exuvia::types::{ByteLimit, Sha256Digest};

use super::archive_fixtures::{noise, sha256};
use crate::http_server::{Request, Server, hold, raw, redirect, reply};

const CAP: ByteLimit = ByteLimit::kib(64);

fn neighbour(server: &Server) -> Neighbours {
    Neighbours::new(vec![server.addr().to_string().parse().unwrap()]).unwrap()
}

fn content() -> Vec<u8> {
    noise(40_000, 9)
}

/// Answers questions and signatures as a mirror does, and files like this.
fn mirror(files: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Server {
    Server::start(move |request, stream| {
        if request.method == "HEAD" {
            raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        } else if request.path.ends_with("/signature") {
            reply(stream, 200, &[], &[1; 3309]);
        } else {
            files(request, stream);
        }
    })
}

/// What a fetch of [`content`] came to, with the bytes that it left.
async fn fetch(server: &Server) -> (Result<(), NeighbourError>, Vec<u8>, Neighbours) {
    let neighbours = neighbour(server);
    let mut file: File = tempfile::tempfile().unwrap();
    let digest = sha256(&content());
    let outcome = neighbours.fetch(server.addr(), digest, &mut file, CAP, &mut |_, _| ()).await;
    if let Err(error) = &outcome {
        neighbours.note(server.addr(), error);
    }
    let mut left = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_end(&mut left).unwrap();
    (outcome.map(|_| ()), left, neighbours)
}

async fn asked(neighbours: &Neighbours) -> Vec<Reply> {
    neighbours.ask(sha256(&content())).await.unwrap().into_iter().map(|(_, reply)| reply).collect()
}

#[tokio::test]
async fn n1_an_honest_neighbour_sends_the_file_and_its_signature() {
    let server = mirror(|_, stream| reply(stream, 200, &[], &content()));
    let (outcome, left, neighbours) = fetch(&server).await;
    outcome.unwrap();
    assert!(left == content());
    assert_eq!(asked(&neighbours).await, [Reply::Has]);
}

#[tokio::test]
async fn n1_another_file_is_not_kept_and_its_neighbour_not_asked_again() {
    let mut other = content();
    other[39_999] ^= 1;
    let server = mirror(move |_, stream| reply(stream, 200, &[], &other));
    let (outcome, left, neighbours) = fetch(&server).await;
    assert!(matches!(outcome, Err(NeighbourError::OtherFile { .. })), "{outcome:?}");
    assert!(left.is_empty());
    let before = server.requests().len();
    assert_eq!((asked(&neighbours).await, server.requests().len()), (Vec::new(), before));
}

#[tokio::test]
async fn n1_an_endless_file_ends_at_its_length_and_a_stalled_one_after_a_while() {
    let endless = mirror(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\n\r\n");
        while raw(stream, &[0; 4096]) {}
    });
    let (outcome, left, _) = fetch(&endless).await;
    assert!(matches!(outcome, Err(NeighbourError::Fetch(FetchError::TooLong { .. }))) && left.is_empty());
    for server in [
        mirror(|_, stream| hold(stream)),
        mirror(|_, stream| {
            raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\nabc");
            hold(stream);
        }),
        // Never silent for long, and never through.
        mirror(|_, stream| {
            raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n");
            while raw(stream, b"a") {
                std::thread::sleep(Duration::from_millis(100));
            }
        }),
    ] {
        let begun = Instant::now();
        let (outcome, left, neighbours) = fetch(&server).await;
        assert!(matches!(outcome, Err(NeighbourError::Fetch(_))) && left.is_empty(), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        assert!(asked(&neighbours).await.is_empty());
    }
}

#[tokio::test]
async fn n1_a_neighbour_leads_nowhere_else() {
    let elsewhere = Server::start(|_, stream| reply(stream, 200, &[], &content()));
    let to = elsewhere.url("/");
    let server = mirror(move |_, stream| redirect(stream, &to));
    let (outcome, left, _) = fetch(&server).await;
    assert!(matches!(outcome, Err(NeighbourError::Fetch(FetchError::Redirect { .. }))), "{outcome:?}");
    assert!(left.is_empty() && elsewhere.requests().is_empty());
}

#[tokio::test]
async fn n1_a_signature_of_another_length_is_refused_before_the_file_is_asked_for() {
    for length in [0, 3308, 3310, 100_000] {
        let server = Server::start(move |request, stream| {
            assert!(request.path.ends_with("/signature"), "{}", request.path);
            reply(stream, 200, &[], &vec![1; length]);
        });
        let (outcome, left, _) = fetch(&server).await;
        assert!(outcome.is_err() && left.is_empty(), "{length}");
    }
}

#[tokio::test]
async fn n1_who_does_not_answer_or_answers_oddly_costs_two_seconds_and_is_left_out() {
    for server in [
        Server::start(|_, stream| hold(stream)),
        Server::start(|_, stream| reply(stream, 202, &[("exuvia-underway", "soon")], b"")),
        Server::start(|_, stream| redirect(stream, "/v1/files")),
        Server::start(|_, stream| assert!(raw(stream, b"SSH-2.0\r\n"))),
    ] {
        let (neighbours, begun) = (neighbour(&server), Instant::now());
        assert!(asked(&neighbours).await.is_empty());
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        let before = server.requests().len();
        assert!(asked(&neighbours).await.is_empty());
        assert_eq!(server.requests().len(), before);
    }
}

#[test]
fn n2_a_question_about_an_unknown_file_leaves_nothing_in_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    for byte in 0..100 {
        assert_eq!(cache.underway(Sha256Digest::from_bytes([byte; 32])), None);
    }
    assert_eq!(std::fs::read_dir(dir.path().join("cache/locks")).unwrap().count(), 0);
}

#[test]
fn n3_what_is_underway_is_told_for_as_long_as_its_process_lives() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Cache::open(dir.path().join("cache")).unwrap();
    let (digest, cache) = (sha256(b"a"), open());
    let mut fetching = cache.begin_fetching(digest, 7).unwrap().unwrap();
    assert!(open().begin_fetching(digest, 8).unwrap().is_none(), "one process of a host at a time");
    assert_eq!(open().underway(digest), Some(Underway { rank: 7, begun: false, bytes: 0 }));
    fetching.begins();
    assert!(open().underway(digest).unwrap().begun);
    drop(fetching);
    assert_eq!(open().underway(digest), None);
    // A note that somebody planted, or that a killed process left, means nothing without its lock.
    std::fs::write(dir.path().join(format!("cache/locks/fetch-{digest}")), "0000000000000000 fetches 9").unwrap();
    assert_eq!(open().underway(digest), None);
}
