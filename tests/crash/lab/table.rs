//! Which system calls count, and where their arguments say what they change. Also for the program that has a tracer
//! stop at these alone: `only_changes.rs`.

use nix::libc;

/// Where a call's arguments say what it changes.
#[derive(Clone, Copy)]
pub enum Target {
    /// An open file in that argument.
    Fd(usize),
    /// A path in that argument, relative to the working directory.
    Path(usize),
    /// A directory handle in the first argument, a path in the second.
    At(usize, usize),
    /// As `At`, when the flags in that argument ask for a new file.
    CreateAt(usize, usize, usize),
    /// A socket's address.
    Bind,
}

/// Every call that counts, with its name.
pub const CALLS: &[(i64, &str, Target)] = &[
    (libc::SYS_write, "write", Target::Fd(0)),
    (libc::SYS_pwrite64, "pwrite64", Target::Fd(0)),
    (libc::SYS_writev, "writev", Target::Fd(0)),
    (libc::SYS_pwritev, "pwritev", Target::Fd(0)),
    (libc::SYS_sendfile, "sendfile", Target::Fd(0)),
    (libc::SYS_copy_file_range, "copy_file_range", Target::Fd(2)),
    (libc::SYS_splice, "splice", Target::Fd(2)),
    (libc::SYS_ftruncate, "ftruncate", Target::Fd(0)),
    (libc::SYS_truncate, "truncate", Target::Path(0)),
    (libc::SYS_fallocate, "fallocate", Target::Fd(0)),
    (libc::SYS_fsync, "fsync", Target::Fd(0)),
    (libc::SYS_fdatasync, "fdatasync", Target::Fd(0)),
    (libc::SYS_sync_file_range, "sync_file_range", Target::Fd(0)),
    (libc::SYS_fchmod, "fchmod", Target::Fd(0)),
    (libc::SYS_chmod, "chmod", Target::Path(0)),
    (libc::SYS_fchmodat, "fchmodat", Target::At(0, 1)),
    (libc::SYS_fchmodat2, "fchmodat2", Target::At(0, 1)),
    (libc::SYS_fchown, "fchown", Target::Fd(0)),
    (libc::SYS_fchownat, "fchownat", Target::At(0, 1)),
    (libc::SYS_utimensat, "utimensat", Target::At(0, 1)),
    (libc::SYS_fsetxattr, "fsetxattr", Target::Fd(0)),
    (libc::SYS_setxattr, "setxattr", Target::Path(0)),
    (libc::SYS_fremovexattr, "fremovexattr", Target::Fd(0)),
    (libc::SYS_open, "open", Target::CreateAt(usize::MAX, 0, 1)),
    (libc::SYS_openat, "openat", Target::CreateAt(0, 1, 2)),
    (libc::SYS_creat, "creat", Target::Path(0)),
    (libc::SYS_mkdir, "mkdir", Target::Path(0)),
    (libc::SYS_mkdirat, "mkdirat", Target::At(0, 1)),
    (libc::SYS_mknodat, "mknodat", Target::At(0, 1)),
    (libc::SYS_rmdir, "rmdir", Target::Path(0)),
    (libc::SYS_unlink, "unlink", Target::Path(0)),
    (libc::SYS_unlinkat, "unlinkat", Target::At(0, 1)),
    (libc::SYS_rename, "rename", Target::Path(1)),
    (libc::SYS_renameat, "renameat", Target::At(2, 3)),
    (libc::SYS_renameat2, "renameat2", Target::At(2, 3)),
    (libc::SYS_link, "link", Target::Path(1)),
    (libc::SYS_linkat, "linkat", Target::At(2, 3)),
    (libc::SYS_symlink, "symlink", Target::Path(1)),
    (libc::SYS_symlinkat, "symlinkat", Target::At(1, 2)),
    (libc::SYS_bind, "bind", Target::Bind),
];

/// Where the tracer has to be told of a call.
#[derive(Debug)]
pub struct Stop {
    /// The call.
    pub number: i64,
    /// Any of these is enough: the argument by its number, which bits of it, and what they must be. None: always.
    pub only_where: Vec<(u8, u64, u64)>,
}

/// Every call that counts, and the one with which a process hides its handles.
pub fn stops() -> impl Iterator<Item = Stop> {
    let bits = |bits: i32| u64::from(bits.cast_unsigned());
    let stop = move |&(number, _, target): &(i64, &str, Target)| {
        let only_where = match target {
            Target::CreateAt(_, _, flags) => {
                let flags = u8::try_from(flags).expect("of six");
                [libc::O_CREAT, libc::O_TMPFILE].map(|new| (flags, bits(new), bits(new))).to_vec()
            }
            _ => Vec::new(),
        };
        Stop { number, only_where }
    };
    let hiding = (0, u64::from(u32::MAX), bits(libc::PR_SET_DUMPABLE));
    CALLS.iter().map(stop).chain([Stop { number: libc::SYS_prctl, only_where: vec![hiding] }])
}
