//! Who descends from whom, and the end of those whose ancestor has ended.

use std::collections::HashSet;
use std::time::Duration;
use std::{fs, io};

use rustix::process::Pid;

use super::process::ChildPid;

/// The children that this process has just now, whoever started them: a shell that became this program may
/// have started some, to read its log.
#[must_use]
pub fn own_children() -> Vec<ChildPid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_child(*pid)).filter_map(ChildPid::adopt).collect()
}

/// Kills every process whose environment says that it descends from the process marked `marker`
/// (`NAME=value`): also those that left its process group and session. Returns how many.
///
/// One that may not be looked into, or that has cleared its environment, bears no mark. It is taken for marked
/// when it is an orphan that this process inherited (see [`become_subreaper`](super::become_subreaper)): a child, and none of
/// `children`, whom this process started itself or had before it inherited any.
#[must_use]
pub fn kill_marked(marker: &str, children: &[ChildPid]) -> usize {
    kill_where(marker, |pid| is_child(pid) && !children.iter().any(|child| child.as_raw() == pid))
}

/// As [`kill_marked`], for a process that has started none of them: one without a mark is left alone.
#[must_use]
pub fn kill_strays(marker: &str) -> usize {
    kill_where(marker, |_| false)
}

fn kill_where(marker: &str, unmarked_is_meant: impl Fn(i32) -> bool) -> usize {
    let mut killed = HashSet::new();
    let name = &marker[..=marker.find('=').unwrap_or(marker.len() - 1)];
    // A process may fork while we look: look until a round finds nothing new, at most a few rounds.
    for _ in 0..8 {
        let before = killed.len();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let bears_it = match fs::read(entry.path().join("environ")) {
                Ok(environ) => {
                    let mark = environ.split(|&byte| byte == 0).find(|variable| variable.starts_with(name.as_bytes()));
                    mark.map_or_else(|| unmarked_is_meant(pid), |mark| mark == marker.as_bytes())
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => unmarked_is_meant(pid),
                Err(_) => false,
            };
            let own = u32::try_from(pid) == Ok(std::process::id());
            if bears_it
                && !own
                && let Some(pid) = Pid::from_raw(pid)
            {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
                killed.insert(pid);
            }
        }
        if killed.len() == before {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.len()
}

/// Whether this process is the parent of `pid`: the fourth field of its `stat`, after the name in brackets.
fn is_child(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
    parent == Some(std::process::id())
}
