use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use exuvia::install::{Install, InstallError, Installed};
use exuvia::sys::{Dir, file_capabilities, set_file_capabilities};
use sha2::{Digest, Sha256};

use crate::place::{NOBODY, Output, Place, copy};

fn checks(output: &Output, severity: &str) -> Vec<String> {
    let report = output.json();
    let findings = report["findings"].as_array().unwrap().iter();
    let mut checks: Vec<_> = findings
        .filter(|finding| finding["severity"] == severity)
        .map(|finding| finding["check"].as_str().unwrap().to_owned())
        .collect();
    checks.sort();
    checks
}

fn open_up(place: &Place, below: &str, mode: u32) {
    fs::set_permissions(place.path(below), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_place_of_ones_own_has_nothing_against_it_and_is_left_as_it_was() {
    let place = Place::new();
    let report = place.run(&["doctor", "--json"]).exits(0);
    assert_eq!(report.json()["can_upgrade"], true, "{report:#?}");
    assert!(!place.path("data").exists() && !place.path("bin/.exuvia").exists(), "looking makes nothing");
}

#[test]
fn somebody_elses_install_is_told_and_data_in_reach_lets_the_node_run() {
    let place = Place::new();
    fs::create_dir(place.path("data")).unwrap();
    place.give_to_nobody("data");
    let report = place.run_as_nobody(&["doctor", "--json"]).exits(3);
    assert_eq!(checks(&report, "no-upgrades"), ["wrong-user"]);
    assert_eq!(checks(&report, "cannot-run"), Vec::<String>::new());
}

#[test]
fn somebody_elses_data_prevents_running_whoever_looks() {
    let place = Place::new();
    fs::create_dir(place.path("data")).unwrap();
    let report = place.run_as_nobody(&["doctor", "--json"]).exits(9);
    assert_eq!(checks(&report, "cannot-run"), ["data"]);
    // Also for root, who could: what belongs to another is another's.
    place.give_to_nobody("data");
    assert_eq!(checks(&place.run(&["doctor", "--json"]).exits(9), "cannot-run"), ["data"]);
}

#[test]
fn a_folder_that_its_owner_may_not_write_prevents_upgrades() {
    let place = Place::new();
    for below in ["bin", "bin/exuvia", "releases", "exuvia.toml"] {
        place.give_to_nobody(below);
    }
    fs::create_dir(place.path("data")).unwrap();
    place.give_to_nobody("data");
    open_up(&place, "bin", 0o555);
    let report = place.run_as_nobody(&["doctor", "--json"]).exits(3);
    assert_eq!(checks(&report, "no-upgrades"), ["not-writable"]);
    open_up(&place, "bin", 0o755);
    place.run_as_nobody(&["doctor"]).exits(0);
}

#[test]
fn a_binary_that_others_may_write_prevents_upgrades() {
    let place = Place::new();
    open_up(&place, "bin/exuvia", 0o775);
    assert_eq!(checks(&place.run(&["doctor", "--json"]).exits(3), "no-upgrades"), ["writable-by-others"]);
}

#[test]
fn l5_a_program_whose_own_name_reads_like_the_kernels_mark_is_found() {
    let place = Place::new();
    let odd = place.path("bin/exuvia (deleted)");
    fs::rename(place.binary(), &odd).unwrap();
    let output =
        std::process::Command::new(&odd).env("EXUVIA_CONFIG", place.path("exuvia.toml")).arg("doctor").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_download_that_has_no_room_is_refused_before_it_begins() {
    let place = Place::new();
    place.configure("limits.archive = \"4194304GiB\"");
    place.publish(&["1.4.0=1125899906842624"]);
    let refused = place.run(&["upgrade"]).exits(9);
    assert!(refused.stderr.contains("nothing was downloaded"), "{refused:#?}");
    let staged = fs::read_dir(place.path("bin/.exuvia/staging")).unwrap().count();
    let versions = fs::read_dir(place.path("bin/.exuvia/versions")).unwrap();
    let versions: Vec<_> = versions.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(staged, 0);
    assert!(versions.iter().all(|name| !name.to_string_lossy().starts_with("1.4.0")), "{versions:?}");
}

/// `cap_net_bind_service=ep`, as the kernel stores it.
fn bind_low_ports() -> Vec<u8> {
    [0x0200_0001_u32, 1 << 10, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect()
}

fn version(install: &Install) -> Installed {
    let bytes = b"#!/bin/sh\n";
    let digest = hex::encode(Sha256::digest(bytes)).parse().unwrap();
    let installed = Installed { version: "1.4.0".parse().unwrap(), digest };
    let dir = install.make_version_dir(&installed).unwrap();
    let path = dir.path().join(install.program());
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    installed
}

#[test]
fn file_capabilities_go_to_the_new_version() {
    let place = Place::new();
    let home = Dir::open(place.path("bin")).unwrap();
    let value = bind_low_ports();
    if set_file_capabilities(&home.open_program("exuvia").unwrap().file, &value).is_err() {
        return; // A file system, or a container, that keeps none.
    }
    let install = Install::open(&place.binary(), &"exuvia".parse().unwrap()).unwrap();
    let installed = version(&install);
    install.carry_capabilities(&installed).unwrap();
    let carried = file_capabilities(install.open_version(&installed).unwrap().file()).unwrap();
    assert_eq!(carried, Some(value));
    let report = place.run(&["doctor", "--json"]).exits(0);
    assert!(checks(&report, "note").contains(&"capabilities".to_owned()), "{report:#?}");
}

/// Runs as somebody else in a process of its own: this test again, with the place in a variable.
#[test]
fn file_capabilities_that_may_not_be_given_are_refused_with_the_command_that_repairs_it() {
    const PLACE: &str = "EXUVIA_TEST_PLACE";
    if let Some(binary) = std::env::var_os(PLACE) {
        assert_eq!(rustix::process::geteuid().as_raw(), NOBODY);
        let install = Install::open(binary.as_ref(), &"exuvia".parse().unwrap()).unwrap();
        let installed = version(&install);
        let refused = install.carry_capabilities(&installed).unwrap_err();
        assert!(matches!(refused, InstallError::Capabilities { .. }), "{refused}");
        assert!(refused.to_string().contains("setfattr -n security.capability -v 0x01000002"), "{refused}");
        assert_eq!(file_capabilities(install.open_version(&installed).unwrap().file()).unwrap(), None);
        return;
    }
    let place = Place::new();
    for below in ["bin", "bin/exuvia"] {
        place.give_to_nobody(below);
    }
    // By root, and after the change of owner, which takes capabilities away.
    if set_file_capabilities(&fs::File::open(place.binary()).unwrap(), &bind_low_ports()).is_err() {
        return;
    }
    let itself = place.path("test");
    copy(&std::env::current_exe().unwrap(), &itself);
    let name = "doctor::file_capabilities_that_may_not_be_given_are_refused_with_the_command_that_repairs_it";
    let mut command = std::process::Command::new(itself);
    std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
    let output = command.args(["--exact", name]).env(PLACE, place.binary()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(fs::metadata(place.binary()).unwrap().uid(), NOBODY);
    let report = place.run(&["doctor", "--json"]);
    assert!(report.code == 9 || report.code == 3, "another's install: {report:#?}");
}

#[test]
fn an_install_of_somebody_else_tells_of_releases_and_never_upgrades() {
    let place = Place::new();
    place.publish(&["1.4.0"]);
    for below in ["data", "cache"] {
        fs::create_dir(place.path(below)).unwrap();
        place.give_to_nobody(below);
    }
    place.run_as_nobody(&["upgrade", "check"]).exits(100);
    let refused = place.run_as_nobody(&["upgrade"]).exits(3);
    assert!(refused.stderr.contains("cannot upgrade itself"), "{refused:#?}");
    assert!(!place.path("bin/.exuvia").exists(), "nothing is made beside another's binary");
}
