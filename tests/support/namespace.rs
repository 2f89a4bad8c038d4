//! Mounts of a test's own: the test is run again, alone, in a mount namespace, which vanishes with it.

use std::path::Path;
use std::process::Command;

const INSIDE: &str = "TEST_HAS_MOUNTS_OF_ITS_OWN";

/// Runs `body` where mounts are this test's alone. `name` is the test's own, with its modules.
///
/// Fails where nobody lets it mount: what it shows would be shown nowhere else.
pub fn with_mounts_of_its_own(name: &str, body: impl FnOnce()) {
    alone(name, &[], body);
}

/// As [`with_mounts_of_its_own`], and what `body` starts is killed at its end, whatever it is.
pub fn with_processes_of_its_own(name: &str, body: impl FnOnce()) {
    alone(name, &["--pid", "--fork", "--kill-child", "--mount-proc"], body);
}

/// As [`with_mounts_of_its_own`], with interfaces and addresses of its own, too; loopback is up.
pub fn with_a_network_of_its_own(name: &str, body: impl FnOnce()) {
    alone(name, &["--net"], || {
        ip(&["link", "set", "lo", "up"]);
        body();
    });
}

/// `ip` with these arguments, in a network of the test's own.
#[track_caller]
pub fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).output().expect("this test needs ip (iproute2)");
    assert!(done.status.success(), "ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr));
}

fn alone(name: &str, more: &[&str], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]).args(more);
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let itself = std::env::current_exe().unwrap();
    let output = unshare.arg(itself).args(["--exact", name, "--nocapture"]).env(INSIDE, "1").output();
    let output = output.unwrap_or_else(|error| panic!("this test needs unshare (util-linux): {error}"));
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        !errors.starts_with("unshare:"),
        "this test mounts file systems, which this user may not even in a namespace of its own; run it as root: {errors}"
    );
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{errors}");
}

/// `mount` with these arguments, for folders of the test.
#[track_caller]
pub fn mount(options: &[&str], what: &Path, at: &Path) {
    let mount = Command::new("mount").args(options).args([what, at]).output().unwrap();
    let said = String::from_utf8_lossy(&mount.stderr);
    assert!(mount.status.success(), "mount {options:?} {} {}: {said}", what.display(), at.display());
}

/// An empty file system of its own at a folder.
#[track_caller]
pub fn mount_empty(at: &Path) {
    mount(&["-t", "tmpfs", "-o", "mode=755"], Path::new("none"), at);
}

/// A file system of its own at a folder, with so much room.
#[track_caller]
pub fn mount_small(at: &Path, size: &str) {
    mount(&["-t", "tmpfs", "-o", &format!("mode=755,size={size}")], Path::new("none"), at);
}

/// Puts a second mount of a folder over itself, with other options such as `ro` or `noexec`.
#[track_caller]
pub fn mount_over_itself(at: &Path, options: &str) {
    mount(&["--bind"], at, at);
    remount(at, options);
}

/// Changes the options of a mount made by [`mount_over_itself`].
#[track_caller]
pub fn remount(at: &Path, options: &str) {
    mount(&["-o", &format!("remount,bind,{options}")], Path::new("none"), at);
}
