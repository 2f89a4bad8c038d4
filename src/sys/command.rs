//! Programs of others, by their path: started beside a launcher, and reaped by it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::process::ChildPid;

/// A standard input that is at its end.
pub fn nothing_to_read() -> io::Result<OwnedFd> {
    Ok(File::open("/dev/null")?.into())
}

/// Starts a program with its arguments, without a shell, in a process group of its own and with nothing to read. What it
/// writes goes to `output`.
pub fn spawn_command(
    words: &[String],
    env: &[(&str, OsString)],
    hidden_env: &[&str],
    output: &OwnedFd,
) -> io::Result<ChildPid> {
    let Some((program, args)) = words.split_first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let mut command = Command::new(program);
    command.args(args).process_group(0).stdin(Stdio::null());
    command.stdout(Stdio::from(output.try_clone()?)).stderr(Stdio::from(output.try_clone()?));
    for (name, value) in env {
        command.env(name, value);
    }
    for name in hidden_env {
        command.env_remove(name);
    }
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(ChildPid::adopt);
    pid.ok_or_else(|| io::Error::other("the system returned no process id"))
}
