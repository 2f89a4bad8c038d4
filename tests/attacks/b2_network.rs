//! Row B2: answers that do not end, do not come, or lead elsewhere.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use exuvia::fetch::{FetchError, HttpSettings, UrlRefusal};

use crate::fetching::{CAP, SharedDir, asset, fetch, fetch_from, poll, settings, source};
use crate::http_server::{Server, hold, raw, redirect, reply};

const BODY: &[u8] = b"the bytes of an asset";

fn serve(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Server {
    Server::start(move |_, stream| answer(stream))
}

/// The same misbehaviour for the listing and for an asset; nothing may be kept of either.
async fn both(server: &Server, expected: impl Fn(&FetchError) -> bool) {
    let started = Instant::now();
    let shared = SharedDir::new();
    let error = poll(&source(server, &settings(), Some(&shared))).await.unwrap_err();
    assert!(expected(&error), "listing: {error:?}");
    assert_eq!(shared.left_behind(), [""; 0]);
    let error = fetch(server, None, &settings()).await.unwrap_err();
    assert!(expected(&error), "asset: {error:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "each ends by its time-out");
}

#[tokio::test]
async fn b2_an_honest_answer_arrives_whole() {
    let server = serve(|stream| reply(stream, 200, &[], BODY));
    assert_eq!(fetch(&server, Some(BODY.len() as u64), &settings()).await.unwrap(), BODY);
}

#[tokio::test]
async fn b2_an_endless_body_ends_at_the_cap() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while raw(stream, &[b' '; 4096]) {}
    });
    both(&server, |error| matches!(error, FetchError::TooLong { limit, .. } if *limit == CAP)).await;
}

#[tokio::test]
async fn b2_endless_chunks_end_at_the_cap() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
        while raw(stream, chunk.as_bytes()) {}
    });
    both(&server, |error| matches!(error, FetchError::TooLong { .. })).await;
}

#[tokio::test]
async fn b2_an_announced_length_above_the_cap_is_refused_before_the_body() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n");
        hold(stream);
    });
    both(&server, |error| matches!(error, FetchError::TooLong { .. })).await;
}

#[tokio::test]
async fn b2_a_size_above_the_cap_in_the_listing_is_refused_before_any_request() {
    let server = serve(|stream| reply(stream, 200, &[], BODY));
    let outcome = fetch(&server, Some(1 << 40), &settings()).await;
    assert!(matches!(outcome, Err(FetchError::TooLong { .. })), "{outcome:?}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn b2_endless_headers_end_in_an_error() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\n");
        let mut n = 0_u64;
        while raw(stream, format!("X-{n}: {}\r\n", "a".repeat(1000)).as_bytes()) {
            n += 1;
        }
    });
    both(&server, |error| matches!(error, FetchError::BadAnswer { .. })).await;
}

#[tokio::test]
async fn b2_one_endless_header_ends_in_an_error() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nX: ");
        while raw(stream, &[b'a'; 4096]) {}
    });
    both(&server, |error| matches!(error, FetchError::BadAnswer { .. })).await;
}

#[tokio::test]
async fn b2_what_is_not_http_ends_in_an_error() {
    let server = serve(|stream| {
        raw(stream, b"SSH-2.0-OpenSSH_9.9\r\n\r\n");
        hold(stream);
    });
    both(&server, |error| matches!(error, FetchError::BadAnswer { .. })).await;
}

#[tokio::test]
async fn b2_endless_interim_answers_count_as_silence() {
    let server = serve(|stream| while raw(stream, b"HTTP/1.1 102 Processing\r\n\r\n") {});
    both(&server, |error| matches!(error, FetchError::Stalled { .. } | FetchError::BadAnswer { .. })).await;
}

#[tokio::test]
async fn b2_endless_trailers_end_in_an_error() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n");
        while raw(stream, format!("X: {}\r\n", "a".repeat(1000)).as_bytes()) {}
    });
    both(&server, |error| matches!(error, FetchError::BrokenOff { .. } | FetchError::BadAnswer { .. })).await;
}

#[tokio::test]
async fn b2_an_endless_chunk_extension_ends_in_an_error() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=");
        while raw(stream, &[b'a'; 4096]) {}
    });
    both(&server, |error| matches!(error, FetchError::BrokenOff { .. } | FetchError::BadAnswer { .. })).await;
}

