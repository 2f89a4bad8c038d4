//! A small blocking HTTP/1.1 server on loopback, for tests: one thread and one request per
//! connection, a log of what was asked, and handlers that may misbehave as they like.
//!
//! It stops, and lets go of every connection, when it is dropped.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests read the files that they serve")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub struct Server {
    addr: SocketAddr,
    shared: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stopping: AtomicBool,
    requests: Mutex<Vec<Request>>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Server {
    /// Starts on a free port. The handler answers on the stream (see [`reply`]); the connection is
    /// closed when it returns.
    pub fn start(handler: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), handler)
    }

    /// As [`Self::start`], at this address: to bring a server back where it was.
    pub fn start_at(addr: SocketAddr, handler: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(addr).expect("bind on loopback");
        let addr = listener.local_addr().expect("bound");
        let shared = Arc::new(State::default());
        let (state, handler) = (Arc::clone(&shared), Arc::new(handler));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                if let Ok(clone) = stream.try_clone() {
                    state.streams.lock().unwrap().push(clone);
                }
                let (state, handler) = (Arc::clone(&state), Arc::clone(&handler));
                thread::spawn(move || converse(stream, &state, handler.as_ref()));
            }
        });
        Self { addr, shared, accepting: Some(accepting) }
    }

    /// Serves the files below a folder, with `ETag` and `If-None-Match`.
    pub fn folder(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self::start(move |request, stream| serve_file(&root, request, stream))
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of a path (which begins with `/`) on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How often this path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|request| request.path == path).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn converse(mut stream: TcpStream, state: &State, handler: &dyn Fn(&Request, &mut TcpStream)) {
    let _ = stream.set_read_timeout(Some(Duration::from_mins(1)));
    if let Ok(Some(request)) = read_request(&stream) {
        state.requests.lock().unwrap().push(request.clone());
        handler(&request, &mut stream);
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read_request(stream: &TcpStream) -> io::Result<Option<Request>> {
    let mut lines = BufReader::new(stream).take(64 << 10).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(None) };
    let mut words = first.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut request = Request { method: method.to_owned(), path: path.to_owned(), headers: Vec::new() };
    for line in lines {
        let line = line?;
        if line.is_empty() {
            return Ok(Some(request));
        }
        if let Some((name, value)) = line.split_once(':') {
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    Ok(None)
}

/// An honest answer: status, further header fields, body.
pub fn reply(stream: &mut TcpStream, status: u16, fields: &[(&str, &str)], body: &[u8]) {
    let fields: String = fields.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n");
    raw(stream, head.as_bytes());
    raw(stream, body);
}

/// Sends the client elsewhere.
pub fn redirect(stream: &mut TcpStream, to: &str) {
    reply(stream, 302, &[("Location", to)], b"");
}

/// Any bytes. `false` once the client has gone.
pub fn raw(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).and_then(|()| stream.flush()).is_ok()
}

/// Says nothing more until the client goes or the server is dropped.
pub fn hold(stream: &mut TcpStream) {
    let mut byte = [0; 64];
    while matches!(stream.read(&mut byte), Ok(n) if n > 0) {}
}

/// Answers with a file below `root`; the entity tag changes whenever the file does.
pub fn serve_file(root: &Path, request: &Request, stream: &mut TcpStream) {
    let path = request.path.split(['?', '#']).next().unwrap_or_default().trim_start_matches('/');
    if path.split('/').any(|name| name.is_empty() || name.starts_with('.')) {
        return reply(stream, 404, &[], b"not found\n");
    }
    let file = root.join(path);
    let (Ok(body), Ok(meta)) = (std::fs::read(&file), std::fs::metadata(&file)) else {
        return reply(stream, 404, &[], b"not found\n");
    };
    let changed = meta.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let etag = format!("\"{:x}-{:x}\"", body.len(), changed.unwrap_or_default().as_nanos());
    if request.header("if-none-match") == Some(etag.as_str()) {
        raw(stream, format!("HTTP/1.1 304 Not Modified\r\nConnection: close\r\nETag: {etag}\r\n\r\n").as_bytes());
        return;
    }
    reply(stream, 200, &[("ETag", &etag)], &body);
}
