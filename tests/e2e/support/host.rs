use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::builds::{EXUVIA, Product};
use super::node::{Node, Output, run};
use super::releases::Releases;
use super::wait_for;
use crate::http_server::{self, Server};
use crate::port::free_port;
use crate::program::copy_program;

/// One install with its releases. Nothing of it outlives the value: no file, and no process.
pub struct Host {
    dir: TempDir,
    product: &'static Product,
    releases: Releases,
    server: Option<Server>,
    server_addr: std::net::SocketAddr,
    /// Lines of the configuration of nodes that are made from now on; see [`Host::set`].
    config: Vec<(String, String)>,
}

/// Short, but with room for a busy machine wherever a healthy version must not be late.
const TIMES: &[(&str, &str)] = &[
    ("poll.interval", "\"500ms\""),
    ("poll.jitter", "0.0"),
    ("rollout.window", "\"0s\""),
    ("trial.start", "\"5s\""),
    ("trial.probation", "\"1s\""),
    ("trial.sibling_probation", "\"500ms\""),
    ("trial.handoff", "\"500ms\""),
    ("trial.drain", "\"1s\""),
    ("trial.watchdog", "\"3s\""),
    ("trial.probe", "\"5s\""),
];

impl Host {
    /// Version 1.0.0 is installed, and nothing is published yet.
    pub fn new() -> Self {
        Self::with("1.0.0")
    }

    pub fn with(version: &str) -> Self {
        Self::of(&EXUVIA, version)
    }

    /// That version of a product is installed.
    pub fn of(product: &'static Product, version: &str) -> Self {
        Self::of_in(&std::env::temp_dir(), product, version)
    }

    /// The same, with all of it below that folder.
    pub fn of_in(folder: &Path, product: &'static Product, version: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("exuvia-e2e-").tempdir_in(folder).unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        let releases = Releases::new(product, dir.path().join("releases"));
        let server_addr = (Ipv4Addr::LOCALHOST, free_port()).into();
        let config = TIMES.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut host = Self { dir, product, releases, server: None, server_addr, config };
        host.start_server();
        host.install(version);
        host
    }

