//! Programs of others, by their path: started beside a launcher, and reaped by it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::process::ChildPid;

/// Whether there is a file of that name which this process may execute.
#[must_use]
pub fn can_execute(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Exit, OutputPipe, Piece, wait_readable};
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn a_command_reads_nothing_sees_no_hidden_variable_and_gives_back_what_it_writes() {
        let (ours, theirs) = OutputPipe::new().unwrap();
        let script = "cat; echo \"$SHOWN-$HOME-$1\"; exit 3";
        let words = ["/bin/sh", "-c", script, "sh", "a b"].map(str::to_owned);
        let pid = spawn_command(&words, &[("SHOWN", "yes".into())], &["HOME"], &theirs).unwrap();
        drop(theirs);
        let (mut text, mut piece) = (Vec::new(), [0; 64]);
        loop {
            match ours.read_now(&mut piece) {
                Piece::Bytes(n) => text.extend(&piece[..n]),
                Piece::Nothing => wait_readable(&[ours.as_fd()], Duration::from_secs(20)).unwrap(),
                Piece::End => break,
            }
        }
        assert_eq!(String::from_utf8(text).unwrap(), "yes--a b\n");
        assert_eq!(wait_for(pid), Exit::Code(3));
    }

    /// Not by `reap`: that would take the children of other tests, too.
    fn wait_for(pid: ChildPid) -> Exit {
        let pid = rustix::process::Pid::from_raw(pid.as_raw());
        let (_, status) = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap().unwrap();
        Exit::Code(status.exit_status().unwrap())
    }

    #[test]
    fn what_is_no_program_is_known_before_and_is_an_error_at_the_start() {
        assert!(can_execute(Path::new("/bin/sh")));
        for path in ["/etc/passwd", "/bin", "/no/such"] {
            assert!(!can_execute(Path::new(path)), "{path}");
            let (_, theirs) = OutputPipe::new().unwrap();
            assert!(spawn_command(&[path.to_owned()], &[], &[], &theirs).is_err());
        }
        let (_, theirs) = OutputPipe::new().unwrap();
        assert!(spawn_command(&[], &[], &[], &theirs).is_err());
    }
}
