//! Snapshots of a large database under a writer, beside what else copies one: see `scripts/bench-snapshot`.

#![allow(clippy::disallowed_methods, reason = "it sets up databases, and reads what this process takes")]

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use age::secrecy::ExposeSecret;
use exuvia::snapshot::{
    Binary, Creation, Expectations, Identity, NodeKeys, Reason, Recipient, Snapshot, Snapshots, StateFiles, Whose,
};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::{NodeId, Product, Sha256Digest};
use rusqlite::Connection;

const PEAK_GOAL_MIB: u64 = 64;
const BLOCKED_GOAL: Duration = Duration::from_millis(100);

struct Line {
    what: &'static str,
    seconds: f64,
    /// The longest that one write took meanwhile.
    blocked: Option<Duration>,
    peak_mib: Option<u64>,
    bytes: u64,
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let mib: u64 =
        words.iter().position(|word| word == "--mib").and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(1024);
    let folder = tempfile::tempdir().unwrap();
    let data = PrivateDir::open_or_create(folder.path().join("data"), Loose::RefuseWritable).unwrap();
    let (keys, snapshots) = (NodeKeys::open_or_make(&data).unwrap(), Snapshots::open(&data).unwrap());
    let (product, node) = ("exuvia".parse().unwrap(), "a".repeat(32).parse().unwrap());
    let state = data.path().join("state.db");
    fill(&state, mib);
    let operator = Identity::generate();
    let size = fs::metadata(&state).unwrap().len();
    let out = |name: &str| folder.path().join(name);
    let mut lines = Vec::new();

    let mut under_writer = |what, work: &mut dyn FnMut() -> u64| {
        let (blocked, (seconds, peak_mib, bytes)) = with_writer(&state, || measured(work));
        lines.push(Line { what, seconds, blocked: Some(blocked), peak_mib, bytes });
    };
    under_writer("writer alone, 3 s", &mut || {
        std::thread::sleep(Duration::from_secs(3));
        0
    });
    under_writer("plain copy (torn)", &mut || copy(&state, &out("plain.db")));
    let take = |recipients: &[Recipient]| take(&snapshots, &data, &keys, &product, &node, recipients);
    let mut taken = None;
    under_writer("snapshot", &mut || taken.insert(take(&[])).length);
    under_writer("snapshot, sealed", &mut || take(&[operator.to_public()]).length);
    let taken = taken.unwrap();

    let recipient = operator.to_public().to_string();
    fs::write(out("identity"), operator.to_string().expose_secret()).unwrap();
    let mut alone = |what, work: &mut dyn FnMut() -> u64| {
        let (seconds, peak_mib, bytes) = measured(work);
        lines.push(Line { what, seconds, blocked: None, peak_mib, bytes });
    };
    // Beside a writer it never ends: it copies in steps, and begins anew at each write.
    alone("sqlite3 .backup, no writer", &mut || {
        run(Command::new("sqlite3").arg(&state).arg(format!(".backup {}", out("backup.db").display())));
        sync(&out("backup.db"))
    });
    alone("zstd -3 | age of the copy", &mut || {
        let line = format!("zstd -q -3 -c backup.db | age -r {recipient} -o sealed.age");
        run(Command::new("sh").args(["-c", &line]).current_dir(folder.path()));
        sync(&out("sealed.age"))
    });
    let keyring = keys.trusted();
    let expected = Expectations { keys: &keyring, whose: Whose::Node(&product, &node), id: None, digest: None };
    alone("verify", &mut || {
        let found = snapshots.find(&taken.id).unwrap();
        found.verify(&expected, &mut |_, _| {}).unwrap();
        taken.length
    });
    alone("verify and restore", &mut || {
        let lock = data.try_lock("node.lock").unwrap().unwrap();
        let mut verified = snapshots.find(&taken.id).unwrap().verify(&expected, &mut |_, _| {}).unwrap();
        verified.restore(&data, &StateFiles::database(), &lock, &[], jiff::Timestamp::now(), &mut |_, _| {}).unwrap();
        taken.length
    });
    alone("age -d | zstd -d", &mut || {
        let line = "age -d -i identity sealed.age | zstd -dq -o opened.db";
        run(Command::new("sh").args(["-c", line]).current_dir(folder.path()));
        sync(&out("opened.db"))
    });
    report(&lines, size, words.iter().any(|word| word == "--check"))
}

