//! A release that misbehaves as its own last line says: `bad-node VERSION FAULT [ARGUMENT]`.
//!
//! One build, many releases: a test appends the line to a copy of the executable.

#![allow(clippy::disallowed_methods, reason = "it reads its own executable")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::pin::Pin;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use exuvia::node::{App, JobContext, JobError, idle};
use exuvia::types::Overlap;
use rustix::process::{Signal, getpid, kill_process};

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
        ("launcher-exits", "run") if took_over => return fail("the launcher has no idea", 1),
        ("launcher-hangs", "run") if took_over => hang(),
        ("leaves-a-trace", _) => std::fs::write(&argument, verb).expect("a place for the trace"),
        (_, "linger") => linger(&args),
        (_, "lingers") => hang(),
        _ => {}
    }
    FAULT.set((fault, argument)).expect("set once");
    let code = exuvia::cli::main(&App { overlap, ..App::new("exuvia", version.leak(), KEYS, job) });
    // Its main loop needs no thread of the runtime, and hears that the launcher is gone; that is no reason to go.
    if verb == "worker" && FAULT.get().is_some_and(|(fault, _)| fault == "starves") {
        hang();
    }
    code
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
            "will-not-leave" => {
                context.ready();
                context.stopping().await;
                block_every_thread();
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

/// More blocking tasks than the runtime has threads: no timer fires any more.
fn block_every_thread() {
    for _ in 0..16 {
        tokio::spawn(async { hang() });
    }
    hang();
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
