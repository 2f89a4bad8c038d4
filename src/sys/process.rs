use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::{Pid, WaitOptions};

use super::descent::kill_strays;
use super::error::SysError;

/// A process that this one started and will reap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChildPid(Pid);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match Signal::try_from(*signal) {
                Ok(name) => write!(f, "signal {signal} ({name})"),
                Err(_) => write!(f, "signal {signal}"),
            },
        }
    }
}

/// What to start, from an open handle: the bytes that run are the bytes behind the handle, whatever
/// its path names by then.
#[derive(Debug)]
pub struct Program<'a> {
    /// The executable's handle.
    pub handle: &'a File,
    /// What the program sees as its name.
    pub name: &'a OsStr,
    /// Its arguments.
    pub args: &'a [OsString],
    /// Variables to set on top of this process's own.
    pub env: &'a [(&'a str, OsString)],
    /// Variables to take away.
    pub hidden_env: &'a [&'a str],
}

impl Program<'_> {
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.handle.as_raw_fd()))
    }

    /// The program as a [`Command`], in a process group of its own.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.path());
        command.arg0(self.name).args(self.args).process_group(0);
        for (name, value) in self.env {
            command.env(name, value);
        }
        for name in self.hidden_env {
            command.env_remove(name);
        }
        command
    }

    /// Starts the program as a child in a process group of its own.
    pub fn spawn(&self, stdin: OwnedFd, output: &OwnedFd) -> io::Result<ChildPid> {
        let mut command = self.command();
        command.stdin(Stdio::from(stdin));
        command.stdout(Stdio::from(output.try_clone()?)).stderr(Stdio::from(output.try_clone()?));
        // Reaped by `reap`, also after an exec of this process: the `Child` would know nothing of it.
        let child = retry_text_busy(|| command.spawn())?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        pid.map(ChildPid).ok_or_else(|| io::Error::other("the system returned no process id"))
    }

    /// Becomes the program: pid, children, pending signals and the signal mask stay. Returns only
    /// on failure. Standard input becomes `stdin`; every other descriptor but the standard ones closes.
    pub fn exec(&self, stdin: &impl AsFd) -> io::Error {
        let text = |bytes: &OsStr| CString::new(bytes.as_bytes()).map_err(io::Error::from);
        let attempt = || -> io::Result<()> {
            let path = text(self.path().as_os_str())?;
            let args = std::iter::once(Ok(self.name))
                .chain(self.args.iter().map(|arg| Ok(arg.as_os_str())))
                .map(|arg: io::Result<&OsStr>| text(arg?))
                .collect::<io::Result<Vec<_>>>()?;
            let mut env: Vec<CString> = Vec::new();
            for (name, value) in std::env::vars_os() {
                let replaced = self.env.iter().any(|(set, _)| name == *set);
                if !replaced && !self.hidden_env.iter().any(|hidden| name == *hidden) {
                    env.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
                }
            }
            for (name, value) in self.env {
                env.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
            }
            let before = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
            rustix::stdio::dup2_stdin(stdin)?;
            // execve(2) and not `CommandExt::exec`: the latter empties the signal mask first, and a
            // SIGTERM in that moment would end a process that is about to be replaced.
            let outcome = retry_text_busy(|| match nix::unistd::execve(&path, &args, &env) {
                Ok(never) => match never {},
                Err(errno) => Err(io::Error::from(errno)),
            });
            rustix::stdio::dup2_stdin(before)?;
            outcome
        };
        attempt().err().unwrap_or_else(|| io::Error::other("exec returned"))
    }
}

/// How a bounded run ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it ended; `None`: it did not within its time, and was killed.
    pub exit: Option<Exit>,
    /// What it wrote to standard output, at most the limit.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, at most the limit.
    pub stderr: Vec<u8>,
}

/// Runs a program to its end, for at most `patience`, keeping at most `limit` bytes of each output.
/// Whatever it started is killed with it: what is in its process group, and what bears the variable `mark`,
/// which must be set to a value that no other process of the host has. Its standard input is `stdin`, else
/// empty. Blocks; for processes that do not use [`reap`].
pub fn run_bounded(
    program: &Program<'_>,
    mark: &str,
    stdin: Option<OwnedFd>,
    patience: Duration,
    limit: u64,
) -> io::Result<Ran> {
    let mut command = program.command();
    command.stdin(stdin.map_or_else(Stdio::null, Stdio::from)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = retry_text_busy(|| command.spawn())?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).map(ChildPid);
    let reader = |pipe: Option<Box<dyn io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            if let Some(mut pipe) = pipe {
                pipe.by_ref().take(limit).read_to_end(&mut kept).ok();
                // The rest is read and dropped, so that the writer is not stopped by a full pipe.
                io::copy(&mut pipe, &mut io::sink()).ok();
            }
            kept
        })
    };
    let stdout = reader(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = reader(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let deadline = std::time::Instant::now() + patience;
    let exit = loop {
        match child.try_wait()? {
            Some(status) => {
                use std::os::unix::process::ExitStatusExt;
                break Some(status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or(0)), Exit::Code));
            }
            None if std::time::Instant::now() >= deadline => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    // Also what it left behind holds the pipes open.
    if let Some(group) = group {
        group.kill_group();
    }
    for (name, value) in program.env.iter().filter(|(name, _)| *name == mark) {
        let _ = kill_strays(&format!("{name}={}", value.to_string_lossy()));
    }
    child.wait()?;
    let kept = |thread: std::thread::JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    Ok(Ran { exit, stdout: kept(stdout), stderr: kept(stderr) })
}

/// The program that this process executes: its handle, and the path it had when it was started.
pub fn own_program() -> Result<(File, PathBuf), SysError> {
    const LINK: &str = "/proc/self/exe";
    let file = File::open(LINK).map_err(|error| SysError::io("open", LINK, error))?;
    let path = fs::read_link(LINK).map_err(|error| SysError::io("read", LINK, error))?;
    // The kernel marks a file that was replaced since: the path before the mark is the one that counts.
    let path = match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(before) if !names(&path, &file) => PathBuf::from(before),
        _ => path,
    };
    Ok((file, path))
}

