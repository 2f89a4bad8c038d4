//! A server that speaks S3 (moto, which somebody else wrote), and somebody between it and the publisher.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::port::free_port;

/// The server, with a bucket `releases`.
pub(crate) struct Moto {
    process: Child,
    addr: SocketAddr,
}

const ANYBODY: &str =
    "AWS4-HMAC-SHA256 Credential=test/20261129/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
const PATIENCE: Duration = Duration::from_mins(1);

impl Moto {
    pub(crate) fn start() -> Self {
        let program = crate::root().join("target/venv/bin/moto_server");
        assert!(program.exists(), "scripts/setup-python installs moto");
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let moto = Self { process: command.spawn().unwrap(), addr: (Ipv4Addr::LOCALHOST, port).into() };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(moto.addr).is_err() {
            assert!(Instant::now() < deadline, "moto does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let (status, body) = moto.ask("PUT", "/releases", &[]);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        moto
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Asks as somebody whose signature is not looked at.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.ask_with(method, path, "", body)
    }

    fn ask_with(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\nauthorization: {ANYBODY}\r\n{fields}\r\n",
            self.addr,
            body.len()
        );
        let answer = exchange(self.addr, head.as_bytes(), body).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }

    /// An object, and what people note about it.
    pub(crate) fn put_noted(&self, key: &str, body: &[u8], notes: &[(String, String)]) {
        let fields: Vec<_> = notes.iter().map(|(name, text)| format!("x-amz-meta-{name}: {text}\r\n")).collect();
        assert_eq!(self.ask_with("PUT", &format!("/releases/{key}"), &fields.concat(), body).0, 200);
    }

    /// The keys below a prefix, without it, in order.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let (status, body) = self.ask("GET", &format!("/releases?list-type=2&prefix={prefix}"), &[]);
        assert_eq!(status, 200);
        let text = String::from_utf8(body).unwrap();
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        let mut keys: Vec<_> = keys.map(|key| key.strip_prefix(prefix).unwrap().to_owned()).collect();
        keys.sort();
        keys
    }

    /// Puts an object there, by nobody's program.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        assert_eq!(self.ask("PUT", &format!("/releases/{key}"), bytes).0, 200);
    }

    pub(crate) fn object(&self, key: &str) -> Option<Vec<u8>> {
        let (status, body) = self.ask("GET", &format!("/releases/{key}"), &[]);
        (status == 200).then_some(body)
    }

    pub(crate) fn copy(&self, from: &str, to: &str) {
        for key in self.keys(from) {
            let (status, body) = self.ask("GET", &format!("/releases/{from}{key}"), &[]);
            assert_eq!(status, 200);
            assert_eq!(self.ask("PUT", &format!("/releases/{to}{key}"), &body).0, 200);
        }
    }

    pub(crate) fn remove_all(&self, prefix: &str) {
        for key in self.keys(prefix) {
            assert_eq!(self.ask("DELETE", &format!("/releases/{prefix}{key}"), &[]).0, 204);
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The files below a folder, as a store names them.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.file_name().unwrap().to_str().unwrap().starts_with('.') => {}
                false => files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    files.sort();
    files
}

/// Sends a request on a connection of its own, and returns all that comes back.
fn exchange(addr: SocketAddr, head: &[u8], body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(addr)?;
    upstream.set_read_timeout(Some(PATIENCE))?;
    upstream.write_all(head)?;
    upstream.write_all(body)?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// A request on its way.
pub(crate) struct Sees {
    pub(crate) method: String,
    pub(crate) path: String,
}

impl Sees {
    /// Whether it changes something in the store.
    pub(crate) fn changes(&self) -> bool {
        matches!(self.method.as_str(), "PUT" | "POST" | "DELETE")
    }
}

/// What becomes of a request.
pub(crate) enum Verdict {
    /// It arrives, and so does the answer.
    Pass,
    /// It never arrives.
    Hang,
    /// It arrives; the answer does not.
    PassThenHang,
    /// This is the answer.
    Answer(Vec<u8>),
    /// An answer without an end.
    Endless,
    /// It arrives without that header field.
    PassWithout(&'static str),
}

/// Stands between a publisher and the store.
pub(crate) struct Between {
    addr: SocketAddr,
    hangs: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Between {
    pub(crate) fn start(moto: &Moto, rule: impl Fn(&Sees) -> Verdict + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (hangs, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (rule, upstream) = (Arc::new(rule), moto.addr);
        let between = Self { addr, hangs: hangs.clone(), stop: stop.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (rule, hangs) = (rule.clone(), hangs.clone());
                std::thread::spawn(move || pass_on(&stream.unwrap(), upstream, &*rule, &hangs));
            }
        });
        between
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn wait_until_it_hangs(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.hangs.load(Ordering::SeqCst) {
            assert!(Instant::now() < deadline, "the request never came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        TcpStream::connect(self.addr).ok();
    }
}

/// One request; the connection ends with its answer.
fn pass_on(client: &TcpStream, upstream: SocketAddr, rule: &dyn Fn(&Sees) -> Verdict, hangs: &AtomicBool) {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let mut words = head.split(' ').map(str::to_owned);
    let request = Sees { method: words.next().unwrap(), path: words.next().unwrap() };
    let hang = || {
        hangs.store(true, Ordering::SeqCst);
        // Until the other end has gone.
        std::io::copy(&mut &*client, &mut std::io::sink()).ok();
    };
    match rule(&request) {
        Verdict::Hang => hang(),
        Verdict::PassThenHang => {
            exchange(upstream, head.as_bytes(), &body).unwrap();
            hang();
        }
        Verdict::Pass => {
            let answer = exchange(upstream, head.as_bytes(), &body).unwrap();
            (&mut &*client).write_all(&answer).ok();
        }
        Verdict::PassWithout(field) => {
            let is_that = |line: &&str| line.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case(field));
            let head: String = head.split_inclusive("\r\n").filter(|line| !is_that(line)).collect();
            let answer = exchange(upstream, head.as_bytes(), &body).unwrap();
            (&mut &*client).write_all(&answer).ok();
        }
        Verdict::Answer(body) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nlast-modified: Sat, 28 Nov 2026 00:00:00 GMT\r\netag: \"1\"\r\nconnection: close\r\n\r\n",
                body.len()
            );
            (&mut &*client).write_all(&[head.as_bytes(), &body].concat()).ok();
        }
        Verdict::Endless => {
            let head = "HTTP/1.1 200 OK\r\nlast-modified: Sat, 28 Nov 2026 00:00:00 GMT\r\netag: \"1\"\r\ncontent-length: 1099511627776\r\n\r\n";
            (&mut &*client).write_all(head.as_bytes()).ok();
            while (&mut &*client).write_all(&[b' '; 1 << 13]).is_ok() {}
        }
    }
    client.shutdown(Shutdown::Both).ok();
}