#[tokio::test]
async fn b2_a_redirect_with_an_endless_body_is_followed_without_reading_it() {
    let server = Server::start(|request, stream| {
        if request.path == "/asset" {
            raw(stream, b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n");
            while raw(stream, &[b' '; 4096]) {}
        } else {
            reply(stream, 200, &[], BODY);
        }
    });
    assert_eq!(fetch(&server, None, &settings()).await.unwrap(), BODY);
}

#[tokio::test]
async fn b2_a_slow_drip_ends_by_the_total_time() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
        while raw(stream, b" ") {
            sleep(Duration::from_millis(50));
        }
    });
    both(&server, |error| matches!(error, FetchError::OutOfTime { .. })).await;
}

#[tokio::test]
async fn b2_a_dripping_head_counts_as_silence() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\n");
        while raw(stream, b"X: y\r\n") {
            sleep(Duration::from_millis(50));
        }
    });
    both(&server, |error| matches!(error, FetchError::Stalled { .. })).await;
}

#[tokio::test]
async fn b2_a_stalled_read_ends_by_the_stall_time() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\nthe beginning");
        hold(stream);
    });
    both(&server, |error| matches!(error, FetchError::Stalled { .. })).await;
}

#[tokio::test]
async fn b2_a_server_that_never_answers_ends_by_the_stall_time() {
    let server = serve(hold);
    both(&server, |error| matches!(error, FetchError::Stalled { .. })).await;
}

#[tokio::test]
async fn b2_a_body_shorter_than_its_announced_length_is_refused() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[]");
    });
    both(&server, |error| matches!(error, FetchError::BrokenOff { .. })).await;
}

#[tokio::test]
async fn b2_a_chunked_body_without_its_last_chunk_is_refused() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n");
    });
    both(&server, |error| matches!(error, FetchError::BrokenOff { .. })).await;
}

#[tokio::test]
async fn b2_a_chunk_length_that_is_no_number_is_refused() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n[]\r\n0\r\n\r\n");
    });
    both(&server, |error| matches!(error, FetchError::BrokenOff { .. } | FetchError::BadAnswer { .. })).await;
}

#[tokio::test]
async fn b2_an_announced_length_below_the_real_one_ends_at_the_wrong_length() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        raw(stream, BODY);
    });
    let outcome = fetch(&server, Some(BODY.len() as u64), &settings()).await;
    assert!(matches!(outcome, Err(FetchError::Length { received: 10, .. })), "{outcome:?}");
}

#[tokio::test]
async fn b2_two_announced_lengths_are_refused() {
    let server = serve(|stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]]");
    });
    both(&server, |error| matches!(error, FetchError::BadAnswer { .. })).await;
}

#[tokio::test]
async fn b2_a_content_coding_that_nobody_asked_for_is_refused() {
    let server = serve(|stream| reply(stream, 200, &[("Content-Encoding", "gzip")], b"\x1f\x8b"));
    both(&server, |error| matches!(error, FetchError::Encoded { .. })).await;
    assert!(server.requests().iter().all(|request| request.header("accept-encoding") == Some("identity")));
}

#[tokio::test]
async fn b2_a_redirect_loop_ends() {
    let server = serve(|stream| redirect(stream, "/again"));
    both(&server, |error| matches!(error, FetchError::TooManyRedirects { limit: 5, .. })).await;
    assert_eq!(server.requests().len(), 12, "one request and five redirects, twice");
}

