//! Asks a node over HTTP without a pause, from a process of its own: `load-generator ADDRESS PATH`.
//!
//! Each line on its standard input begins a phase of that name; its end ends the run. Then a line of
//! JSON for each phase and each kind of client tells how it went: a request counts for the phase in
//! which it began, from the moment when its client wanted to send it, a new connection included.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How a client uses its connections, and how many there are of it.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    clients: u32,
    keeps_alive: bool,
    /// Between an answer and the next request.
    pause: Duration,
}

const KINDS: [Kind; 3] = [
    Kind { name: "keep-alive", clients: 4, keeps_alive: true, pause: Duration::from_millis(4) },
    // Its connections are idle for long enough that a server might close them just when they are used.
    Kind { name: "slow keep-alive", clients: 8, keeps_alive: true, pause: Duration::from_millis(150) },
    Kind { name: "fresh", clients: 4, keeps_alive: false, pause: Duration::from_millis(8) },
];

/// Longer than any change of worker may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Tally {
    requests: u64,
    refused: u64,
    failed: u64,
    longest: Duration,
    first_error: Option<String>,
}

struct Phase {
    name: String,
    tallies: [Tally; KINDS.len()],
}

fn main() {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr = args.next().and_then(|text| text.parse().ok()).expect("an address with a port");
    let path = args.next().expect("a path");
    let phases = Arc::new(Mutex::new(vec![Phase { name: String::new(), tallies: Default::default() }]));
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for (kind, Kind { clients: count, .. }) in KINDS.iter().enumerate() {
        for _ in 0..*count {
            let (phases, over, path) = (phases.clone(), over.clone(), path.clone());
            clients.push(std::thread::spawn(move || client(kind, address, &path, &phases, &over)));
        }
    }
    for name in io::stdin().lines() {
        let name = name.expect("standard input is text");
        phases.lock().unwrap().push(Phase { name, tallies: Default::default() });
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    // What came before the first phase is nobody's.
    for phase in &phases.lock().unwrap()[1..] {
        for (Kind { name, .. }, tally) in KINDS.iter().zip(&phase.tallies) {
            let Tally { requests, refused, failed, longest, first_error } = tally;
            let report = serde_json::json!({
                "phase": phase.name, "clients": name, "requests": requests, "refused": refused, "failed": failed,
                "longest_ms": longest.as_secs_f64() * 1000.0, "first_error": first_error,
            });
            println!("{report}");
        }
    }
}

fn client(kind: usize, address: SocketAddr, path: &str, phases: &Mutex<Vec<Phase>>, over: &AtomicBool) {
    let Kind { keeps_alive, pause, .. } = KINDS[kind];
    let mut kept = None;
    while !over.load(Ordering::Relaxed) {
        let phase = phases.lock().unwrap().len() - 1;
        let began = Instant::now();
        let outcome = request(kept.take(), address, path, keeps_alive);
        let took = began.elapsed();
        let mut phases = phases.lock().unwrap();
        let tally = &mut phases[phase].tallies[kind];
        tally.requests += 1;
        tally.longest = tally.longest.max(took);
        match outcome {
            Ok(connection) => kept = connection.filter(|_| keeps_alive),
            Err(error) => {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    tally.refused += 1;
                } else {
                    tally.failed += 1;
                }
                tally.first_error.get_or_insert_with(|| error.to_string());
            }
        }
        drop(phases);
        std::thread::sleep(pause);
    }
}

/// One request. Returns the connection where the server keeps it open.
fn request(
    kept: Option<BufReader<TcpStream>>,
    address: SocketAddr,
    path: &str,
    keeps_alive: bool,
) -> io::Result<Option<BufReader<TcpStream>>> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        }
    };
    let wish = if keeps_alive { "keep-alive" } else { "close" };
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: {wish}\r\n\r\n");
    connection.get_mut().write_all(head.as_bytes())?;
    let mut line = String::new();
    connection.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("answered {line:?}")));
    }
    let (mut length, mut closes) = (None, false);
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse::<usize>().ok(),
            "connection" => closes = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let mut body = vec![0; length.ok_or_else(|| io::Error::other("the answer has no length"))?];
    connection.read_exact(&mut body)?;
    Ok((!closes).then_some(connection))
}
