//! The system calls that change what lies on disk, and how they may fail.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use nix::libc::{self, user_regs_struct};

use super::table::{CALLS, Target};

/// A system call that is about to change something below the folder that is watched.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// What it changes, as an absolute path.
    pub path: PathBuf,
    /// Whether the file has no name (any more), so that nothing of it outlives its handles.
    pub unnamed: bool,
    /// What it changes, where it was given as an open handle.
    pub fd: Option<i32>,
}

/// The errors that a call may end with, by the pages of manual section 2. A call that finds no room
/// says ENOSPC or EDQUOT; one that only looks up and makes names says EROFS and EACCES, too.
pub fn errors_of(name: &str) -> &'static [(&'static str, i32)] {
    const SPACE: (&str, i32) = ("ENOSPC", libc::ENOSPC);
    const QUOTA: (&str, i32) = ("EDQUOT", libc::EDQUOT);
    const INPUT: (&str, i32) = ("EIO", libc::EIO);
    const READ_ONLY: (&str, i32) = ("EROFS", libc::EROFS);
    const ACCESS: (&str, i32) = ("EACCES", libc::EACCES);
    const FILES: (&str, i32) = ("EMFILE", libc::EMFILE);
    match name {
        "write" | "pwrite64" | "writev" | "pwritev" | "sendfile" | "copy_file_range" | "splice" | "fallocate"
        | "fsync" | "fdatasync" | "sync_file_range" => &[SPACE, QUOTA, INPUT],
        "open" | "openat" | "creat" => &[SPACE, QUOTA, INPUT, READ_ONLY, ACCESS, FILES],
        "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2" | "link" | "linkat" | "symlink" | "symlinkat"
        | "mknodat" | "fsetxattr" | "setxattr" => &[SPACE, QUOTA, INPUT, READ_ONLY, ACCESS],
        "bind" => &[SPACE, READ_ONLY, ACCESS],
        _ => &[INPUT, READ_ONLY, ACCESS],
    }
}

impl Call {
    /// Whether a full disk has no room for it: for what is new. What is there can be opened, renamed,
    /// synced and removed.
    pub fn needs_room(&self) -> bool {
        match self.name {
            "write" | "pwrite64" | "writev" | "pwritev" | "sendfile" | "copy_file_range" | "splice" | "fallocate" => {
                true
            }
            "open" | "openat" | "creat" | "mkdir" | "mkdirat" | "mknodat" | "link" | "linkat" | "symlink"
            | "symlinkat" | "bind" => std::fs::symlink_metadata(&self.path).is_err(),
            _ => false,
        }
    }

    /// The call that a process stands before, if it is one that changes something below `root`.
    pub fn read(pid: i32, regs: &user_regs_struct, root: &Path) -> Option<Self> {
        let number = i64::try_from(regs.orig_rax).ok()?;
        let (_, name, target) = CALLS.iter().find(|(call, ..)| *call == number)?;
        let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
        let (path, fd) = match *target {
            Target::Fd(at) => (handle(pid, args[at])?, Some(signed(args[at]))),
            Target::Path(at) => (resolve(pid, None, &text(pid, args[at])?)?, None),
            Target::At(dir, at) => (resolve(pid, Some(args[dir]), &text(pid, args[at])?)?, None),
            Target::CreateAt(dir, at, flags) => {
                let flags = signed(args[flags]);
                // O_TMPFILE contains O_DIRECTORY.
                let new = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
                let dir = args.get(dir).copied();
                let path = resolve(pid, dir, &text(pid, args[at]).filter(|_| new)?)?;
                (if flags & libc::O_TMPFILE == libc::O_TMPFILE { path.join("#0 (deleted)") } else { path }, None)
            }
            Target::Bind => (socket_path(pid, args[1], args[2])?, None),
        };
        let unnamed = path.to_string_lossy().ends_with(" (deleted)");
        path.starts_with(root).then_some(Self { name, path, unnamed, fd })
    }
}

/// File descriptors are 32 bits wide, whatever the rest of the register holds.
fn signed(register: u64) -> i32 {
    #[allow(clippy::cast_possible_truncation, reason = "the lower half is the argument")]
    let lower = register as u32;
    lower.cast_signed()
}

/// Where an open handle leads; only paths, no sockets or pipes.
fn handle(pid: i32, fd: u64) -> Option<PathBuf> {
    let link = format!("/proc/{pid}/fd/{}", signed(fd));
    std::fs::read_link(link).ok().filter(|path| path.is_absolute())
}

fn resolve(pid: i32, dir: Option<u64>, name: &str) -> Option<PathBuf> {
    let name = Path::new(name);
    let below = |dir: PathBuf, rest: &Path| Some(lexical(&dir.join(rest)));
    // A path through an open handle, as libraries are given it.
    if let Ok(rest) = name.strip_prefix("/proc/self/fd") {
        let mut parts = rest.components();
        let fd: u64 = parts.next()?.as_os_str().to_str()?.parse().ok()?;
        return below(handle(pid, fd)?, parts.as_path());
    }
    match dir {
        _ if name.is_absolute() => Some(lexical(name)),
        Some(fd) if signed(fd) != libc::AT_FDCWD => below(handle(pid, fd)?, name),
        _ => below(std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?, name),
    }
}

fn lexical(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

fn memory(pid: i32, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = File::open(format!("/proc/{pid}/mem")).ok()?.read_at(&mut bytes, at).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

fn text(pid: i32, at: u64) -> Option<String> {
    let mut text = Vec::new();
    // Up to the end of its page first: the next one may not be there.
    let mut from = at;
    while text.len() < 4096 {
        let piece = memory(pid, from, usize::try_from(4096 - from % 4096).ok()?)?;
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            text.extend(&piece[..end]);
            return String::from_utf8(text).ok();
        }
        from += piece.len() as u64;
        text.extend(piece);
    }
    None
}

fn socket_path(pid: i32, at: u64, length: u64) -> Option<PathBuf> {
    let address = memory(pid, at, usize::try_from(length).ok()?)?;
    let family = u16::from_ne_bytes([*address.first()?, *address.get(1)?]);
    if i32::from(family) != libc::AF_UNIX {
        return None;
    }
    let name = address[2..].split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    resolve(pid, None, name)
}