async fn redirects_to(target: &str, expected: impl Fn(&UrlRefusal) -> bool) {
    let to = target.to_owned();
    let server = serve(move |stream| redirect(stream, &to));
    both(&server, |error| matches!(error, FetchError::Redirect { refusal, .. } if expected(refusal))).await;
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn b2_a_redirect_to_a_file_is_refused() {
    redirects_to(
        "file:///etc/hostname",
        |refusal| matches!(refusal, UrlRefusal::Scheme { scheme } if scheme == "file"),
    )
    .await;
}

#[tokio::test]
async fn b2_a_redirect_to_plain_http_beyond_loopback_is_refused() {
    redirects_to("http://releases.example.org/a", |refusal| *refusal == UrlRefusal::PlainHttp).await;
}

#[tokio::test]
async fn b2_a_redirect_to_a_host_that_is_not_configured_is_refused() {
    redirects_to("https://releases.example.org/a", |refusal| matches!(refusal, UrlRefusal::HostNotAllowed { .. }))
        .await;
}

#[tokio::test]
async fn b2_a_redirect_with_credentials_is_refused() {
    redirects_to("http://user:word@127.0.0.1/a", |refusal| *refusal == UrlRefusal::Credentials).await;
}

#[tokio::test]
async fn b2_a_redirect_to_another_local_service_is_refused_unless_configured() {
    let other = serve(|stream| reply(stream, 200, &[], BODY));
    let to = other.url("/asset");
    let server = serve(move |stream| redirect(stream, &to));
    let outcome = fetch(&server, None, &settings()).await;
    let refused = |refusal: &UrlRefusal| matches!(refusal, UrlRefusal::HostNotAllowed { .. });
    assert!(matches!(&outcome, Err(FetchError::Redirect { refusal, .. }) if refused(refusal)), "{outcome:?}");
    assert_eq!(other.requests().len(), 0);

    let configured = HttpSettings { asset_hosts: vec![other.addr().to_string().parse().unwrap()], ..settings() };
    assert_eq!(fetch(&server, None, &configured).await.unwrap(), BODY);
}

#[tokio::test]
async fn b2_a_redirect_without_a_target_is_refused() {
    let server = serve(|stream| reply(stream, 302, &[], b""));
    both(&server, |error| matches!(error, FetchError::Redirect { refusal: UrlRefusal::NotAnAddress, .. })).await;
}

#[tokio::test]
async fn b2_not_modified_is_no_answer_to_a_plain_request() {
    let server = serve(|stream| reply(stream, 304, &[], b""));
    both(&server, |error| matches!(error, FetchError::Status { status: 304, .. })).await;
}

#[tokio::test]
async fn b8_a_server_error_is_tried_again_and_leaves_nothing_of_the_first_attempt() {
    let count = AtomicU32::new(0);
    let server = serve(move |stream| match count.fetch_add(1, Ordering::SeqCst) {
        0 => reply(stream, 503, &[("Retry-After", "0")], b"busy"),
        1 => {
            raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nthe beginning of something long");
        }
        _ => reply(stream, 200, &[], BODY),
    });
    let patient = HttpSettings { attempts: 3, ..settings() };
    assert_eq!(fetch(&server, None, &patient).await.unwrap(), BODY);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn b8_a_refusal_is_not_tried_again() {
    for status in [400, 401, 403, 404, 410, 451] {
        let server = serve(move |stream| reply(stream, status, &[], b""));
        let outcome = fetch(&server, None, &HttpSettings { attempts: 4, ..settings() }).await;
        assert!(matches!(outcome, Err(FetchError::Status { status: found, .. }) if found == status), "{outcome:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn b8_retry_after_is_honoured_and_a_long_one_ends_the_request() {
    let count = AtomicU32::new(0);
    let server = serve(move |stream| match count.fetch_add(1, Ordering::SeqCst) {
        0 => reply(stream, 429, &[("Retry-After", "1")], b""),
        _ => reply(stream, 429, &[("Retry-After", "3600")], b""),
    });
    let started = Instant::now();
    let outcome = fetch(&server, None, &HttpSettings { attempts: 4, ..settings() }).await;
    assert_eq!(outcome.as_ref().unwrap_err().retry_after(), Some(Duration::from_hours(1)));
    assert!(matches!(outcome, Err(FetchError::Status { status: 429, .. })), "{outcome:?}");
    assert_eq!(server.requests().len(), 2);
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn b8_attempts_are_counted() {
    let server = serve(|stream| reply(stream, 500, &[("Retry-After", "0")], b""));
    let outcome = fetch(&server, None, &HttpSettings { attempts: 3, ..settings() }).await;
    assert!(matches!(outcome, Err(FetchError::Status { status: 500, .. })), "{outcome:?}");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn b8_a_server_that_is_down_is_named_and_one_that_comes_back_serves() {
    let server = serve(|_| {});
    let addr = server.addr();
    let source = source(&server, &settings(), None);
    drop(server);
    let outcome = fetch_from(&source, &asset("/asset", None)).await;
    assert!(matches!(outcome, Err(FetchError::Connect { .. })), "{outcome:?}");
    let _server = Server::start_at(addr, |_, stream| reply(stream, 200, &[], BODY));
    assert_eq!(fetch_from(&source, &asset("/asset", None)).await.unwrap(), BODY);
}
