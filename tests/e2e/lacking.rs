//! What a node lacks at its start costs it its upgrades, and never its service; and it takes what it lacked as
//! soon as that can be had, without a restart.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::namespace::{mount_over_itself, mount_small, remount, with_mounts_of_its_own};
use crate::support::{Host, Node};

/// Leaves no room on the file system of a folder.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut filler = fs::File::create(&path).unwrap();
    let piece = [0; 4096];
    while filler.write_all(&piece).is_ok() {}
    path
}

fn metric(node: &Node, name: &str) -> Option<String> {
    let (_, page) = node.get("/metrics")?;
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned)
}

#[test]
fn l2_a_node_that_starts_cold_on_a_full_disk_serves_and_upgrades_once_there_is_room() {
    let name = "lacking::l2_a_node_that_starts_cold_on_a_full_disk_serves_and_upgrades_once_there_is_room";
    with_mounts_of_its_own(name, || {
        let host = Host::new();
        fs::create_dir_all(host.path("data/one")).unwrap();
        mount_small(&host.path("data/one"), "4m");
        let mut node = host.start("one");
        node.wait_for("done with its first look", |status| !status["last_check"].is_null());
        assert!(node.stop().success());

        let filler = fill(&host.path("data/one"));
        node.start();
        node.wait_until_it_serves();
        let launcher = node.launcher_pid();
        let status = node.wait_for("says what it lacks", |status| !status["ledger_problem"].is_null());
        assert_eq!(status["node_id"], "unknown");
        host.releases().publish("1.1.0");
        node.wait_for("refuses by itself", |status| status["last_check"]["result"] == "ledger");
        node.cli_when_idle(&["upgrade"]).exits(9).says("serves without its history");
        node.cli(&["status"]).exits(0).says("history    cannot be opened");
        assert_eq!(metric(&node, "exuvia_ledger_usable").as_deref(), Some("0"));
        assert!(node.log().contains("ledger_unusable"), "{}", node.log());
        host.assert_committed("1.0.0");

        fs::remove_file(filler).unwrap();
        node.wait_until_it_runs("1.1.0");
        assert_eq!((node.launcher_pid(), metric(&node, "exuvia_ledger_usable").as_deref()), (launcher, Some("1")));
        assert!(node.log().contains("worker_asks_for_another"), "{}", node.log());
        host.assert_committed("1.1.0");
        host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    });
}

#[test]
fn l5_a_read_only_install_that_can_be_written_again_is_taken_into_use_without_a_restart() {
    let name = "lacking::l5_a_read_only_install_that_can_be_written_again_is_taken_into_use_without_a_restart";
    with_mounts_of_its_own(name, || {
        let host = Host::new();
        mount_over_itself(&host.path("bin"), "ro");
        host.releases().publish("1.1.0");
        let node = host.start("one");
        node.wait_for("notify-only", |status| status["can_upgrade"] == false && !status["last_check"].is_null());
        let launcher = node.launcher_pid();
        assert!(!host.path("bin/.exuvia").exists());

        remount(&host.path("bin"), "rw");
        node.wait_until_it_runs("1.1.0");
        assert_eq!(node.launcher_pid(), launcher);
        assert!(node.log().contains("upgrades_supported") && node.log().contains("rescue_renewed"), "{}", node.log());
        host.assert_committed("1.1.0");
        host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
    });
}
