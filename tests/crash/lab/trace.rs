//! Runs a program with everything that it starts under ptrace(2), notes each system call that
//! changes something below a folder, and interrupts one of them.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::call::Call;
use super::point::{Place, Point, normal};
use crate::support::builds;

/// What is done to the process that stands at the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blow {
    /// SIGKILL.
    Kill {
        /// Everything at once, as when the power goes; or that process alone.
        whole: bool,
        /// Once the call is done; or instead of it.
        after: bool,
    },
    /// The call does nothing, and ends with this error (errno).
    Fail(i32),
    /// From that call on, for [`FULL_FOR`], the disk has room for nothing new.
    Full,
}

/// For how long a disk is full.
pub const FULL_FOR: Duration = Duration::from_secs(3);

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { whole, after } => {
                let (whom, when) = (if *whole { "all" } else { "it" }, if *after { "after" } else { "before" });
                write!(f, "kill-{whom}-{when}")
            }
            Self::Fail(errno) => write!(f, "{:?}", Errno::from_raw(*errno)),
            Self::Full => f.write_str("full"),
        }
    }
}

/// What happened so far.
#[derive(Debug, Default)]
pub struct Notes {
    /// Every call that counted, in order.
    pub calls: Vec<Point>,
    /// Whether the blow fell.
    pub struck: bool,
    /// Whether every process has ended.
    pub over: bool,
    /// How the first process ended.
    pub code: Option<i32>,
}

/// Sees each call that counts: before it, and with its result after it.
pub trait Witness: Send {
    /// It is done, and the process stands still.
    fn done(&mut self, pid: i32, call: &Call, result: i64);
}

/// A program that runs under the tracer.
pub struct Traced {
    notes: Arc<(Mutex<Notes>, Condvar)>,
    leader: i32,
    thread: Option<JoinHandle<()>>,
}

impl Traced {
    #[allow(clippy::zombie_processes, reason = "the tracer waits for it, as for all others")]
    /// Starts the command, which writes to `output`. Changes below `root` count, except to `output`.
    pub fn start(
        command: &Command,
        output: File,
        root: &Path,
        blow: Option<(Point, Blow)>,
        witness: Option<Box<dyn Witness>>,
    ) -> Self {
        let notes: Arc<(Mutex<Notes>, Condvar)> = Arc::default();
        let (mut held, root) = (held_back(command, output), root.to_owned());
        let (told, leader) = std::sync::mpsc::channel();
        let shared = notes.clone();
        // ptrace(2) obeys the thread that attached, and wait(2) is asked for that thread's processes alone.
        let thread = std::thread::spawn(move || {
            let mut child = held.spawn().expect("sh starts");
            let leader = child.id().cast_signed();
            let options = Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_TRACESECCOMP
                | Options::PTRACE_O_EXITKILL;
            ptrace::seize(Pid::from_raw(leader), options).expect("may trace its own child");
            ptrace::interrupt(Pid::from_raw(leader)).expect("it waits for us");
            // Ends its wait. What it reads next is the null device.
            std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), b"\n").expect("it reads");
            told.send(leader).ok();
            Tracer {
                root,
                blow,
                witness,
                leader,
                notes: shared,
                threads: HashMap::new(),
                roles: HashMap::new(),
                counts: HashMap::new(),
                power_is_off: false,
                full_since: None,
            }
            .run();
        });
        let leader = leader.recv().expect("the thread says so");
        Self { notes, leader, thread: Some(thread) }
    }

    /// What happened so far.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.notes.0)
    }

    /// Waits until that is so, for so long at most, and says whether it is.
    pub fn wait(&self, patience: Duration, wanted: impl Fn(&Notes) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut notes = self.notes();
        while !wanted(&notes) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            notes = self.notes.1.wait_timeout(notes, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// SIGTERM to the first process, and how it ends. SIGKILL when it does not.
    pub fn stop(&mut self) -> Option<i32> {
        kill(Pid::from_raw(self.leader), Signal::SIGTERM).ok();
        self.end(Duration::from_secs(20))
    }

    /// Waits for the end of all processes, and returns how the first one ended.
    pub fn end(&mut self, patience: Duration) -> Option<i32> {
        if !self.wait(patience, |notes| notes.over) {
            kill(Pid::from_raw(self.leader), Signal::SIGKILL).ok();
            assert!(self.wait(Duration::from_secs(20), |notes| notes.over), "its processes do not end");
        }
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the tracer did not panic");
        }
        self.notes().code
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if !self.notes().over {
            kill(Pid::from_raw(self.leader), Signal::SIGKILL).ok();
        }
    }
}