    /// What an operator, or a package manager, does: puts a binary at the committed path.
    pub fn install(&self, version: &str) {
        let new = self.path("bin/new");
        copy_program(&self.product.build(version), &new);
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.binary()).unwrap();
    }

    pub fn releases(&self) -> &Releases {
        &self.releases
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the server is up")
    }

    /// Where it answers.
    pub fn server_addr(&self) -> std::net::SocketAddr {
        self.server_addr
    }

    /// Takes the web server away; its port refuses connections then.
    pub fn stop_server(&mut self) {
        self.server = None;
    }

    /// Brings the web server back where it was.
    pub fn start_server(&mut self) {
        let tree = self.releases.tree().to_owned();
        self.server = Some(Server::start_at(self.server_addr, move |request, stream| {
            http_server::serve_file(&tree, request, stream);
        }));
    }

    /// Has another web server answer, at the same address, for the same folder.
    pub fn serve(
        &mut self,
        handler: impl Fn(&Path, &http_server::Request, &mut std::net::TcpStream) + Send + Sync + 'static,
    ) {
        self.server = None;
        let tree = self.releases.tree().to_owned();
        self.server = Some(Server::start_at(self.server_addr, move |request, stream| handler(&tree, request, stream)));
    }

    /// Sets a setting, in TOML, for nodes that are made afterwards; to nothing, leaves it unset.
    pub fn set(&mut self, key: &str, value: &str) {
        self.config.retain(|(set, _)| set != key);
        self.config.push((key.to_owned(), value.to_owned()));
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// The committed binary.
    pub fn binary(&self) -> PathBuf {
        self.path("bin").join(self.product.name)
    }

    /// A node of this host, not started: its configuration is written.
    pub fn node(&self, name: &str) -> Node {
        let port = free_port();
        let mut config = vec![
            ("listen".to_owned(), format!("\"127.0.0.1:{port}\"")),
            ("cache_dir".to_owned(), quoted(&self.path("cache"))),
            ("data_dir".to_owned(), quoted(&self.path("data").join(name))),
            ("source.listing".to_owned(), format!("\"http://{}/releases.json\"", self.server_addr)),
        ];
        config.retain(|(key, _)| self.config.iter().all(|(set, _)| set != key));
        config.extend(self.config.iter().cloned());
        let set = config.iter().filter(|(_, value)| !value.is_empty());
        let lines: Vec<String> = set.map(|(key, value)| format!("{key} = {value}\n")).collect();
        fs::create_dir_all(self.path("data")).unwrap();
        fs::write(self.path(&format!("{name}.toml")), lines.concat()).unwrap();
        Node::new(self.dir.path(), self.product, name, port)
    }

    /// A node that runs, and serves.
    pub fn start(&self, name: &str) -> Node {
        let mut node = self.node(name);
        node.start();
        node.wait_until_it_serves();
        node
    }

    /// A node that has looked for releases once, and does not do so again by itself.
    pub fn start_quiet(&mut self, name: &str) -> Node {
        self.set("poll.interval", "\"1h\"");
        let node = self.start(name);
        node.wait_for("done with its first look", |status| !status["last_check"].is_null());
        node
    }

    /// Runs the committed binary with exactly these arguments.
    pub fn cli(&self, args: &[&str]) -> Output {
        run(Command::new(self.binary()).args(args))
    }

    /// SHA-256 of the committed binary.
    pub fn committed(&self) -> String {
        digest(&self.binary())
    }

    #[track_caller]
    pub fn assert_committed(&self, version: &str) {
        assert_eq!(self.committed(), digest(&self.product.build(version)), "{version} is not what is committed");
    }

    /// Waits until nothing is left but what must be: the named versions, one record a node without
    /// a trial, no lease, nothing staged, no temporary file, no process but those of `nodes`.
    #[track_caller]
    pub fn assert_clean(&self, versions: &[&str], nodes: &[&Node]) {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let odd = self.oddities(versions, nodes);
            if odd.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind: {odd:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn oddities(&self, versions: &[&str], nodes: &[&Node]) -> Vec<String> {
        let mut odd = Vec::new();
        let mut expect = |folder: &str, allowed: &[&str]| {
            for name in names(&self.path(folder)) {
                if !allowed.contains(&name.as_str()) {
                    odd.push(format!("{folder}/{name}"));
                }
            }
        };
        expect("bin", &[self.product.name, ".exuvia"]);
        let ours =
            ["install.json", "policy.json", "rescue", "rescue.json", "swap.lock", "versions", "nodes", "staging"];
        expect("bin/.exuvia", &ours);
        expect("bin/.exuvia/staging", &[]);
        // The last version that came up from a cold start stays for as long as it is the rescue.
        let rescue = fs::read(self.path("bin/.exuvia/rescue.json")).unwrap_or_default();
        let rescue: serde_json::Value = serde_json::from_slice(&rescue).unwrap_or_default();
        let rescue = rescue["binary"]["version"].as_str().map(|version| format!("{version}-")).unwrap_or_default();
        let is_rescue = |name: &String| {
            !rescue.is_empty() && name.starts_with(&rescue) && !versions.iter().any(|wanted| name.starts_with(wanted))
        };
        let found: Vec<String> = names(&self.path("bin/.exuvia/versions"))
            .iter()
            .filter(|name| !is_rescue(name))
            .map(|name| name.rsplit_once('-').map_or(name.clone(), |(version, _)| version.to_owned()))
            .collect();
        let wanted: BTreeSet<String> = versions.iter().map(|version| (*version).to_owned()).collect();
        if found.len() != wanted.len() || found.into_iter().collect::<BTreeSet<_>>() != wanted {
            odd.push(format!("versions are {:?}", names(&self.path("bin/.exuvia/versions"))));
        }
        for record in names(&self.path("bin/.exuvia/nodes")) {
            match fs::read(self.path("bin/.exuvia/nodes").join(&record))
                .map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes))
            {
                Ok(Ok(record)) if record["trial"].is_null() => {}
                other => odd.push(format!("record {record}: {other:?}")),
            }
        }
        find(self.dir.path(), &mut |path| {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".new-")) {
                odd.push(path.display().to_string());
            }
        });
        let ours: Vec<i32> = nodes.iter().flat_map(|node| node.pids()).collect();
        for (pid, command) in processes(self.dir.path()) {
            if !ours.contains(&pid) {
                odd.push(format!("process {pid}: {command}"));
            }
        }
        odd
    }

    /// Names of the versions that lie on disk.
    pub fn versions(&self) -> Vec<String> {
        names(&self.path("bin/.exuvia/versions"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        kill_all(self.dir.path());
    }
}

/// Processes whose command line names the folder, and their command lines.
pub fn processes(dir: &Path) -> Vec<(i32, String)> {
    let needle = dir.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(command) = fs::read(entry.path().join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&needle) && pid != std::process::id().cast_signed() {
            found.push((pid, command));
        }
    }
    found
}

/// Kills every process whose command line names the folder, until there is none.
pub fn kill_all(dir: &Path) {
    wait_for(
        || format!("the end of {:?}", processes(dir)),
        || {
            let left = processes(dir);
            for (pid, _) in &left {
                if let Some(pid) = Pid::from_raw(*pid) {
                    kill_process(pid, Signal::KILL).ok();
                }
            }
            left.is_empty().then_some(())
        },
    );
}

/// A path as a string in TOML.
pub fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// SHA-256 of a file, in hex.
pub fn digest(path: &Path) -> String {
    hex::encode(Sha256::digest(fs::read(path).unwrap()))
}

/// The names in a folder, sorted; none where there is no folder.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn find(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        visit(&entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&entry.path(), visit);
        }
    }
}
