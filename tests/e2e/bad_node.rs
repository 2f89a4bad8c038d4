//! A release that misbehaves as its own last line says: `bad-node VERSION FAULT [ARGUMENT]`.
//!
//! One build, many releases: a test appends the line to a copy of the executable.

#![allow(clippy::disallowed_methods, reason = "it reads its own executable")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::pin::Pin;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use exuvia::node::{App, JobContext, JobError, idle};
use exuvia::snapshot::Kind;
use exuvia::state::{Schema, Step};
use exuvia::sys::Channel;
use exuvia::types::{Health, Overlap};
use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::process::{Signal, getpid, kill_process};

/// What the program `exuvia` keeps, and how later versions might go on with it.
#[allow(dead_code, unreachable_pub, reason = "its job is another one's")]
#[path = "../../src/bin/exuvia/statistics.rs"]
mod statistics;

const NOTE: Step = Step::Sql("ALTER TABLE life ADD COLUMN note TEXT; UPDATE life SET note = 'migrated'");
const MORE: Step = Step::Sql("DROP TABLE served; CREATE TABLE visits (page TEXT, n INTEGER) STRICT");
const FAILS: Step = Step::Sql("DROP TABLE served; INSERT INTO nowhere VALUES (1)");
const EPOCHS: [Schema; 3] = [
    statistics::STATE,
    Schema::new(statistics::APPLICATION_ID, 1, &[statistics::FIRST_STEP, NOTE]),
    Schema::new(statistics::APPLICATION_ID, 1, &[statistics::FIRST_STEP, NOTE, MORE]),
];
/// It can open nothing that is older than itself.
const LATE: Schema = Schema::new(statistics::APPLICATION_ID, 3, &[statistics::FIRST_STEP, NOTE, MORE]);
/// Its second step is taken, and its third one is not.
const BROKEN: Schema = Schema::new(statistics::APPLICATION_ID, 1, &[statistics::FIRST_STEP, NOTE, FAILS]);

const KEYS: &[&str] = include!(concat!(env!("OUT_DIR"), "/pinned_keys.rs"));

static FAULT: OnceLock<(String, String)> = OnceLock::new();

