//! The container's recipe, played without an engine: its steps, one after the other, in a root of their own (this
//! host's files, under a layer that vanishes), and then the node as its first process, with a root that is read-only.
//! What only an engine could show is that the base image exists, and its package's name.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::namespace::{mount, with_processes_of_its_own};
use crate::port::free_port;
use crate::support::node::{Output, get, run};
use crate::support::{Host, builds, wait_for};

/// What the recipe's steps came to.
struct Image {
    root: PathBuf,
    user: String,
    env: BTreeMap<String, String>,
    entry: Vec<String>,
    command: Vec<String>,
    health: Vec<String>,
}

impl Image {
    fn build(recipe: &str, below: &Path, binary: &Path) -> Self {
        let layers = ["up", "work", "root"].map(|name| below.join(name));
        fs::create_dir_all(below).unwrap();
        mount(&["-t", "tmpfs"], Path::new("none"), below);
        for folder in &layers {
            fs::create_dir(folder).unwrap();
        }
        let [up, work, root] = layers;
        let options = format!("lowerdir=/,upperdir={},workdir={}", up.display(), work.display());
        mount(&["-t", "overlay", "-o", &options], Path::new("overlay"), &root);
        mount(&["-t", "proc"], Path::new("none"), &root.join("proc"));
        mount(&["--rbind"], Path::new("/dev"), &root.join("dev"));
        let mut image = Self {
            root,
            user: String::new(),
            env: BTreeMap::new(),
            entry: Vec::new(),
            command: Vec::new(),
            health: Vec::new(),
        };
        for line in recipe.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (step, rest) = line.split_once(' ').unwrap();
            image.take(step, rest, binary);
        }
        image
    }

    fn take(&mut self, step: &str, rest: &str, binary: &Path) {
        let words = || serde_json::from_str::<Vec<String>>(rest).unwrap_or_else(|error| panic!("{rest}: {error}"));
        match step {
            "FROM" => assert!(rest.starts_with("debian:"), "what stands in for {rest} is a Debian"),
            // The network is not asked; the host's authorities stand in.
            "RUN" if rest.contains("apt-get") => {}
            "RUN" => {
                let said = run(Command::new("chroot").arg(&self.root).args(["sh", "-euc", rest]));
                assert_eq!(said.code, 0, "{rest}: {said:?}");
            }
            "COPY" => {
                let at = self.root.join(rest.split(' ').next_back().unwrap().trim_start_matches('/'));
                assert!(rest.contains("--chown=0:0 --chmod=0755 exuvia "), "{rest}");
                fs::copy(binary, &at).unwrap();
                chown(&at, Some(0), Some(0)).unwrap();
                fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
            }
            "USER" => rest.clone_into(&mut self.user),
            "ENV" => self.env.extend(rest.split(' ').map(|set| {
                let (name, value) = set.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })),
            "VOLUME" => {
                for volume in rest.split(' ') {
                    let at = self.root.join(volume.trim_start_matches('/'));
                    // As engines do, with the owner and mode that the image's folder has.
                    mount(&["-t", "tmpfs", "-o", "mode=700,uid=65532,gid=65532"], Path::new("none"), &at);
                }
            }
            "EXPOSE" => assert!(self.env["EXUVIA_LISTEN"].ends_with(rest), "{rest}"),
            "STOPSIGNAL" => assert_eq!(rest, "SIGTERM"),
            "HEALTHCHECK" => {
                self.health = serde_json::from_str(rest.strip_prefix("CMD ").unwrap()).unwrap();
            }
            "ENTRYPOINT" => self.entry = words(),
            "CMD" => self.command = words(),
            other => panic!("nobody plays {other}"),
        }
    }

    /// A program in the container, as the image's user.
    fn command(&self, unshare: &[&str], words: &[String], more: &[(&str, String)]) -> Command {
        let (user, group) = self.user.split_once(':').unwrap();
        let mut command = Command::new("unshare");
        command.args(unshare).arg(format!("--root={}", self.root.display()));
        command.args(["--setuid", user, "--setgid", group]).args(words);
        command.env_clear().env("PATH", "/usr/bin:/bin").envs(&self.env).envs(more.iter().cloned());
        command
    }

    /// Runs a verb beside the node.
    fn exec(&self, words: &[&str], more: &[(&str, String)]) -> Output {
        let words: Vec<_> = self.entry.iter().cloned().chain(words.iter().map(|word| (*word).to_owned())).collect();
        run(&mut self.command(&[], &words, more))
    }
}

