//! HTTP/1.1 on a listener that a worker shares with the next one.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::leaving::{Leaving, left};

/// Out of descriptors, say: the next one may go better.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// Answers on `listener` until the worker leaves. Then no connection is accepted any more: the queue is
/// the next worker's. Each open one is told `Connection: close` with its next answer; those on which
/// nothing is under way are closed only at the end, because their client may be sending just now.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    leaving: watch::Receiver<Option<Leaving>>,
) -> io::Result<()> {
    serve_within(listener, router, leaving, Bounds { connections: usize::MAX, head: None, longest: None }).await
}

/// What strangers may take of a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections at a time; more wait until one of them has ended.
    pub(super) connections: usize,
    /// How long the head of a request may take, and the pause before it.
    pub(super) head: Option<Duration>,
    /// How long a connection may last.
    pub(super) longest: Option<Duration>,
}

/// As [`serve`], within bounds.
pub(super) async fn serve_within(
    listener: TcpListener,
    router: Router,
    mut leaving: watch::Receiver<Option<Leaving>>,
    bounds: Bounds,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let Leaving { until, .. } = loop {
        tokio::select! {
            leaving = left(&mut leaving) => break leaving,
            accepted = listener.accept(), if connections.len() < bounds.connections => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), leaving.clone(), bounds.head);
                    let longest = bounds.longest;
                    drop(connections.spawn(async move {
                        match longest {
                            Some(longest) => drop(tokio::time::timeout(longest, connection).await),
                            None => connection.await,
                        }
                    }));
                }
                Err(_) => tokio::time::sleep(AFTER_A_FAILED_ACCEPT).await,
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
        }
    };
    drop(listener);
    tokio::time::timeout_at(until, connections.join_all()).await.ok();
    Ok(())
}

