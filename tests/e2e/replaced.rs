//! Row L5: what else lays hands on the binary of a node that runs, and what a host's umask does.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::support::host::names;
use crate::support::{Host, wait_for};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn l5_a_running_binary_that_is_reinstalled_upgrades_at_its_own_path_and_not_at_a_deleted_one() {
    let host = Host::new();
    let node = host.start("one");
    // The same bytes as another file: /proc/self/exe says "(deleted)" from now on.
    host.install("1.0.0");
    let exe = fs::read_link(format!("/proc/{}/exe", node.launcher_pid())).unwrap();
    assert!(exe.to_string_lossy().ends_with(" (deleted)"), "{}", exe.display());
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    host.assert_committed("1.1.0");
    assert_eq!(names(&host.path("bin")), [".exuvia", "exuvia"]);
    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.0.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}

#[test]
fn l5_what_a_package_manager_installs_while_a_node_runs_is_never_replaced_by_its_upgrade() {
    let mut host = Host::new();
    let mut node = host.start_quiet("one");
    host.install("1.2.0");
    host.releases().publish("1.1.0");
    node.cli_when_idle(&["upgrade"]).exits(5).says("somebody installed another one");
    host.assert_committed("1.2.0");
    assert!(node.serves(), "what ran goes on running");
    node.stop();
    node.start();
    node.wait_until_it_runs("1.2.0");
    host.assert_clean(&["1.0.0", "1.2.0"], &[&node]);
}

#[test]
fn l5_nobody_can_write_to_a_running_binary_and_an_upgrade_does_not_try() {
    let host = Host::new();
    let node = host.start("one");
    let denied = File::options().write(true).open(host.binary()).unwrap_err();
    assert_eq!(denied.kind(), std::io::ErrorKind::ExecutableFileBusy);
    let before = fs::metadata(host.binary()).unwrap().ino();
    host.releases().publish("1.1.0");
    node.wait_until_it_runs("1.1.0");
    assert_ne!(fs::metadata(host.binary()).unwrap().ino(), before, "another file under the same name");
    host.assert_committed("1.1.0");
}

#[test]
fn l5_modes_do_not_depend_on_the_umask() {
    for umask in ["077", "000"] {
        let host = Host::new();
        let mut node = host.node("one");
        node.through(&["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
        node.start();
        node.wait_until_it_serves();
        host.releases().publish("1.1.0");
        node.wait_until_it_runs("1.1.0");
        assert_eq!(mode(&host.binary()), 0o755, "umask {umask}");
        for version in host.versions() {
            assert_eq!(mode(&host.path("bin/.exuvia/versions").join(version).join("exuvia")), 0o755, "umask {umask}");
        }
        for private in ["bin/.exuvia", "bin/.exuvia/versions", "cache", "cache/entries", "data/one"] {
            assert_eq!(mode(&host.path(private)), 0o700, "{private} under umask {umask}");
        }
        let record = host.path("bin/.exuvia/nodes/one.json");
        for file in [record, host.path("data/one/control.sock"), host.path("data/one/ledger.db")] {
            wait_for(|| format!("{} is there", file.display()), || file.exists().then_some(()));
            assert_eq!(mode(&file), 0o600, "{} under umask {umask}", file.display());
        }
    }
}