fn main() -> ExitCode {
    let own = last_line();
    let mut words = own.strip_prefix("bad-node ").expect("a copy with a last line of its own").splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (mut version, fault, argument) = (word(), word(), word());
    // Some faults have a form that must not run beside another version.
    let (fault, overlap) = match fault.strip_prefix("alone-") {
        Some(fault) => (fault.to_owned(), Overlap::StopFirst),
        None => (fault, Overlap::UntilReady),
    };
    // And some keep state: of the epoch that stands there, or as the word says.
    let (fault, state) = match fault.strip_prefix("epoch-").and_then(|rest| rest.split_once('-')) {
        Some(("late", fault)) => (fault.to_owned(), Some(LATE)),
        Some(("broken", fault)) => (fault.to_owned(), Some(BROKEN)),
        Some((epoch, fault)) => (fault.to_owned(), Some(EPOCHS[epoch.parse::<usize>().expect("an epoch") - 1])),
        None => (fault, None),
    };
    let args: Vec<String> = std::env::args().collect();
    let verb = args.last().map_or("", |verb| if verb == "--json" { "self-describe" } else { verb });
    let took_over = std::env::var_os("EXUVIA_INTERNAL_HANDOFF").is_some();

    match (fault.as_str(), verb) {
        ("describe-fails", "self-describe") => return fail("this library is missing", 127),
        ("describes-nothing", "self-describe") => {
            println!("hello");
            return ExitCode::SUCCESS;
        }
        ("describe-hangs", "self-describe") | ("rehearse-hangs", "rehearse") => hang(),
        ("describes-late", "self-describe") => {
            while !std::path::Path::new(&argument).exists() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        ("claims", "self-describe") => version.clone_from(&argument),
        ("rehearse-fails", "rehearse") => return fail("no launcher was linked in", 1),
        ("exits", "worker") => return fail("the database is of another century", argument.parse().unwrap_or(3)),
        ("aborts", "worker") => std::process::abort(),
        // Rust's own handler takes the first one for a stack that overflowed, and steps aside.
        ("segfaults", "worker") => (0..2).for_each(|_| kill_process(getpid(), Signal::SEGV).expect("it is our own")),
        ("chatters", "worker") => {
            for line in 0..20_000 {
                eprintln!("line {line} of a long complaint");
            }
            return fail("the last line of a long complaint", 3);
        }
        ("speaks", "self-describe") => return describe(&version, &argument),
        ("speaks" | "hears", "worker") => interpret(&fault, &argument),
        // Blocked for every thread that follows: nobody takes them.
        ("stubborn", "worker") => SigSet::all().thread_block().expect("a mask"),
        ("launcher-exits", "run") if took_over => return fail("the launcher has no idea", 1),
        ("launcher-hangs", "run") if took_over => hang(),
        ("launcher-dies", "run") if took_over => {
            let span = Duration::from_millis(argument.parse().expect("milliseconds"));
            beside(move || std::thread::sleep(span));
        }
        ("launcher-dies-committed", "run") if took_over => beside(until_committed),
        ("cold-exits", "run") if !took_over => {
            return fail("no start without a launcher before", argument.parse().expect("an exit code"));
        }
        ("cold-hangs", "run") if !took_over => hang(),
        ("leaves-a-trace", _) => std::fs::write(&argument, verb).expect("a place for the trace"),
        (_, "linger") => linger(&args),
        (_, "lingers") => hang(),
        _ => {}
    }
    let root: Option<&'static [u8]> = (fault == "trusts").then(|| &*std::fs::read(&argument).expect("the root").leak());
    let keys = if fault == "pins" { pinned(&argument) } else { KEYS };
    FAULT.set((fault, argument)).expect("set once");
    let code = exuvia::cli::main(&App {
        overlap,
        root,
        state,
        state_files: &[("notes.txt", Kind::File)],
        ..App::new("exuvia", version.leak(), keys, job)
    });
    // Its main loop needs no thread of the runtime, and hears that the launcher is gone; that is no reason to go.
    if verb == "worker" && FAULT.get().is_some_and(|(fault, _)| fault == "starves") {
        hang();
    }
    code
}

/// The keys of which the first word names the first letters: `a`, `b`, and `s` for the stranger's.
fn pinned(argument: &str) -> &'static [&'static str] {
    let word = argument.split(' ').next().expect("a first word");
    let key = |letter| match letter {
        'a' => KEYS[0],
        'b' => KEYS[1],
        _ => include_str!("../keys/stranger.pem"),
    };
    word.chars().map(key).collect::<Vec<_>>().leak()
}

/// As a program does whose newest and oldest launcher protocol are these.
fn describe(version: &str, dialect: &str) -> ExitCode {
    let (newest, oldest) = dialect.split_once(' ').expect("two numbers");
    let target = exuvia::types::Target::of_this_build();
    println!(
        r#"{{"product":"exuvia","version":"{version}","target":"{target}","protocol":{newest},"oldest_protocol":{oldest},"later":{{}}}}"#
    );
    ExitCode::SUCCESS
}

