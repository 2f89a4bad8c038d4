use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::error::SysError;

/// What a folder is to this process: whose it is, and what its file system allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The user id of its owner.
    pub owner: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Tells file systems apart.
    pub device: u64,
    /// Whether this process may make files in it.
    pub writable: bool,
    /// Whether its file system is mounted read-only.
    pub read_only: bool,
    /// Whether its file system is mounted noexec.
    pub no_exec: bool,
    /// Bytes that this user may still write there.
    pub free: u64,
}

impl Place {
    /// Looks at a folder. It is a description and no protection: what is done there judges again.
    pub fn of(folder: &Path) -> Result<Self, SysError> {
        let failed = |errno: Errno| SysError::io("examine", folder, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // A folder that may be entered and not read can still be examined.
        let open = |flags| rustix::fs::openat(CWD, folder, flags, Mode::empty());
        let fd = open(flags).or_else(|_| open(OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)).map_err(failed)?;
        let stat = rustix::fs::fstat(&fd).map_err(failed)?;
        let system = rustix::fs::fstatvfs(&fd).map_err(failed)?;
        let access = rustix::fs::accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
        Ok(Self {
            owner: stat.st_uid,
            mode: stat.st_mode & 0o7777,
            device: stat.st_dev,
            writable: access.is_ok(),
            read_only: system.f_flag.contains(StatVfsMountFlags::RDONLY),
            no_exec: system.f_flag.contains(StatVfsMountFlags::NOEXEC),
            free: system.f_bavail.saturating_mul(system.f_frsize),
        })
    }

    /// Looks at a folder, or where it is missing at the nearest one above it, and says which.
    pub fn nearest(folder: &Path) -> Result<(PathBuf, Self), SysError> {
        let mut at = folder;
        loop {
            match Self::of(at) {
                Err(error) if error.is_not_found() => match at.parent() {
                    Some(above) => at = above,
                    None => return Err(error),
                },
                outcome => return outcome.map(|place| (at.to_owned(), place)),
            }
        }
    }
}

/// The owner, permission bits and length of a file, links followed.
pub fn file_owner(path: &Path) -> Result<(u32, u32, u64), SysError> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::empty()).map_err(|errno| SysError::io("examine", path, errno))?;
    Ok((stat.st_uid, stat.st_mode & 0o7777, u64::try_from(stat.st_size).unwrap_or(0)))
}

/// What this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its effective user id.
    pub user: u32,
    /// Its umask, where the system tells.
    pub umask: Option<u32>,
    /// Whether it may set file capabilities (`CAP_SETFCAP`).
    pub sets_capabilities: bool,
}

const CAP_SETFCAP: u32 = 31;

impl Process {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let effective = field("CapEff:").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
        Self {
            user: rustix::process::geteuid().as_raw(),
            umask: field("Umask:").and_then(|octal| u32::from_str_radix(octal, 8).ok()),
            sets_capabilities: effective & 1 << CAP_SETFCAP != 0,
        }
    }
}

/// What says that this is a container, if something does.
#[must_use]
pub fn container_hint() -> Option<String> {
    for file in ["/.dockerenv", "/run/.containerenv"] {
        if Path::new(file).exists() {
            return Some(format!("{file} is there"));
        }
    }
    if let Ok(name) = std::env::var("KUBERNETES_SERVICE_HOST") {
        return Some(format!("KUBERNETES_SERVICE_HOST is {name}"));
    }
    let groups = std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    let engines = ["docker", "kubepods", "containerd", "libpod", "lxc"];
    engines
        .into_iter()
        .find(|engine| groups.contains(engine))
        .map(|engine| format!("process 1 is in a {engine} cgroup"))
}

const CAPABILITY: &str = "security.capability";

/// A file's capabilities, as the kernel stores them; `None`: it has none, or its file system keeps none.
pub fn file_capabilities(file: &File) -> io::Result<Option<Vec<u8>>> {
    // The longest form has 24 bytes.
    let mut value = [0; 64];
    match rustix::fs::fgetxattr(file, CAPABILITY, &mut value) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives a file capabilities, durably with its next fsync. Needs `CAP_SETFCAP`.
pub fn set_file_capabilities(file: &File, value: &[u8]) -> io::Result<()> {
    rustix::fs::fsetxattr(file, CAPABILITY, value, rustix::fs::XattrFlags::empty())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_whose_it_is_and_what_its_file_system_allows() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o710)).unwrap();
        let place = Place::of(folder.path()).unwrap();
        assert_eq!((place.owner, place.mode), (rustix::process::geteuid().as_raw(), 0o710));
        assert!(place.writable && !place.read_only && place.free > 0);
        let (nearest, again) = Place::nearest(&folder.path().join("a/b")).unwrap();
        assert_eq!((nearest.as_path(), again.device), (folder.path(), place.device));
    }

    #[test]
    fn mounts_that_forbid_executing_are_seen() {
        // /proc/mounts names one nearly everywhere: /proc itself, as a rule.
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        for line in mounts.lines() {
            let fields: Vec<_> = line.split(' ').collect();
            let (path, options) = (Path::new(fields[1]), fields[3]);
            // A mount below another of the same name hides it.
            let hidden = mounts.lines().filter(|line| line.split(' ').nth(1) == path.to_str()).count() > 1;
            if path.is_dir()
                && !hidden
                && let Ok(place) = Place::of(path)
            {
                assert_eq!(place.no_exec, options.split(',').any(|option| option == "noexec"), "{line}");
            }
        }
    }

    #[test]
    fn this_process_has_a_user_and_a_umask() {
        assert!(Process::this().umask.is_some_and(|umask| umask <= 0o777));
    }

    #[test]
    fn capabilities_survive_being_read_and_written() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(file_capabilities(&file).unwrap(), None);
        // cap_net_bind_service=ep, revision 2.
        let value: Vec<u8> = [0x0200_0001_u32, 1 << 10, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
        match set_file_capabilities(&file, &value) {
            Ok(()) => assert_eq!(file_capabilities(&file).unwrap(), Some(value)),
            Err(_) => assert!(!Process::this().sets_capabilities || file_capabilities(&file).unwrap().is_none()),
        }
    }
}