/// Whether the path leads to this very file.
fn names(path: &Path, file: &File) -> bool {
    let place = |meta: fs::Metadata| (meta.dev(), meta.ino());
    fs::metadata(path).map(place).ok().is_some_and(|there| file.metadata().map(place).ok() == Some(there))
}

/// A file just written is "busy" for as long as some other thread's child, between its fork and its
/// exec, still holds the writing handle: a matter of milliseconds.
fn retry_text_busy<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..50 {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome,
        }
    }
    attempt()
}

/// Whether the system refused to execute a program for a reason of its own, and not of the program's:
/// the mount forbids it, or files, memory or processes have run out.
#[must_use]
pub fn blames_host(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(
            Errno::ACCESS
                | Errno::PERM
                | Errno::TXTBSY
                | Errno::NOMEM
                | Errno::AGAIN
                | Errno::MFILE
                | Errno::NFILE
                | Errno::IO
        )
    )
}

impl ChildPid {
    /// The number, for records and messages.
    #[must_use]
    pub fn as_raw(self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    /// The child that a predecessor of this same process started.
    #[must_use]
    pub fn adopt(raw: i32) -> Option<Self> {
        Pid::from_raw(raw).map(Self)
    }

    /// Sends a signal to the child alone. Gone already is fine.
    pub fn signal(self, signal: Signal) {
        if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
            rustix::process::kill_process(self.0, signal).ok();
        }
    }

    /// Kills the child's whole process group. Gone already is fine.
    pub fn kill_group(self) {
        rustix::process::kill_process_group(self.0, rustix::process::Signal::KILL).ok();
    }
}

/// Collects every child that has ended since the last call, whoever started it.
#[must_use]
pub fn reap() -> Vec<(ChildPid, Exit)> {
    let mut ended = Vec::new();
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        let exit = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => continue,
        };
        ended.push((ChildPid(pid), exit));
    }
    ended
}

/// Makes this process inherit, and so reap, what its children leave behind.
pub fn become_subreaper() -> io::Result<()> {
    rustix::process::set_child_subreaper(Pid::from_raw(1)).map_err(io::Error::from)
}

/// Keeps other processes of the same user from reading this one's memory, and from dumping it.
pub fn forbid_dumping() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    /// A copy of `true`, and a handle on it that may be written to.
    fn program(dir: &Path) -> (PathBuf, File) {
        let path = dir.join("program");
        fs::copy("/bin/true", &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let writer = File::options().append(true).open(&path).unwrap();
        (path, writer)
    }

    fn run(path: &Path) -> io::Result<Ran> {
        let handle = File::open(path)?;
        let program = Program { handle: &handle, name: OsStr::new("program"), args: &[], env: &[], hidden_env: &[] };
        run_bounded(&program, "MARK", None, Duration::from_secs(10), 1024)
    }

    #[test]
    fn l5_a_program_that_is_still_open_for_writing_elsewhere_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (path, writer) = program(dir.path());
        let closing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(writer);
        });
        assert_eq!(run(&path).unwrap().exit, Some(Exit::Code(0)));
        closing.join().unwrap();
    }

    #[test]
    fn l5_a_program_that_stays_open_for_writing_is_given_up_and_the_host_is_blamed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _writer) = program(dir.path());
        let error = run(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ExecutableFileBusy);
        assert!(blames_host(&error));
    }

    #[test]
    fn a_program_that_cannot_be_one_is_not_the_hosts_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, "no program").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!blames_host(&run(&path).unwrap_err()));
    }

    #[test]
    fn what_ends_takes_those_with_its_mark_along_and_no_other_that_shares_a_variable_with_it() {
        // Leaves somebody behind who left its group, under the mark that it was given.
        let script = "setsid sleep 60 >/dev/null 2>&1 & echo $!";
        let (handle, args) = (File::open("/bin/sh").unwrap(), ["-c", script].map(OsString::from));
        let mut other = Command::new("sleep").arg("60").env("SHARED", "1").env("MARK", "another").spawn().unwrap();
        let env = [("MARK", OsString::from("this one's own")), ("SHARED", OsString::from("1"))];
        let program = Program { handle: &handle, name: OsStr::new("sh"), args: &args, env: &env, hidden_env: &[] };
        let ran = run_bounded(&program, "MARK", None, Duration::from_secs(10), 1024).unwrap();
        let left: i32 = String::from_utf8(ran.stdout).unwrap().trim().parse().unwrap();
        let is_gone = || fs::read_to_string(format!("/proc/{left}/stat")).map_or(true, |stat| stat.contains(") Z "));
        // It is killed by then, and the kernel may still be at it.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !is_gone() {
            assert!(Instant::now() < deadline, "process {left} was left behind");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(other.try_wait().unwrap().is_none(), "somebody else was killed");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