/// Stands between launcher and worker. `speaks`: the worker is newer than its launcher, and says more than that
/// understands. `hears`: the launcher is newer than its worker, speaks that dialect, and says more.
fn interpret(fault: &str, dialect: &str) {
    let launcher = Arc::new(Channel::from_stdin().expect("started by a launcher"));
    let (ours, theirs) = Channel::pair().expect("a channel");
    exuvia::sys::set_stdin(&theirs).expect("standard input");
    let worker = Arc::new(ours);
    let numbers: Vec<u32> = dialect.split(' ').map(|word| word.parse().expect("a number")).collect();
    let (hears, speaks) = (fault == "hears", fault == "speaks");
    let to_worker = move |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).expect("text");
        let Some(hello) = text.strip_prefix("X_HELLO=").filter(|_| hears) else { return text };
        let mut hello: serde_json::Value = serde_json::from_str(hello).expect("JSON");
        hello["protocol"] = numbers[0].into();
        hello["oldest_protocol"] = numbers[1].into();
        hello["later"] = serde_json::json!({ "much": [1, 2] });
        format!("X_LATER=1\nX_HELLO={hello}\nX_LATER_STILL={{}}")
    };
    let to_launcher = move |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).expect("text");
        let text = match text.strip_suffix('}') {
            Some(begun) if speaks => format!("{begun},\"later\":{{\"much\":[1,2]}}}}"),
            _ => text,
        };
        if speaks { format!("X_LATER={{}}\n{text}\nMAINPID=1") } else { text }
    };
    let (from, to) = (launcher.clone(), worker.clone());
    beside_signals(move || pass_on(&from, &to, to_worker));
    beside_signals(move || pass_on(&worker, &launcher, to_launcher));
}

/// Until either end has gone; then this process goes, too: both would wait for each other.
fn pass_on(from: &Channel, to: &Channel, translate: impl Fn(Vec<u8>) -> String) {
    while let Ok(Some(message)) = from.recv() {
        let fds: Vec<_> = message.fds.iter().map(AsFd::as_fd).collect();
        if to.send(translate(message.bytes).as_bytes(), &fds).is_err() {
            break;
        }
    }
    std::process::exit(0);
}

/// What the node's job does, once the worker is up.
fn job(mut context: JobContext) -> Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>> {
    let (fault, argument) = FAULT.get().expect("set at the start");
    let span = Duration::from_millis(argument.parse().unwrap_or(200));
    Box::pin(async move {
        match fault.as_str() {
            "never-ready" => {
                eprintln!("still warming up");
                std::future::pending::<()>().await;
            }
            "dies" => {
                context.ready();
                tokio::time::sleep(span).await;
                eprintln!("it was too much");
                std::process::exit(1);
            }
            // What it writes while it serves is lost when it fails: that must be said.
            "writes-and-dies" => {
                context.database()?.execute("UPDATE life SET note = 'written on probation'", [])?;
                std::fs::write(context.state_file("notes.txt")?, "written on probation")?;
                context.ready();
                tokio::time::sleep(span).await;
                std::process::exit(1);
            }
            "takes-notes" => {
                std::fs::write(context.state_file("notes.txt")?, argument)?;
                context.ready();
                std::future::pending::<()>().await;
            }
            "panics" => {
                context.ready();
                tokio::time::sleep(span).await;
                panic!("nobody expected this");
            }
            "returns" => {
                context.ready();
                tokio::time::sleep(span).await;
            }
            "starves" => {
                context.ready();
                tokio::time::sleep(span).await;
                eprintln!("thinks very hard");
                block_every_thread();
            }
            "freezes" => {
                context.ready();
                tokio::time::sleep(span).await;
                kill_process(getpid(), Signal::STOP).expect("it is our own");
            }
            "leaves-a-stray" => {
                context.ready();
                tokio::time::sleep(span).await;
                again("linger").status().expect("a child");
                std::process::exit(1);
            }
            "leaves-a-naked-stray" => {
                context.ready();
                tokio::time::sleep(span).await;
                again("linger").env_clear().status().expect("a child");
                std::process::exit(1);
            }
            "eats" => {
                context.ready();
                tokio::time::sleep(span).await;
                eats();
            }
            "stubborn" => {
                context.ready();
                std::future::pending::<()>().await;
            }
            "pins" if argument.ends_with(" dies") => {
                context.ready();
                tokio::time::sleep(span).await;
                std::process::exit(1);
            }
            "will-not-leave" => {
                context.ready();
                context.stopping().await;
                block_every_thread();
            }
            "says-unhealthy" => {
                context.ready();
                tokio::time::sleep(span).await;
                context.health(Health::Unhealthy, "the queue is stuck");
                return idle(context).await;
            }
            "sick-from-the-start" => {
                context.health(Health::Unhealthy, "no license");
                std::future::pending::<()>().await;
            }
            "cannot-tell" => {
                context.health(Health::Inconclusive, "the database is away");
                return idle(context).await;
            }
            "recovers" => {
                context.health(Health::Inconclusive, "the database is away");
                context.ready();
                tokio::time::sleep(span).await;
                context.health(Health::Healthy, "the database is back");
                return idle(context).await;
            }
            "touches" => {
                context.ready();
                context.activated().await;
                std::fs::write(argument, "").expect("a place for the file");
                return idle(context).await;
            }
            "leaks" => {
                context.ready();
                context.activated().await;
                tokio::time::sleep(Duration::from_millis(300)).await;
                // Written to, so that it is resident.
                std::mem::forget(vec![7_u8; 160 << 20]);
                return idle(context).await;
            }
            "floods" => {
                context.ready();
                context.activated().await;
                for _ in 0..2 {
                    std::thread::spawn(flood);
                }
                return idle(context).await;
            }
            "killed" => {
                context.ready();
                tokio::time::sleep(span).await;
                kill_process(getpid(), Signal::KILL).expect("it is our own");
            }
            _ => return idle(context).await,
        }
        Ok(())
    })
}

