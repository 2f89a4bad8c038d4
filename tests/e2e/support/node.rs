use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::builds::Product;
use super::host::processes;
use super::wait_for;

/// One node of a host: its configuration, and its launcher while it runs.
pub struct Node {
    host: PathBuf,
    product: &'static Product,
    env: Vec<(String, OsString)>,
    name: String,
    port: u16,
    launcher: Option<Child>,
    user: Option<u32>,
    /// What runs the committed binary, if not the test itself.
    through: Vec<String>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// It ended with that exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// It says this on either stream.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stdout.contains(words) || self.stderr.contains(words), "{words:?} is not in {self:#?}");
        self
    }

    /// Its standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Runs a command to its end, as a user of this machine would whose settings do not interfere.
/// One answer, and its status.
pub fn get(port: u16, path: &str, patience: Duration) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

pub fn run(command: &mut Command) -> Output {
    let output = clean_env(command).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Output { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// The test's own environment must not configure nodes.
fn clean_env(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if text == "INVOCATION_ID"
            || text.starts_with("EXUVIA_")
            || text.starts_with("NOTIFY")
            || text.ends_with("_PROXY")
        {
            command.env_remove(name);
        }
    }
    command
}

impl Node {
    pub(super) fn new(host: &Path, product: &'static Product, name: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            product,
            env: Vec::new(),
            name: name.to_owned(),
            port,
            launcher: None,
            user: None,
            through: Vec::new(),
        }
    }

    /// The same node under another user id: its folders become that user's, the install does not.
    pub fn under_user(mut self, user: u32) -> Self {
        fs::set_permissions(&self.host, fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["data", "cache"] {
            fs::create_dir_all(self.host.join(folder)).unwrap();
            std::os::unix::fs::chown(self.host.join(folder), Some(user), Some(user)).unwrap();
        }
        self.user = Some(user);
        self
    }

    /// From now on the node is run by this program, which gets it as its last arguments and becomes it.
    pub fn through(&mut self, program: &[&str]) {
        self.through = program.iter().map(|word| (*word).to_owned()).collect();
    }

    /// The same node with this in its environment.
    pub fn with_env(mut self, name: &'static str, value: PathBuf) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn command(&self) -> Command {
        let binary = self.host.join("bin").join(self.product.name);
        let mut command = match self.through.split_first() {
            None => Command::new(binary),
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args).arg(binary);
                command
            }
        };
        command.arg("--config").arg(self.host.join(format!("{}.toml", self.name))).args(["--node", &self.name]);
        clean_env(&mut command);
        command.envs(self.env.iter().cloned());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Sets a variable for everything that is run for this node from now on.
    pub fn set_env(&mut self, name: &str, value: impl Into<OsString>) {
        self.env.push((name.to_owned(), value.into()));
    }

    /// Where its configuration lies.
    pub fn config_path(&self) -> PathBuf {
        self.host.join(format!("{}.toml", self.name))
    }

    /// Adds a line to its configuration, or replaces the one of that key.
    pub fn configure(&self, key: &str, value: &str) {
        let text = fs::read_to_string(self.config_path()).unwrap();
        let others = text.lines().filter(|line| !line.starts_with(&format!("{key} =")));
        let lines: Vec<String> = others.map(str::to_owned).chain([format!("{key} = {value}")]).collect();
        fs::write(self.config_path(), lines.join("\n") + "\n").unwrap();
    }

    /// The port of its HTTP listener.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on it answers there.
    pub fn moved_to(&mut self, port: u16) {
        self.port = port;
    }

    /// SIGKILL to its workers. The launcher starts another one.
    pub fn kill_worker(&self) {
        for pid in self.worker_pids() {
            kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).ok();
        }
    }

    /// SIGHUP to its launcher.
    pub fn reload(&self) {
        kill_process(Pid::from_raw(self.launcher_pid()).unwrap(), Signal::HUP).unwrap();
    }

    /// Starts it as systemd does a service with a socket unit: with that listening socket, by that name.
    pub fn start_with_socket(&mut self, socket: TcpListener, name: &str) {
        assert!(self.launcher.is_none(), "node {} runs", self.name);
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let run = self.command();
        // A shell knows the pid that its program will have, and can give a descriptor a number.
        let mut command = Command::new("/bin/sh");
        let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" run 3<&0 0</dev/null";
        command.args(["-c", script, "sh"]).arg(run.get_program()).args(run.get_args());
        clean_env(&mut command);
        command.env("LISTEN_FDNAMES", name).envs(self.env.iter().cloned());
        command.stdin(std::os::fd::OwnedFd::from(socket)).stdout(log.try_clone().unwrap()).stderr(log);
        self.launcher = Some(spawn(&mut command));
    }

    /// Starts it as a service manager does: the committed binary, whatever that is by now.
    pub fn start(&mut self) {
        assert!(self.launcher.is_none(), "node {} runs", self.name);
        let mut command = self.command();
        command.arg("run").stdin(Stdio::null()).stdout(self.log_file()).stderr(self.log_file());
        self.launcher = Some(spawn(&mut command));
    }

    /// What a service manager runs before each start, and after each end: the rescue, with this said about
    /// the service. `None` where there is no rescue that can be executed.
    pub fn rescue(&self, args: &[&str], says: &[(&str, &str)]) -> Option<Output> {
        let mut command = Command::new(self.host.join("bin/.exuvia/rescue"));
        command.args(["--node", &self.name, "recover", "--committed"]).arg(self.host.join("bin/exuvia")).args(args);
        clean_env(&mut command);
        for (name, value) in says {
            command.env(name, value);
        }
        let output = command.stdin(Stdio::null()).output().ok()?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Some(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// What [`Self::start`] starts, for those who start it themselves. Its output belongs into
    /// [`Self::log_file`].
    pub fn run_command(&self) -> Command {
        self.verb_command(&["run"])
    }

    /// What [`Self::cli`] runs.
    pub fn verb_command(&self, args: &[&str]) -> Command {
        let mut command = self.command();
        command.args(args);
        command
    }

    /// The file that launchers and workers write to, opened at its end.
    pub fn log_file(&self) -> File {
        File::options().create(true).append(true).open(self.log_path()).unwrap()
    }

    /// Waits until the node answers over HTTP that it is ready.
    pub fn wait_until_it_serves(&self) {
        wait_for(|| format!("node {} serves\n{}", self.name, self.log()), || self.serves().then_some(()));
    }

    /// SIGTERM, and how the launcher ends.
    pub fn stop(&mut self) -> ExitStatus {
        let mut launcher = self.launcher.take().expect("the node runs");
        kill_process(Pid::from_child(&launcher), Signal::TERM).unwrap();
        let status = wait_for(|| format!("node {} stops\n{}", self.name, self.log()), || launcher.try_wait().unwrap());
        wait_for(|| format!("its workers end: {:?}", self.pids()), || self.pids().is_empty().then_some(()));
        status
    }

    /// SIGKILL to the launcher. Workers notice by themselves.
    pub fn kill_launcher(&mut self) {
        let mut launcher = self.launcher.take().expect("the node runs");
        launcher.kill().unwrap();
        launcher.wait().unwrap();
        // Its worker notices, and leaves: what answers after the next start is the next start's.
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.serves() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the launcher ends by itself.
    pub fn wait_until_it_ends(&mut self) -> ExitStatus {
        let mut launcher = self.launcher.take().expect("the node runs");
        wait_for(|| format!("node {} ends\n{}", self.name, self.log()), || launcher.try_wait().unwrap())
    }

    /// The launcher's process id. It stays the same through every upgrade.
    pub fn launcher_pid(&self) -> i32 {
        self.launcher.as_ref().expect("the node runs").id().cast_signed()
    }

    /// Its processes that are workers.
    pub fn worker_pids(&self) -> Vec<i32> {
        let workers = self.processes().into_iter().filter(|(_, command)| command.trim_end().ends_with(" worker"));
        workers.map(|(pid, _)| pid).collect()
    }

    /// Launcher and workers.
    pub fn pids(&self) -> Vec<i32> {
        let own = |command: &str| command.trim_end().ends_with(" worker") || command.trim_end().ends_with(" run");
        self.processes().into_iter().filter(|(_, command)| own(command)).map(|(pid, _)| pid).collect()
    }

    fn processes(&self) -> Vec<(i32, String)> {
        let needle = format!("{}/{}.toml", self.host.display(), self.name);
        processes(&self.host).into_iter().filter(|(_, command)| command.contains(&needle)).collect()
    }

    /// Runs a verb for this node.
    pub fn cli(&self, args: &[&str]) -> Output {
        run(self.command().args(args))
    }

    /// As [`Self::cli`], again for as long as the node says that it works on something else just now.
    pub fn cli_when_idle(&self, args: &[&str]) -> Output {
        wait_for(
            || format!("node {} has time for {args:?}\n{}", self.name, self.log()),
            || Some(self.cli(args)).filter(|output| output.code != 8),
        )
    }

    /// Starts a verb for this node and returns at once.
    pub fn spawn_cli(&self, args: &[&str]) -> Child {
        self.command().args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Answers `GET path`: the status and the body; `None` when nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.get_within(path, Duration::from_secs(5))
    }

    /// As [`Self::get`], for one who waits so long for the answer.
    pub fn get_within(&self, path: &str, patience: Duration) -> Option<(u16, String)> {
        get(self.port, path, patience)
    }

    /// Whether it says over HTTP that it is ready.
    pub fn serves(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }

    /// What it tells about itself over HTTP.
    pub fn status(&self) -> Option<Value> {
        let (status, body) = self.get("/status")?;
        (status == 200).then(|| serde_json::from_str(&body).unwrap())
    }

    /// Waits until its status is as wanted.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        wait_for(
            || format!("node {} is {what}; its log:\n{}", self.name, self.log()),
            || {
                last = self.status();
                last.clone().filter(&wanted)
            },
        )
    }

    /// Waits until this version runs, is committed, and nothing is under way.
    #[track_caller]
    pub fn wait_until_it_runs(&self, version: &str) -> Value {
        self.wait_for(&format!("at {version}"), |status| {
            status["running"]["version"] == version
                && status["launcher"] == version
                && status["committed"]["version"] == version
                && status["trial"].is_null()
                && matches!(status["activity"]["activity"].as_str(), Some("idle" | "upgrading"))
        })
    }

    /// Waits until it has looked for releases a few more times.
    #[track_caller]
    pub fn wait_for_polls(&self, more: u64) {
        let looks = || {
            let (_, page) = self.get("/metrics")?;
            let line = page.lines().find(|line| line.starts_with("exuvia_upgrade_checks_total"))?;
            line.rsplit(' ').next()?.parse::<u64>().ok()
        };
        let before = wait_for(|| format!("node {} counts", self.name), looks);
        wait_for(
            || format!("node {} looks for releases\n{}", self.name, self.log()),
            || looks().filter(|now| *now >= before + more),
        );
    }

    /// The node's record as its launcher last wrote it.
    pub fn record(&self) -> Option<Value> {
        let bytes = fs::read(self.host.join(format!("bin/.exuvia/nodes/{}.json", self.name))).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The attempts in its history, the latest first.
    #[track_caller]
    pub fn history(&self) -> Vec<Value> {
        self.cli(&["history", "--json"]).exits(0).json()["attempts"].as_array().unwrap().clone()
    }

    /// Waits until the last attempt at that version has ended, and returns it.
    #[track_caller]
    pub fn wait_for_outcome(&self, version: &str) -> Value {
        wait_for(
            || format!("an attempt at {version} ends; the log:\n{}", self.log()),
            || {
                let attempts = self.history();
                attempts.into_iter().find(|attempt| attempt["to"] == version && !attempt["outcome"].is_null())
            },
        )
    }

    /// Everything that its launchers and workers have written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.host.join(format!("{}.log", self.name))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut launcher) = self.launcher.take() {
            launcher.kill().ok();
            launcher.wait().ok();
        }
        for (pid, _) in self.processes() {
            if let Some(pid) = Pid::from_raw(pid) {
                kill_process(pid, Signal::KILL).ok();
            }
        }
    }
}

/// A binary just copied is "busy" while a child of another test, between its fork and its exec,
/// still holds the handle through which it was written.
fn spawn(command: &mut Command) -> Child {
    loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(10));
            }
            spawned => return spawned.unwrap(),
        }
    }
}