async fn connection(
    stream: TcpStream,
    router: Router,
    mut leaving: watch::Receiver<Option<Leaving>>,
    head: Option<Duration>,
) {
    // An answer goes out whole and at once.
    stream.set_nodelay(true).ok();
    let answers = TowerToHyperService::new(router);
    let said = leaving.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let (answer, said) = (answers.call(request), said.clone());
        async move {
            let mut answer = answer.await?;
            if said.borrow().is_some() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    if let Some(head) = head {
        http.timer(TokioTimer::new()).header_read_timeout(head);
    }
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let idle_is_over = async {
        let leaving = left(&mut leaving).await;
        tokio::time::sleep_until(leaving.idle_until).await;
    };
    tokio::select! {
        // A connection that fails is its client's to notice.
        _ = connection.as_mut() => return,
        () = idle_is_over => {}
    }
    // Ends at once where nothing is under way, else with the answer.
    connection.as_mut().graceful_shutdown();
    connection.await.ok();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    /// A worker on a listener that others may share, and what makes its slow answer come.
    struct Serving {
        listener: std::net::TcpListener,
        leave: watch::Sender<Option<Leaving>>,
        begun: Arc<Notify>,
        finish: Arc<Notify>,
        worker: JoinHandle<io::Result<()>>,
    }

    fn serving(listener: &std::net::TcpListener, name: &'static str) -> Serving {
        let (leave, leaving) = watch::channel(None);
        let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (told, awaited) = (begun.clone(), finish.clone());
        let slow = move || async move {
            told.notify_one();
            awaited.notified().await;
            name
        };
        let router = Router::new().route("/", get(async move || name)).route("/slow", get(slow));
        let listener = listener.try_clone().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
        Serving { listener, leave, begun, finish, worker: tokio::spawn(serve(shared, router, leaving)) }
    }

    fn alone() -> Serving {
        serving(&std::net::TcpListener::bind("127.0.0.1:0").unwrap(), "first")
    }

    impl Serving {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap()
        }

        fn leaves(&self, idle: Duration, drain: Duration) {
            let now = tokio::time::Instant::now();
            self.leave.send_replace(Some(Leaving { replaced: true, idle_until: now + idle, until: now + drain }));
        }
    }

    const LONG: Duration = Duration::from_mins(1);

    async fn ask(connection: &mut TcpStream, path: &str) {
        connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    }

    /// One answer: its head, in small letters, and its body.
    async fn answer(connection: &mut TcpStream) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        connection.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    async fn is_closed(connection: &mut TcpStream) -> bool {
        connection.read(&mut [0]).await.is_ok_and(|n| n == 0)
    }

    #[tokio::test]
    async fn a_kept_connection_is_answered_once_more_and_told_to_close() {
        let serving = alone();
        let mut kept = serving.connect().await;
        ask(&mut kept, "/").await;
        assert!(!answer(&mut kept).await.0.contains("connection: close"));
        serving.leaves(LONG, LONG);
        ask(&mut kept, "/").await;
        let (head, body) = answer(&mut kept).await;
        assert!(head.contains("connection: close") && body == "first", "{head}");
        assert!(is_closed(&mut kept).await);
        serving.worker.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_late_and_a_busy_one_has_its_time() {
        let serving = alone();
        let (mut idle, mut busy) = (serving.connect().await, serving.connect().await);
        ask(&mut idle, "/").await;
        answer(&mut idle).await;
        ask(&mut busy, "/slow").await;
        serving.begun.notified().await;
        let told = tokio::time::Instant::now();
        serving.leaves(Duration::from_millis(200), LONG);
        assert!(is_closed(&mut idle).await);
        assert!(told.elapsed() >= Duration::from_millis(200));
        assert!(!serving.worker.is_finished(), "somebody waits for an answer");
        serving.finish.notify_one();
        assert_eq!(answer(&mut busy).await.1, "first");
        assert!(is_closed(&mut busy).await);
        serving.worker.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_takes_longer_than_there_is_time_is_broken_off() {
        let serving = alone();
        let mut busy = serving.connect().await;
        ask(&mut busy, "/slow").await;
        serving.begun.notified().await;
        serving.leaves(Duration::ZERO, Duration::from_millis(100));
        serving.worker.await.unwrap().unwrap();
        assert!(busy.read(&mut [0]).await.is_ok_and(|n| n == 0) || busy.read(&mut [0]).await.is_err());
    }

    /// A worker within these bounds, and where it listens.
    fn bounded(bounds: Bounds) -> (std::net::SocketAddr, watch::Sender<Option<Leaving>>) {
        let (leave, leaving) = watch::channel(None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        tokio::spawn(serve_within(TcpListener::from_std(listener).unwrap(), router, leaving, bounds));
        (address, leave)
    }

    #[tokio::test]
    async fn beyond_the_bound_a_connection_waits_until_another_one_has_ended() {
        let (address, _leave) = bounded(Bounds { connections: 1, head: None, longest: None });
        let mut first = TcpStream::connect(address).await.unwrap();
        ask(&mut first, "/").await;
        answer(&mut first).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        ask(&mut second, "/").await;
        let waits = tokio::time::timeout(Duration::from_millis(200), answer(&mut second)).await;
        assert!(waits.is_err(), "two are served at once");
        drop(first);
        assert_eq!(answer(&mut second).await.1, "here");
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_and_a_connection_that_lasts_too_long_are_closed() {
        let short = Some(Duration::from_millis(200));
        let (address, _leave) = bounded(Bounds { connections: 8, head: short, longest: None });
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let mut idle = TcpStream::connect(address).await.unwrap();
        ask(&mut idle, "/").await;
        answer(&mut idle).await;
        let (address, _leave) = bounded(Bounds { connections: 8, head: None, longest: short });
        let mut lasting = TcpStream::connect(address).await.unwrap();
        ask(&mut lasting, "/").await;
        answer(&mut lasting).await;
        for connection in [&mut slow, &mut idle, &mut lasting] {
            let closed = tokio::time::timeout(Duration::from_secs(5), async {
                // What it still says of it comes first.
                while !matches!(connection.read(&mut [0; 64]).await, Ok(0) | Err(_)) {}
            });
            assert!(closed.await.is_ok());
        }
    }

    #[tokio::test]
    async fn who_connects_to_a_worker_that_leaves_is_answered_by_the_next_one() {
        let first = alone();
        first.leaves(LONG, LONG);
        first.worker.await.unwrap().unwrap();
        let mut waiting = TcpStream::connect(first.listener.local_addr().unwrap()).await.unwrap();
        ask(&mut waiting, "/").await;
        let _second = serving(&first.listener, "second");
        assert_eq!(answer(&mut waiting).await.1, "second");
    }
}