fn report(lines: &[Line], size: u64, check: bool) -> ExitCode {
    println!("database {} MiB", size >> 20);
    println!("{:<28} {:>8} {:>8} {:>12} {:>10} {:>10}", "", "s", "MB/s", "file/MiB", "peak/MiB", "blocked/ms");
    let mut holds = true;
    for line in lines {
        let throughput = size as f64 / 1e6 / line.seconds;
        let peak = line.peak_mib.map_or_else(String::new, |peak| peak.to_string());
        let blocked = line.blocked.map_or_else(String::new, |blocked| format!("{:.1}", blocked.as_secs_f64() * 1e3));
        println!(
            "{:<28} {:>8.2} {:>8.0} {:>12} {:>10} {:>10}",
            line.what,
            line.seconds,
            throughput,
            line.bytes >> 20,
            peak,
            blocked
        );
        if line.what.starts_with("snapshot") || line.what.starts_with("verify") {
            holds &= line.peak_mib.is_none_or(|peak| peak <= PEAK_GOAL_MIB);
            holds &= line.blocked.is_none_or(|blocked| blocked <= BLOCKED_GOAL);
        }
    }
    println!(
        "goals (peak {PEAK_GOAL_MIB} MiB, blocked {} ms): {}",
        BLOCKED_GOAL.as_millis(),
        if holds { "hold" } else { "missed" }
    );
    if check && !holds { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn take(
    snapshots: &Snapshots,
    data: &PrivateDir,
    keys: &NodeKeys,
    product: &Product,
    node: &NodeId,
    recipients: &[Recipient],
) -> Snapshot {
    let what = Creation {
        product,
        node,
        data,
        state: &StateFiles::database(),
        binary: Binary { sha256: Sha256Digest::from_bytes([1; 32]), version: "1.0.0".parse().unwrap() },
        reason: Reason::Operator,
        recipients,
        now: jiff::Timestamp::now(),
    };
    snapshots.create(&what, keys, &mut |_, _| {}).unwrap()
}

/// Rows of which half is text that compresses.
fn fill(path: &Path, mib: u64) {
    let db = Connection::open(path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.pragma_update(None, "synchronous", "OFF").unwrap();
    db.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT, bytes BLOB); CREATE TABLE w (n INTEGER);")
        .unwrap();
    for _ in 0..mib {
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 256)
             INSERT INTO t (text, bytes) SELECT printf('%02000d', i), randomblob(1980) FROM n",
            [],
        )
        .unwrap();
    }
    db.pragma_update(None, "wal_checkpoint", "TRUNCATE").ok();
}

fn with_writer<T>(state: &Path, work: impl FnOnce() -> T) -> (Duration, T) {
    let (stop, longest) = (AtomicBool::new(false), AtomicU64::new(0));
    let done = std::thread::scope(|threads| {
        threads.spawn(|| {
            let db = Connection::open(state).unwrap();
            db.busy_timeout(Duration::from_mins(1)).unwrap();
            db.pragma_update(None, "synchronous", "NORMAL").unwrap();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                db.execute("INSERT INTO w VALUES (1)", []).unwrap();
                longest.fetch_max(u64::try_from(began.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        longest.store(0, Ordering::Relaxed);
        let done = work();
        stop.store(true, Ordering::Relaxed);
        done
    });
    (Duration::from_micros(longest.load(Ordering::Relaxed)), done)
}

/// Seconds, the most memory of this process meanwhile, and what the work says.
fn measured(work: &mut dyn FnMut() -> u64) -> (f64, Option<u64>, u64) {
    // The kernel begins its count of the peak anew.
    fs::write("/proc/self/clear_refs", "5").ok();
    let began = Instant::now();
    let bytes = work();
    let seconds = began.elapsed().as_secs_f64();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    (seconds, peak.map(|kib| kib >> 10), bytes)
}

fn copy(from: &Path, to: &Path) -> u64 {
    fs::copy(from, to).unwrap();
    sync(to)
}

fn sync(file: &Path) -> u64 {
    let file = fs::File::open(file).unwrap();
    file.sync_all().unwrap();
    file.metadata().unwrap().len()
}

fn run(command: &mut Command) {
    assert!(command.stdout(Stdio::null()).status().unwrap().success(), "{command:?}");
}