/// As many messages to the launcher as it takes, for ever, and much output beside them.
fn flood() {
    for line in 0_u64.. {
        rustix::net::send(std::io::stdin(), b"STATUS=look at me\nX_VITALS={}", rustix::net::SendFlags::empty()).ok();
        if line < 200_000 {
            eprintln!("a line that nobody needs");
        }
    }
}

/// Memory until somebody stops it, or until it is too much for a host without limits.
fn eats() {
    let mut eaten = Vec::new();
    while eaten.len() < 256 {
        eaten.push(vec![1_u8; 8 << 20]);
        std::thread::sleep(Duration::from_millis(2));
    }
    eprintln!("nobody minds: {} MiB", eaten.len() * 8);
    std::process::exit(1);
}

/// More blocking tasks than the runtime has threads: no timer fires any more.
fn block_every_thread() {
    for _ in 0..16 {
        tokio::spawn(async { hang() });
    }
    hang();
}

/// Ends this process with `moment`, beside a launcher that goes about its work.
fn beside(moment: impl FnOnce() + Send + 'static) {
    // The launcher reads its signals from a descriptor: no other thread may take one first.
    beside_signals(move || {
        moment();
        std::process::exit(1);
    });
}

/// A thread that takes no signals.
fn beside_signals(work: impl FnOnce() + Send + 'static) {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).expect("a mask");
    std::thread::spawn(work);
    before.thread_set_mask().expect("the mask that was there");
}

/// Until the committed path is this very file.
fn until_committed() {
    let own = std::fs::metadata("/proc/self/exe").expect("our own executable");
    let path = std::fs::read_link("/proc/self/exe").expect("our own executable");
    // <committed folder>/.exuvia/versions/<version>/<name>
    let committed = path.ancestors().nth(4).expect("a version's place").join(path.file_name().expect("a name"));
    while std::fs::metadata(&committed).map(|meta| meta.ino()).ok() != Some(own.ino()) {
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_mins(1));
    }
}

fn fail(sentence: &str, code: u8) -> ExitCode {
    eprintln!("{sentence}");
    ExitCode::from(code)
}

/// This very program with the same options and another verb.
fn again(verb: &str) -> Command {
    let mut args: Vec<String> = std::env::args().collect();
    args.pop();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(&args[0]).args(&args[1..]).arg(verb);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Leaves the process group and the session, and a child that nobody waits for.
fn linger(_: &[String]) -> ! {
    rustix::process::setsid().ok();
    again("lingers").spawn().expect("a child");
    std::process::exit(0);
}

fn last_line() -> String {
    let mut file = File::open("/proc/self/exe").expect("our own executable");
    file.seek(SeekFrom::End(-4096)).expect("longer than that");
    let mut end = Vec::new();
    file.read_to_end(&mut end).expect("readable");
    let text = String::from_utf8_lossy(&end);
    text.trim_end().rsplit('\n').next().unwrap_or_default().to_owned()
}