/// The only child of a process.
fn child_of(parent: &Child) -> Option<i32> {
    let pid = parent.id();
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.split_whitespace().next()?.parse().ok()
}

#[test]
fn the_container_that_its_recipe_makes_serves_tells_of_releases_and_never_replaces_itself() {
    if !rustix::process::geteuid().is_root() {
        println!("takes root: not played");
        return;
    }
    let name = "container::the_container_that_its_recipe_makes_serves_tells_of_releases_and_never_replaces_itself";
    with_processes_of_its_own(name, || {
        let host = Host::new();
        host.releases().publish("1.1.0");
        let recipe = fs::read_to_string(builds::root().join("release/container/Containerfile")).unwrap();
        let image = Image::build(&recipe, &host.path("image"), &builds::exuvia("1.0.0"));
        let program = image.root.join("usr/bin/exuvia");
        let before = fs::metadata(&program).unwrap().len();
        mount(&["-o", "remount,ro"], Path::new("overlay"), &image.root);

        let port = free_port();
        let settings = [
            ("EXUVIA_LISTEN", format!("0.0.0.0:{port}")),
            ("EXUVIA_SOURCE_LISTING", format!("http://{}/releases.json", host.server_addr())),
            ("EXUVIA_POLL_INTERVAL", "500ms".to_owned()),
            ("EXUVIA_ROLLOUT_WINDOW", "0s".to_owned()),
        ];
        let words: Vec<_> = image.entry.iter().chain(&image.command).cloned().collect();
        // The first process of its own pid namespace, as an engine starts it.
        let log = fs::File::create(host.path("container.log")).unwrap();
        let mut node = image
            .command(&["--pid", "--fork", "--kill-child", "--mount-proc"], &words, &settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let log = || fs::read_to_string(host.path("container.log")).unwrap();
        let status = || -> Option<Value> {
            let (code, body) = get(port, "/status", Duration::from_secs(5))?;
            serde_json::from_str(&body).ok().filter(|_| code == 200)
        };
        wait_for(log, || status().filter(|status| !status["last_check"].is_null()).map(drop));
        let status = status().unwrap();
        assert_eq!(
            (&status["running"]["version"], &status["can_upgrade"]),
            (&"1.0.0".into(), &false.into()),
            "{status:#}"
        );
        assert_eq!(image.exec(&["upgrade", "check"], &settings).exits(100).stdout.matches("1.1.0").count(), 1);
        image.exec(&["upgrade"], &settings).exits(3);
        let health: Vec<_> = image.health.iter().skip(1).map(String::as_str).collect();
        image.exec(&health, &settings).exits(0);
        assert!(log().contains("upgrades_unsupported"), "{}", log());

        // As `podman stop`: SIGTERM to the first process, which lets its worker finish.
        let first = child_of(&node).expect("the container's first process");
        kill_process(Pid::from_raw(first).unwrap(), Signal::TERM).unwrap();
        let ended = wait_for(log, || node.try_wait().unwrap());
        assert_eq!(ended.code(), Some(0), "{}", log());
        assert!(log().contains("node_stopped"), "{}", log());
        assert_eq!(fs::metadata(&program).unwrap().len(), before);
        assert!(!image.root.join("usr/bin/.exuvia").exists());
    });
}
