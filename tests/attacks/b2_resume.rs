//! Row B2, where a download breaks off: what is kept, and from whom it is believed. Row B8's pauses
//! lie between the attempts.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use exuvia::fetch::{FetchError, HttpSettings};

use crate::fetching::{CAP, asset, fetch, fetch_from, settings, source};
use crate::http_server::{Request, Server, hold, raw, redirect, reply};

const TAG: &str = "\"one\"";
const AT: usize = 4000;

fn body() -> Vec<u8> {
    (0..10_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn patient() -> HttpSettings {
    HttpSettings { attempts: 3, asset_timeout: Duration::from_secs(10), ..settings() }
}

/// Announces everything, sends the beginning, and breaks off.
fn begin(stream: &mut TcpStream, fields: &str) {
    let body = body();
    raw(stream, format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    raw(stream, &body[..AT]);
}

/// A server that breaks off at first, and then answers requests for the rest, and those for all of it.
fn server(fields: &'static str, rest: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Server {
    let count = AtomicU32::new(0);
    Server::start(move |request, stream| match (count.fetch_add(1, Ordering::SeqCst), request.header("range")) {
        (0, _) => begin(stream, fields),
        (_, Some(_)) => rest(request, stream),
        (_, None) => reply(stream, 200, &[("ETag", TAG)], &body()),
    })
}

fn partial(stream: &mut TcpStream, range: &str, tag: &str, bytes: &[u8]) {
    reply(stream, 206, &[("Content-Range", range), ("ETag", tag)], bytes);
}

fn ranges(server: &Server) -> Vec<Option<String>> {
    server.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect()
}

#[tokio::test]
async fn b2_a_broken_download_goes_on_where_it_broke_off() {
    let server = server("ETag: \"one\"\r\n", |request, stream| {
        assert_eq!((request.header("range"), request.header("if-range")), (Some("bytes=4000-"), Some(TAG)));
        partial(stream, "bytes 4000-9999/10000", TAG, &body()[AT..]);
    });
    assert!(fetch(&server, Some(10_000), &patient()).await.unwrap() == body());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn b2_a_download_that_breaks_off_again_and_again_loses_nothing() {
    let at = std::sync::Mutex::new(0_usize);
    let server = Server::start(move |request, stream| {
        let mut at = at.lock().unwrap();
        let (from, to) = (*at, (*at + 4000).min(10_000));
        let head = match request.header("range") {
            None => "HTTP/1.1 200 OK\r\n".to_owned(),
            Some(range) => {
                assert_eq!(range, format!("bytes={from}-"));
                format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-9999/10000\r\n")
            }
        };
        raw(stream, format!("{head}ETag: {TAG}\r\nContent-Length: {}\r\n\r\n", 10_000 - from).as_bytes());
        raw(stream, &body()[from..to]);
        *at = to;
    });
    assert!(fetch(&server, None, &patient()).await.unwrap() == body());
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn b2_a_stall_is_a_break_too() {
    let count = AtomicU32::new(0);
    let server = Server::start(move |_, stream| match count.fetch_add(1, Ordering::SeqCst) {
        0 => {
            begin(stream, "ETag: \"one\"\r\n");
            hold(stream);
        }
        _ => partial(stream, "bytes 4000-9999/10000", TAG, &body()[AT..]),
    });
    assert!(fetch(&server, None, &patient()).await.unwrap() == body());
}

#[tokio::test]
async fn b2_without_a_strong_validator_a_download_begins_again() {
    for fields in ["", "ETag: W/\"one\"\r\n", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"] {
        let server = server(fields, |_, _| unreachable!("nobody may ask for a range"));
        assert!(fetch(&server, None, &patient()).await.unwrap() == body(), "{fields}");
        assert_eq!(ranges(&server), [None, None]);
    }
}

#[tokio::test]
async fn b2_a_settled_date_of_last_change_is_a_validator() {
    let fields = "Date: Mon, 07 Nov 1994 08:49:37 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let server = server(fields, |request, stream| {
        assert_eq!(request.header("if-range"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        reply(stream, 206, &[("Content-Range", "bytes 4000-9999/10000")], &body()[AT..]);
    });
    assert!(fetch(&server, None, &patient()).await.unwrap() == body());
}

#[tokio::test]
async fn b2_a_server_that_ignores_the_range_or_changed_the_file_begins_again() {
    let other = vec![b'z'; 9000];
    let sent = other.clone();
    let server = server("ETag: \"one\"\r\n", move |_, stream| reply(stream, 200, &[("ETag", "\"two\"")], &sent));
    assert!(fetch(&server, None, &patient()).await.unwrap() == other, "nothing of the first file is left");
}

#[tokio::test]
async fn b2_a_partial_answer_that_is_not_exactly_the_rest_is_thrown_away() {
    let rest = |range: &'static str, from: usize, to: usize, tag: &'static str| {
        (range, move |_: &Request, stream: &mut TcpStream| partial(stream, range, tag, &body()[from..to]))
    };
    let mut tasks = tokio::task::JoinSet::new();
    for (range, answer) in [
        rest("bytes 3999-9999/10000", 3999, 10_000, TAG),
        rest("bytes 4001-9999/10000", 4001, 10_000, TAG),
        rest("bytes 0-9999/10000", 0, 10_000, TAG),
        rest("bytes 4000-8999/10000", 4000, 9000, TAG),
        rest("bytes 4000-9999/20000", 4000, 10_000, TAG),
        rest("bytes 4000-9999/*", 4000, 10_000, TAG),
        rest("bytes 9999-4000/10000", 4000, 10_000, TAG),
        rest("bytes 4000-18446744073709551615/18446744073709551616", 4000, 10_000, TAG),
        rest("nonsense", 4000, 10_000, TAG),
        // The right place of another content.
        rest("bytes 4000-9999/10000", 4000, 10_000, "\"two\""),
        // Shorter and longer than its own range.
        rest("bytes 4000-9999/10000", 4000, 9000, TAG),
        rest("bytes 4000-9999/10000", 3000, 10_000, TAG),
    ] {
        let server = server("ETag: \"one\"\r\n", answer);
        tasks.spawn(async move {
            assert!(fetch(&server, Some(10_000), &patient()).await.unwrap() == body(), "{range}");
            assert_eq!(ranges(&server), [None, Some("bytes=4000-".to_owned()), None], "{range}");
        });
    }
    // Each waits between its attempts: side by side.
    tasks.join_all().await;
}

#[tokio::test]
async fn b2_a_partial_answer_without_a_range_or_in_many_parts_is_thrown_away() {
    for fields in [vec![], vec![("Content-Type", "multipart/byteranges; boundary=x")]] {
        let server = server("ETag: \"one\"\r\n", move |_, stream| reply(stream, 206, &fields, &body()[AT..]));
        assert!(fetch(&server, None, &patient()).await.unwrap() == body());
    }
    let server = server("ETag: \"one\"\r\n", |_, stream| reply(stream, 416, &[("Content-Range", "bytes */1")], b""));
    assert!(fetch(&server, None, &patient()).await.unwrap() == body());
}

#[tokio::test]
async fn b2_a_partial_answer_that_nobody_asked_for_is_refused() {
    let server = Server::start(|_, stream| partial(stream, "bytes 0-9999/10000", TAG, &body()));
    let outcome = fetch(&server, None, &patient()).await;
    assert!(matches!(outcome, Err(FetchError::Status { status: 206, .. })), "{outcome:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn b2_an_endless_rest_ends_at_its_announced_length() {
    let server = server("ETag: \"one\"\r\n", |_, stream| {
        let head = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4000-9999/10000\r\nETag: \"one\"\r\n";
        raw(stream, format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
        while raw(stream, chunk.as_bytes()) {}
    });
    let outcome = fetch(&server, None, &patient()).await;
    assert!(
        matches!(outcome, Err(FetchError::Length { stated: 10_000, received, .. }) if received > 10_000),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn b2_a_rest_that_would_pass_the_cap_is_refused_before_it_is_read() {
    let count = AtomicU32::new(0);
    let server = Server::start(move |_, stream| match count.fetch_add(1, Ordering::SeqCst) {
        0 => {
            // No length is announced, and the last chunk never comes.
            raw(stream, b"HTTP/1.1 200 OK\r\nETag: \"one\"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n");
        }
        _ => {
            let last = 1_u64 << 40;
            let range = format!("Content-Range: bytes 4-{}/{last}\r\n", last - 1);
            raw(stream, format!("HTTP/1.1 206 Partial Content\r\n{range}ETag: \"one\"\r\n\r\n").as_bytes());
            while raw(stream, &[b' '; 4096]) {}
        }
    });
    let outcome = fetch(&server, None, &patient()).await;
    assert!(matches!(outcome, Err(FetchError::TooLong { limit, .. }) if limit == CAP), "{outcome:?}");
}

#[tokio::test]
async fn b2_a_redirect_to_another_place_is_no_continuation() {
    let count = AtomicU32::new(0);
    let server = Server::start(move |request, stream| match (request.path.as_str(), request.header("range")) {
        ("/asset", _) if count.fetch_add(1, Ordering::SeqCst) == 0 => redirect(stream, "/first?signed=1"),
        ("/asset", _) => redirect(stream, "/second?signed=2"),
        ("/first?signed=1", _) => begin(stream, "ETag: \"one\"\r\n"),
        // The same entity tag, for another file.
        (_, Some(_)) => partial(stream, "bytes 4000-9999/10000", TAG, &vec![b'z'; 6000]),
        (_, None) => reply(stream, 200, &[("ETag", TAG)], &body()),
    });
    assert!(fetch(&server, None, &patient()).await.unwrap() == body());
}

#[tokio::test]
async fn b2_a_redirect_that_is_signed_anew_each_time_goes_on() {
    let count = AtomicU32::new(0);
    let server = Server::start(move |request, stream| match (request.path.as_str(), request.header("range")) {
        ("/asset", _) => redirect(stream, &format!("/cdn?signed={}", count.fetch_add(1, Ordering::SeqCst))),
        ("/cdn?signed=0", None) => begin(stream, "ETag: \"one\"\r\n"),
        ("/cdn?signed=1", Some("bytes=4000-")) => partial(stream, "bytes 4000-9999/10000", TAG, &body()[AT..]),
        _ => reply(stream, 404, &[], b""),
    });
    assert!(fetch(&server, None, &patient()).await.unwrap() == body());
}

#[tokio::test]
async fn b2_what_was_kept_is_gone_when_nothing_helps() {
    let server = server("ETag: \"one\"\r\n", |_, stream| reply(stream, 503, &[("Retry-After", "0")], b""));
    // `fetch` shows that the file is empty.
    let outcome = fetch(&server, None, &patient()).await;
    assert!(matches!(outcome, Err(FetchError::Status { status: 503, .. })), "{outcome:?}");
    assert_eq!(ranges(&server)[1..], vec![Some("bytes=4000-".to_owned()); 2], "kept between the attempts");
}

#[tokio::test]
async fn b2_a_drip_below_the_minimum_rate_is_cut_off() {
    let server = Server::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
        while raw(stream, b" ") {
            sleep(Duration::from_millis(20));
        }
    });
    let strict = HttpSettings { minimum_rate: 1000, rate_window: Duration::from_millis(500), ..settings() };
    let started = Instant::now();
    let outcome = fetch(&server, None, &strict).await;
    assert!(matches!(outcome, Err(FetchError::TooSlow { rate: 1000, .. })), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "long before the total time");
}

#[tokio::test]
async fn b2_a_fast_beginning_buys_no_drip() {
    let server = Server::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
        raw(stream, &vec![b' '; 30_000]);
        while raw(stream, b" ") {
            sleep(Duration::from_millis(20));
        }
    });
    let strict = HttpSettings { minimum_rate: 1000, rate_window: Duration::from_millis(500), ..settings() };
    let outcome = fetch(&server, None, &strict).await;
    assert!(matches!(outcome, Err(FetchError::TooSlow { .. })), "{outcome:?}");
}

#[tokio::test]
async fn b8_a_server_that_asked_to_be_left_alone_is_not_asked_again_before() {
    let server = Server::start(|_, stream| reply(stream, 503, &[("Retry-After", "3600")], b""));
    let source = source(&server, &patient(), None);
    let first = fetch_from(&source, &asset("/asset", None)).await;
    assert!(matches!(first, Err(FetchError::Status { status: 503, .. })), "{first:?}");
    for _ in 0..3 {
        let again = fetch_from(&source, &asset("/other", None)).await;
        let Err(FetchError::LeftAlone { pause, .. }) = again else { panic!("{again:?}") };
        assert!(pause > Duration::from_secs(3590));
    }
    assert_eq!(server.requests().len(), 1);
}