/// The same command, after a line on its standard input: until then nothing of it happens. It is stopped at the calls
/// that count, and at no others.
fn held_back(command: &Command, output: File) -> Command {
    let mut held = Command::new("/bin/sh");
    held.args(["-c", "read -r _; exec \"$@\" </dev/null", "sh"]).arg(builds::only_changes());
    held.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => held.env(name, value),
            None => held.env_remove(name),
        };
    }
    held.stdin(Stdio::piped()).stdout(output.try_clone().expect("a handle")).stderr(output);
    held
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Thread {
    process: i32,
    /// What is to be done when the call that it is in ends.
    inside: Option<Inside>,
}

enum Inside {
    Watched(Call),
    KillAfter { whole: bool },
}

struct Tracer {
    root: PathBuf,
    blow: Option<(Point, Blow)>,
    witness: Option<Box<dyn Witness>>,
    leader: i32,
    notes: Arc<(Mutex<Notes>, Condvar)>,
    threads: HashMap<i32, Thread>,
    roles: HashMap<i32, String>,
    counts: HashMap<Place, u32>,
    power_is_off: bool,
    full_since: Option<Instant>,
}

impl Tracer {
    fn run(&mut self) {
        self.note(|_| ());
        loop {
            // __WNOTHREAD: other threads of this process trace other programs.
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(_) => break,
            };
            match status {
                WaitStatus::PtraceSyscall(pid) => self.at_call(pid),
                WaitStatus::PtraceEvent(pid, _, event) => {
                    self.meet(pid);
                    match event {
                        libc::PTRACE_EVENT_EXEC => drop(self.roles.remove(&pid.as_raw())),
                        libc::PTRACE_EVENT_SECCOMP if self.watches() => self.before_call(pid),
                        _ => {}
                    }
                    self.go_on(pid, None);
                }
                WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal)),
                WaitStatus::Exited(pid, code) => self.ended(pid, code),
                WaitStatus::Signaled(pid, signal, _) => self.ended(pid, -(signal as i32)),
                _ => {}
            }
        }
        self.note(|notes| notes.over = true);
    }

    fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut lock(&self.notes.0));
        self.notes.1.notify_all();
    }

    fn ended(&mut self, pid: Pid, code: i32) {
        self.threads.remove(&pid.as_raw());
        self.roles.remove(&pid.as_raw());
        if pid.as_raw() == self.leader {
            self.note(|notes| notes.code = Some(code));
        }
    }

    /// What is written to the terminal, so to say.
    fn is_output(&self, call: &Call) -> bool {
        call.path.parent() == Some(&self.root) && call.path.extension().is_some_and(|end| end == "log")
    }

    fn is_full(&self) -> bool {
        self.full_since.is_some_and(|since| since.elapsed() < FULL_FOR)
    }

    /// Whether calls are still looked at: after the blow they run at full speed.
    fn watches(&self) -> bool {
        self.blow.is_some() || self.is_full() || !lock(&self.notes.0).struck
    }

    fn go_on(&self, pid: Pid, signal: Option<Signal>) {
        let is_inside = self.threads.get(&pid.as_raw()).is_some_and(|thread| thread.inside.is_some());
        // One that was killed meanwhile is gone, and its end is heard of.
        if is_inside { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) }.ok();
    }

    /// A thread that stands still for the first time, perhaps.
    fn meet(&mut self, pid: Pid) {
        let raw = pid.as_raw();
        if self.power_is_off {
            // Born while the others were killed.
            kill(pid, Signal::SIGKILL).ok();
        }
        if !self.threads.contains_key(&raw)
            && let Some(process) = process_of(raw)
        {
            self.threads.insert(raw, Thread { process, inside: None });
        }
    }

    /// The end of a call that is waited for: before it, the filter stopped the thread.
    fn at_call(&mut self, pid: Pid) {
        self.meet(pid);
        // libc has the names of the kinds; the field is all that is needed.
        if ptrace::syscall_info(pid).map(|info| info.op) == Ok(libc::PTRACE_SYSCALL_INFO_EXIT) {
            self.after_call(pid);
        }
        self.go_on(pid, None);
    }

    fn before_call(&mut self, pid: Pid) {
        let Ok(mut regs) = ptrace::getregs(pid) else { return };
        let raw = pid.as_raw();
        if i64::try_from(regs.orig_rax) == Ok(libc::SYS_prctl) && regs.rdi == libc::PR_SET_DUMPABLE as u64 {
            // Undumpable processes hide their handles from a tracer that is not root.
            skip(pid, &mut regs, 0);
            return;
        }
        let Some(call) = Call::read(raw, &regs, &self.root).filter(|call| !self.is_output(call)) else { return };
        let Some(process) = self.threads.get(&raw).map(|thread| thread.process) else { return };
        let point = self.point(process, &call);
        let struck = self.blow.as_ref().filter(|(at, _)| *at == point).map(|(_, blow)| *blow);
        self.note(|notes| {
            notes.calls.push(point);
            notes.struck |= struck.is_some_and(|blow| !matches!(blow, Blow::Kill { after: true, .. }));
        });
        let inside = match struck {
            None if self.is_full() && call.needs_room() => return skip(pid, &mut regs, -i64::from(libc::ENOSPC)),
            None => self.witness.is_some().then_some(Inside::Watched(call)),
            Some(Blow::Kill { whole, after: true }) => Some(Inside::KillAfter { whole }),
            Some(Blow::Kill { whole, after: false }) => {
                self.blow = None;
                skip(pid, &mut regs, 0);
                self.kill(process, whole);
                return;
            }
            Some(Blow::Full) => {
                self.blow = None;
                self.full_since = Some(Instant::now());
                if call.needs_room() {
                    skip(pid, &mut regs, -i64::from(libc::ENOSPC));
                }
                return;
            }
            Some(Blow::Fail(errno)) => {
                self.blow = None;
                skip(pid, &mut regs, -i64::from(errno));
                return;
            }
        };
        if let Some(thread) = self.threads.get_mut(&raw) {
            thread.inside = inside;
        }
    }

    fn after_call(&mut self, pid: Pid) {
        let raw = pid.as_raw();
        let Some(thread) = self.threads.get_mut(&raw) else { return };
        let (process, Some(inside)) = (thread.process, thread.inside.take()) else { return };
        match inside {
            Inside::Watched(call) => {
                let result = ptrace::getregs(pid).map_or(-1, |regs| regs.rax.cast_signed());
                if let Some(witness) = &mut self.witness {
                    witness.done(raw, &call, result);
                }
            }
            Inside::KillAfter { whole } => {
                self.blow = None;
                self.note(|notes| notes.struck = true);
                self.kill(process, whole);
            }
        }
    }

    fn point(&mut self, process: i32, call: &Call) -> Point {
        let role = self.roles.entry(process).or_insert_with(|| role(process)).clone();
        let place = Place { role, call: call.name.to_owned(), path: normal(&call.path, &self.root) };
        let nth = self.counts.entry(place.clone()).or_default();
        *nth += 1;
        Point { place, nth: *nth }
    }

    fn kill(&mut self, own: i32, whole: bool) {
        self.power_is_off = whole;
        let mut processes: Vec<i32> = self.threads.values().map(|thread| thread.process).collect();
        processes.sort_unstable();
        processes.dedup();
        for process in processes.into_iter().filter(|process| whole || *process == own) {
            kill(Pid::from_raw(process), Signal::SIGKILL).ok();
        }
    }
}

/// Has the call do nothing, and end with `answer`.
fn skip(pid: Pid, regs: &mut libc::user_regs_struct, answer: i64) {
    // No call has that number: the kernel leaves the result as it finds it.
    regs.orig_rax = u64::MAX;
    regs.rax = answer.cast_unsigned();
    ptrace::setregs(pid, *regs).ok();
}

fn process_of(thread: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// What a process is, by its command line: its verb, and the version whose file it was started from.
fn role(process: i32) -> String {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words: Vec<_> =
        line.split(|byte| *byte == 0).map(String::from_utf8_lossy).filter(|word| !word.is_empty()).collect();
    let Some(program) = words.first() else { return "nobody".to_owned() };
    let part = match words.last().map(AsRef::as_ref) {
        Some("run") => "launcher",
        Some("worker") => "worker",
        Some("rehearse") => "rehearsal",
        Some("keep-state") => "errand",
        _ if words.iter().any(|word| word == "restore-state") => "errand",
        _ if words.iter().any(|word| word == "self-describe") => "description",
        _ => "cli",
    };
    let place = program.split_once("/versions/").map(|(_, rest)| rest.split('-').next().unwrap_or_default());
    format!("{part}/{}", place.unwrap_or("committed"))
}
