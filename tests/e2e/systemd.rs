//! The unit that ships, run by a real systemd: every restriction in force, upgrades, and a rescue by `ExecStartPre=`.
//!
//! The manager is a user's (`systemd --user`), in namespaces of the test's own: it cannot change to `User=`, which is
//! left out; all else is as it ships, but for shorter times.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::namespace::{mount, with_processes_of_its_own};
use crate::support::node::{get, run};
use crate::support::{Host, builds, wait_for};

const SYSTEMD: &str = "/lib/systemd/systemd";
/// Not below /run/user, which `ProtectHome=` hides: a system's manager is heard of elsewhere, too.
const RUNTIME: &str = "/run/manager";
const BINARY: &str = "/opt/exuvia/bin/exuvia";

/// A manager that has the unit.
struct Manager {
    process: Child,
    port: u16,
}

impl Manager {
    fn start(host: &Host, port: u16) -> Self {
        for folder in ["/run", "/opt"] {
            mount(&["-t", "tmpfs", "-o", "mode=755"], Path::new("none"), Path::new(folder));
        }
        for folder in ["/opt/exuvia/bin", "/run/home", "/run/systemd/system", "/run/systemd/user", RUNTIME] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::set_permissions("/opt/exuvia/bin", fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(builds::exuvia("1.0.0"), BINARY).unwrap();
        // What a system's manager puts over paths that a unit may not reach.
        let hidden = "for at in /run/systemd \"$0/systemd\"; do at=$at/inaccessible; mkdir -p $at/dir; : >$at/reg; mkfifo $at/fifo; \
                      mknod $at/chr c 0 0; mknod $at/blk b 0 0; : >$at/sock; chmod 000 $at/*; done";
        assert!(Command::new("sh").args(["-euc", hidden, RUNTIME]).status().unwrap().success());
        let unit = fs::read_to_string(builds::root().join("release/systemd/exuvia.service")).unwrap();
        let unit: String = unit
            .lines()
            .filter(|line| !line.starts_with("User=") && !line.starts_with("Group="))
            .fold(String::new(), |unit, line| unit + line + "\n");
        fs::write("/run/systemd/user/exuvia.service", unit).unwrap();
        fs::create_dir("/run/systemd/user/exuvia.service.d").unwrap();
        let settings = [
            ("LISTEN", format!("127.0.0.1:{port}")),
            ("SOURCE_LISTING", format!("http://{}/releases.json", host.server_addr())),
            ("POLL_INTERVAL", "500ms".to_owned()),
            ("ROLLOUT_WINDOW", "0s".to_owned()),
            ("TRIAL_PROBATION", "500ms".to_owned()),
            ("TRIAL_HANDOFF", "300ms".to_owned()),
            ("TRIAL_DRAIN", "1s".to_owned()),
        ];
        let lines = settings.map(|(name, value)| format!("Environment=EXUVIA_{name}={value}\n")).concat();
        let times = format!("[Service]\nRestartSec=300ms\n{lines}");
        fs::write("/run/systemd/user/exuvia.service.d/times.conf", times).unwrap();
        let mut command = Command::new(SYSTEMD);
        command.arg("--user").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = surroundings(&mut command).spawn().unwrap();
        let socket = Path::new(RUNTIME).join("systemd/private");
        wait_for(|| "the manager listens".to_owned(), || socket.exists().then_some(()));
        Self { process, port }
    }

    fn get(&self, path: &str) -> Option<String> {
        let body = get(self.port, path, Duration::from_secs(5))?;
        (body.0 == 200).then_some(body.1)
    }

    #[track_caller]
    fn wait_until_it_runs(&self, version: &str) {
        let what = || format!("it runs {version}: {:?} {}", self.get("/status"), property("Result"));
        wait_for(what, || {
            let status: Value = serde_json::from_str(&self.get("/status")?).ok()?;
            let there = ["running", "committed"].iter().all(|at| status[at]["version"] == version);
            (there && status["launcher"] == version && status["activity"]["activity"] == "idle").then_some(())
        });
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Has the manager do something, which succeeds.
#[track_caller]
fn control(verb: &str) {
    run(surroundings(Command::new("systemctl").args(["--user", verb, "exuvia"]))).exits(0);
}

fn property(name: &str) -> String {
    let mut show = Command::new("systemctl");
    let said = run(surroundings(show.args(["--user", "show", "exuvia", "--value", "--property", name]))).exits(0);
    said.stdout.trim().to_owned()
}

fn surroundings(command: &mut Command) -> &mut Command {
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs([("HOME", "/run/home"), ("XDG_RUNTIME_DIR", RUNTIME)])
}

#[test]
fn the_unit_that_ships_starts_upgrades_reloads_is_rescued_and_stops_under_a_real_systemd() {
    if !Path::new(SYSTEMD).exists() || !rustix::process::geteuid().is_root() {
        println!("takes root and systemd (Debian: apt-get install systemd): not played");
        return;
    }
    let name = "systemd::the_unit_that_ships_starts_upgrades_reloads_is_rescued_and_stops_under_a_real_systemd";
    with_processes_of_its_own(name, || {
        let host = Host::new();
        let manager = Manager::start(&host, crate::port::free_port());
        // `start` returns at READY.
        control("start");
        assert_eq!(property("StatusText"), "serves, version 1.0.0");
        let pid = property("MainPID");

        host.releases().publish("1.1.0");
        manager.wait_until_it_runs("1.1.0");
        assert_eq!((property("MainPID"), property("NRestarts")), (pid, "0".to_owned()));
        control("reload");
        let applied = "exuvia_reloads_total{result=\"applied\"} 1";
        wait_for(|| applied.to_owned(), || manager.get("/metrics")?.contains(applied).then_some(()));

        // A cold start of 1.1.0, which the check before lets go on, proves it.
        control("restart");
        manager.wait_until_it_runs("1.1.0");
        assert!(property("ExecStartPre").contains("code=exited ; status=0"), "{}", property("ExecStartPre"));
        let rescue =
            || serde_json::from_slice::<Value>(&fs::read("/opt/exuvia/bin/.exuvia/rescue.json").unwrap()).unwrap();
        wait_for(|| rescue().to_string(), || (rescue()["binary"]["version"] == "1.1.0").then_some(()));

        // 1.2.0 proves itself, and then cannot start by itself.
        host.releases().publish_bad("1.2.0", "cold-exits 1");
        manager.wait_until_it_runs("1.2.0");
        assert!(!run(surroundings(Command::new("systemctl").args(["--user", "restart", "exuvia"]))).code.eq(&0));
        manager.wait_until_it_runs("1.1.0");
        assert_eq!(property("ActiveState"), "active");

        control("stop");
        assert_eq!((property("Result"), property("ExecMainStatus")), ("success".to_owned(), "0".to_owned()));
        assert_eq!(manager.get("/readyz"), None);
    });
}
