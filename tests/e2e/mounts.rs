//! Row L5: file systems that allow less than is usual, really mounted, in a namespace of each test's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::namespace::{mount_empty, mount_over_itself, remount, with_mounts_of_its_own};
use crate::support::{Host, wait_for};

/// As a process that was started before its folder was mounted otherwise: the program is executed
/// through a handle of before.
fn run_from_before(host: &Host, config: &Path, verb: &str, then: &str) -> (i32, String) {
    let script = format!("exec 3<\"$0\"; {then}; exec /proc/self/fd/3 --config \"$1\" --json {verb}");
    let output = Command::new("bash").args(["-c", &script]).arg(host.binary()).arg(config).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn l5_install_cache_and_data_on_three_file_systems_upgrade() {
    with_mounts_of_its_own("mounts::l5_install_cache_and_data_on_three_file_systems_upgrade", || {
        let host = Host::new();
        for folder in ["bin", "cache", "data"] {
            fs::create_dir_all(host.path(folder)).unwrap();
            mount_empty(&host.path(folder));
        }
        host.install("1.0.0");
        let node = host.start("one");
        host.releases().publish("1.1.0");
        node.wait_until_it_runs("1.1.0");
        host.assert_committed("1.1.0");
        let report = node.cli(&["doctor", "--json"]).exits(0).json();
        let notes: Vec<_> = report["findings"].as_array().unwrap().iter().map(|finding| &finding["check"]).collect();
        assert!(notes.iter().any(|check| *check == "data") && notes.iter().any(|check| *check == "cache"), "{report}");
        node.cli_when_idle(&["rollback"]).exits(0);
        node.wait_until_it_runs("1.0.0");
        host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    });
}

#[test]
fn l5_a_read_only_install_runs_tells_of_releases_and_upgrades_once_it_may_be_written() {
    let name = "mounts::l5_a_read_only_install_runs_tells_of_releases_and_upgrades_once_it_may_be_written";
    with_mounts_of_its_own(name, || {
        let mut host = Host::new();
        mount_over_itself(&host.path("bin"), "ro");
        host.releases().publish("1.1.0");
        let mut node = host.start_quiet("one");
        node.wait_for("notify-only", |status| status["can_upgrade"] == false);
        node.cli_when_idle(&["upgrade", "check"]).exits(100).says("1.1.0");
        node.cli_when_idle(&["upgrade"]).exits(3).says("cannot upgrade itself");
        let report = node.cli(&["doctor", "--json"]).exits(3).json();
        assert_eq!(report["findings"][0]["check"], "read-only", "{report}");
        assert!(!host.path("bin/.exuvia").exists());
        host.assert_committed("1.0.0");

        remount(&host.path("bin"), "rw");
        node.stop();
        node.start();
        node.wait_until_it_runs("1.1.0");
        host.assert_committed("1.1.0");
    });
}

#[test]
fn l5_an_install_that_becomes_read_only_while_it_runs_changes_nothing_and_goes_on_afterwards() {
    let name = "mounts::l5_an_install_that_becomes_read_only_while_it_runs_changes_nothing_and_goes_on_afterwards";
    with_mounts_of_its_own(name, || {
        let mut host = Host::new();
        mount_over_itself(&host.path("bin"), "rw");
        let node = host.start_quiet("one");
        remount(&host.path("bin"), "ro");
        host.releases().publish("1.1.0");
        node.cli_when_idle(&["upgrade"]).exits(9).says("Read-only file system");
        assert!(node.serves());
        host.assert_committed("1.0.0");
        remount(&host.path("bin"), "rw");
        node.cli_when_idle(&["upgrade"]).exits(0);
        node.wait_until_it_runs("1.1.0");
        host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    });
}

#[test]
fn l5_an_install_that_becomes_noexec_blames_the_host_and_not_the_release() {
    let name = "mounts::l5_an_install_that_becomes_noexec_blames_the_host_and_not_the_release";
    with_mounts_of_its_own(name, || {
        let host = Host::new();
        let bin = host.path("bin");
        mount_over_itself(&bin, "exec");
        // Processes that run stay. The command line would be executed anew, and cannot be: the node itself
        // meets the release at its next look.
        let node = host.start("one");
        remount(&bin, "noexec");
        host.releases().publish("1.1.0");
        wait_for(
            || format!("the candidate cannot be executed\n{}", node.log()),
            || node.log().contains("is mounted noexec").then_some(()),
        );
        assert!(node.serves());
        host.assert_committed("1.0.0");
        remount(&bin, "exec");
        // No veto had to be lifted.
        node.wait_until_it_runs("1.1.0");
        host.assert_committed("1.1.0");
    });
}

#[test]
fn l5_doctor_names_a_noexec_install() {
    with_mounts_of_its_own("mounts::l5_doctor_names_a_noexec_install", || {
        let host = Host::new();
        host.node("one");
        let bin = host.path("bin");
        let mount = format!("mount --bind {0} {0} && mount -o remount,bind,noexec {0}", bin.display());
        let (code, said) = run_from_before(&host, &host.path("one.toml"), "doctor", &mount);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("\"noexec\"") && said.contains("remount,exec"), "{said}");
        assert!(!host.path("bin/.exuvia").exists());
    });
}
