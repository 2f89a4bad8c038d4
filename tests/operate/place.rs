use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use exuvia::ledger::{Ledger, NewVeto};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::Target;
use jiff::Timestamp;
use tempfile::TempDir;

/// A user who is not the one that runs the tests.
pub(crate) const NOBODY: u32 = 65534;

/// An install, its data and its releases, gone with the value.
pub(crate) struct Place {
    dir: TempDir,
}

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("exuvia-operate-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["bin", "releases"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            fs::set_permissions(dir.path().join(folder), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let place = Self { dir };
        copy(Path::new(env!("CARGO_BIN_EXE_exuvia")), &place.binary());
        fs::set_permissions(place.binary(), fs::Permissions::from_mode(0o755)).unwrap();
        place.configure("");
        place.publish(&[]);
        place
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn binary(&self) -> PathBuf {
        self.path("bin/exuvia")
    }

    /// Writes the configuration: where everything lies, and these lines.
    pub(crate) fn configure(&self, lines: &str) {
        let root = self.root().display();
        let text = format!(
            "data_dir = \"{root}/data\"\ncache_dir = \"{root}/cache\"\nsource.listing = \"{root}/releases\"\n\
             rollout.window = \"0s\"\nlisten = \"off\"\n{lines}\n"
        );
        fs::write(self.path("exuvia.toml"), text).unwrap();
    }

    /// Gives a setting that the configuration has another value.
    pub(crate) fn edit(&self, key: &str, value: &str) {
        let text = fs::read_to_string(self.path("exuvia.toml")).unwrap();
        let lines = text.lines().map(|line| match line.split_once(" = ") {
            Some((set, _)) if set == key => format!("{key} = \"{value}\"\n"),
            _ => format!("{line}\n"),
        });
        fs::write(self.path("exuvia.toml"), lines.collect::<String>()).unwrap();
    }

    /// Takes a setting out of the configuration.
    pub(crate) fn unset(&self, key: &str) {
        let text = fs::read_to_string(self.path("exuvia.toml")).unwrap();
        let kept: Vec<_> =
            text.lines().filter(|line| line.split_once(" = ").is_none_or(|(set, _)| set != key)).collect();
        fs::write(self.path("exuvia.toml"), kept.join("\n") + "\n").unwrap();
    }

    /// Lists releases. Their archives are none; a size can be stated as `1.4.0=123`.
    pub(crate) fn publish(&self, versions: &[&str]) {
        let asset = format!("exuvia-{}.tar.zst", Target::of_this_build());
        let listing: Vec<_> = versions
            .iter()
            .map(|text| {
                let (version, size) = text.split_once('=').unwrap_or((text, "4"));
                let size: u64 = size.parse().unwrap();
                let asset = |suffix: &str, size: u64| {
                    let name = format!("{asset}{suffix}");
                    let address = format!("{version}/{name}");
                    serde_json::json!({ "name": name, "size": size, "browser_download_url": address })
                };
                let folder = self.path("releases").join(version);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(asset_name("")), "none").unwrap();
                fs::write(folder.join(asset_name(".sig")), [0; 3309]).unwrap();
                serde_json::json!({
                    "tag_name": format!("v{version}"), "draft": false, "prerelease": version.contains('-'),
                    "assets": [asset("", size), asset(".sig", 3309)],
                })
            })
            .collect();
        fs::write(self.path("releases/releases.json"), serde_json::to_vec(&listing).unwrap()).unwrap();
    }

    pub(crate) fn veto(&self, version: &str, reason: &str) {
        let data = PrivateDir::open_or_create(self.path("data"), Loose::RefuseWritable).unwrap();
        let (version, now) = (version.parse().unwrap(), Timestamp::now());
        let veto = NewVeto::after_failure(&version, None, reason, now);
        Ledger::open(&data, now).unwrap().veto(&veto, now).unwrap();
    }

    /// Another program of the package, in this place.
    pub(crate) fn run_program(&self, program: &str, args: &[impl AsRef<OsStr>]) -> Output {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("COLUMNS", "100").env("SOURCE_DATE_EPOCH", "1800000000");
        output(command.current_dir(self.root()).args(args).stdin(Stdio::null()))
    }

    pub(crate) fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(self.binary());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").env("COLUMNS", "100");
        command.env("EXUVIA_CONFIG", self.path("exuvia.toml"));
        command.current_dir(self.root()).args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[impl AsRef<OsStr>]) -> Output {
        output(&mut self.command(args))
    }

    /// As somebody else, without the rights of root.
    pub(crate) fn run_as_nobody(&self, args: &[impl AsRef<OsStr>]) -> Output {
        output(self.command(args).uid(NOBODY).gid(NOBODY))
    }

    pub(crate) fn give_to_nobody(&self, below: &str) {
        chown(self.path(below), Some(NOBODY), Some(NOBODY)).unwrap();
    }

    /// Starts the node, and waits until it has looked for releases once.
    pub(crate) fn start_and_look(&self) -> Running {
        let running = self.start();
        for _ in 0..600 {
            if !self.run(&["status", "--json"]).json()["last_check"].is_null() {
                return running;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the node does not look for releases: {:#?}", self.run(&["status"]));
    }

    /// Starts the node, and waits until it answers.
    pub(crate) fn start(&self) -> Running {
        let child = self.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let running = Running(child);
        for _ in 0..300 {
            let status = self.run(&["status", "--json"]);
            if status.code == 0 && status.stdout.contains("node_id") {
                return running;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the node does not answer: {:#?}", self.run(&["status"]));
    }
}

/// By another process: while a thread of this one forks, a file that it writes is busy.
pub(crate) fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().unwrap().success());
}

fn asset_name(suffix: &str) -> String {
    format!("exuvia-{}.tar.zst{suffix}", Target::of_this_build())
}

/// A node that runs; asked to leave, and waited for, when the value goes.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        self.0.wait().ok();
    }
}

fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}
