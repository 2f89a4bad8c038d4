//! The program `tuf-client`, as other people's test suites run it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use jiff::{Timestamp, ToSpan};

use crate::http_server::{Server, raw, reply};
use crate::sim::{Sim, bump, expires};
use exuvia::tuf::metadata::Expires;

/// The program, built for this test.
pub fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let own = std::env::current_exe().unwrap();
        // <target>/<profile>/deps/<this test>
        let profile = own.ancestors().nth(2).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        // What cargo tells this test about its own package would make build scripts run again.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
            if name == "OUT_DIR" || ours.iter().any(|prefix| name.starts_with(prefix)) {
                cargo.env_remove(&*name);
            }
        }
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args([
            "build",
            "--quiet",
            "--offline",
            "--locked",
            "--example",
            "tuf-client",
            "--features",
            "tuf-interop",
        ]);
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the example does not build");
        profile.join("examples/tuf-client")
    })
}

/// A repository on loopback, below addresses that are easily spoilt by being normalised.
struct Site {
    server: Server,
    sim: Arc<Mutex<Sim>>,
    dir: tempfile::TempDir,
}

const METADATA: &str = "/a%2Fb%5Bc%5D/metadata";
const TARGETS: &str = "/a%2Fb%5Bc%5D/targets";

impl Site {
    fn new() -> Self {
        let mut sim = Sim::new();
        // The program looks at the clock.
        let later = Expires::at(Timestamp::now().checked_add(24.hours()).unwrap());
        for head in [&mut sim.root.head, &mut sim.timestamp.head, &mut sim.snapshot.head, &mut sim.targets.head] {
            head.expires = later;
        }
        sim.next_root();
        let sim = Arc::new(Mutex::new(sim));
        let behind = sim.clone();
        let server = Server::start(move |request, stream| {
            use crate::sim::Fault;
            use exuvia::tuf::{Answer, RemoteFile, Repository};
            let file = match (request.path.strip_prefix(METADATA), request.path.strip_prefix(TARGETS)) {
                (Some(name), _) => RemoteFile::Metadata(name.strip_prefix('/').unwrap()),
                (_, Some(path)) => RemoteFile::Target(path.strip_prefix('/').unwrap()),
                _ => return reply(stream, 400, &[], b"another address"),
            };
            let (RemoteFile::Metadata(name) | RemoteFile::Target(name)) = file;
            if matches!(behind.lock().unwrap().faults.get(name), Some(Fault::Fail)) {
                return;
            }
            let mut body = Vec::new();
            let answer = crate::sim::block_on(crate::sim::Remote(behind.clone()).fetch(file, &mut body));
            match answer {
                Ok(Answer::Whole) => reply(stream, 200, &[], &body),
                Ok(Answer::Absent) => reply(stream, 404, &[], b"no such file"),
                Err(_) => {
                    raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                    raw(stream, &body);
                }
            }
        });
        Self { server, sim, dir: tempfile::tempdir().unwrap() }
    }

    fn run(args: &[&str]) -> (bool, String) {
        let output = Command::new(program()).args(args).env_clear().output().unwrap();
        let code = output.status.code().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(code == 0 || code == 1, "{code}: {text}");
        (code == 0, text)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn init(&self, version: usize) -> bool {
        std::fs::write(self.path("first.json"), self.sim.lock().unwrap().published_root(version)).unwrap();
        Self::run(&["--metadata-dir", &self.path("D"), "init", &self.path("first.json")]).0
    }

    fn refresh(&self) -> bool {
        let url = self.server.url(METADATA);
        Self::run(&["--metadata-url", &url, "--metadata-dir", &self.path("D"), "refresh"]).0
    }

    fn download(&self, names: &[&str]) -> bool {
        let (metadata, targets) = (self.server.url(METADATA), self.server.url(TARGETS) + "/");
        let (d, t) = (self.path("D"), self.path("T"));
        let mut args = vec!["--metadata-url", &metadata, "--metadata-dir", &d, "--target-dir", &t];
        for name in names {
            args.extend(["--target-name", name]);
        }
        args.extend(["--target-base-url", &targets, "download"]);
        Self::run(&args).0
    }

    fn file(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.dir.path().join(name)).ok()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.dir.path().join(folder)) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The addresses that were asked for since the last look, below their bases.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.sim.lock().unwrap().requests)
    }
}

#[test]
fn the_example_client_initialises_refreshes_and_downloads() {
    let site = Site::new();
    assert!(!site.refresh(), "nothing is trusted yet");
    assert!(site.init(1));
    assert!(site.names("D").contains(&"root.json".to_owned()));
    assert!(site.requests().is_empty());
    assert!(site.refresh());
    let asked = ["2.root.json", "3.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];
    assert_eq!(site.requests(), asked);
    let all = ["root.json", "root_history", "snapshot.json", "state", "targets.json", "timestamp.json", "trusted"];
    assert_eq!(site.names("D"), all);
    assert_eq!(site.file("D/root.json").unwrap(), site.sim.lock().unwrap().published_root(2));
    assert!(site.init(1), "once more, it changes nothing");
    assert_eq!(site.file("D/root.json").unwrap(), site.sim.lock().unwrap().published_root(2));

    {
        let mut sim = site.sim.lock().unwrap();
        sim.delegate("targets", "../role", &["sub/*"], false, 60);
        let expires = sim.targets.head.expires;
        sim.role_mut("../role").head.expires = expires;
        sim.add_artifact("targets", "first", b"1");
        sim.add_artifact("../role", "sub/second", b"22");
        bump(&mut sim.targets);
        sim.publish();
    }
    assert!(site.download(&["first", "sub/second"]));
    assert_eq!(site.names("T"), ["first", "sub%2Fsecond"]);
    assert_eq!(site.file("T/sub%2Fsecond").unwrap(), b"22");
    let asked = site.requests();
    assert_eq!(asked[..4], ["3.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"]);
    assert!(asked[4].contains(".first") && asked[5] == "1...%2Frole.json" && asked[6].starts_with("sub/"));
    assert_eq!(asked.len(), 7);
    assert!(site.names("D").contains(&"..%2Frole.json".to_owned()));
    // What is there is not fetched again.
    assert!(site.download(&["first"]));
    assert_eq!(site.requests(), ["3.root.json", "timestamp.json"]);
    // It stops at the first that fails.
    assert!(!site.download(&["nobody's", "first"]));
}

#[test]
fn t39_a_download_that_fails_leaves_nothing_and_an_older_good_file_stays() {
    let site = Site::new();
    site.sim.lock().unwrap().add_artifact("targets", "file", b"older");
    site.sim.lock().unwrap().publish();
    assert!(site.init(1) && site.download(&["file"]));
    {
        let mut sim = site.sim.lock().unwrap();
        sim.add_artifact("targets", "file", b"newer");
        sim.add_artifact("targets", "other", b"other");
        bump(&mut sim.targets);
        sim.publish();
    }
    for content in [&b"NEWER"[..], b"newer!", b"", b"newe"] {
        for name in ["file", "other"] {
            site.sim.lock().unwrap().artifacts.insert(name.to_owned(), content.to_vec());
            assert!(!site.download(&[name]));
        }
        assert_eq!(site.names("T"), ["file"]);
        assert_eq!(site.file("T/file").unwrap(), b"older");
    }
    site.sim.lock().unwrap().artifacts.insert("file".to_owned(), b"newer".to_vec());
    assert!(site.download(&["file"]));
    assert_eq!(site.file("T/file").unwrap(), b"newer");
}

#[test]
fn t04_a_connection_that_breaks_off_is_not_a_missing_file() {
    use crate::sim::Fault;
    let site = Site::new();
    assert!(site.init(2) && site.refresh());
    for fault in [Fault::Fail, Fault::BreaksOff(50)] {
        site.sim.lock().unwrap().next_root();
        site.requests();
        site.sim.lock().unwrap().faults = [("3.root.json".to_owned(), fault)].into();
        let before = site.server.requests().len();
        assert!(!site.refresh());
        assert_eq!(site.server.requests().len(), before + 1, "once, and nothing else");
    }
    site.sim.lock().unwrap().faults.clear();
    assert!(site.refresh());
}

#[test]
fn t01_the_example_client_refuses_a_root_that_does_not_verify_and_keeps_what_it_had() {
    let site = Site::new();
    assert!(site.init(1));
    let trusted = site.file("D/trusted/root.json");
    for wrong in [&b""[..], b"{}", &site.sim.lock().unwrap().published_root(1)[1..]] {
        std::fs::write(site.path("wrong.json"), wrong).unwrap();
        let (done, said) = Site::run(&["--metadata-dir", &site.path("D"), "init", &site.path("wrong.json")]);
        assert!(!done && !said.is_empty());
    }
    assert_eq!(site.file("D/trusted/root.json"), trusted);
    assert_eq!(site.names("D"), ["root.json", "trusted"]);
    for args in [&[][..], &["refresh"], &["--metadata-dir", "x"], &["--metadata-dir", &site.path("D"), "refresh"]] {
        assert!(!Site::run(args).0);
    }
    assert!(site.server.requests().is_empty());
}

#[test]
fn t09_the_example_client_stores_an_expired_root_and_goes_no_further() {
    let site = Site::new();
    assert!(site.init(1) && site.refresh());
    site.requests();
    {
        let mut sim = site.sim.lock().unwrap();
        sim.root.head.expires = expires("2020-01-01T00:00:00Z");
        sim.next_root();
    }
    assert!(!site.refresh());
    assert_eq!(site.requests(), ["3.root.json", "4.root.json"]);
    assert_eq!(site.file("D/root.json").unwrap(), site.sim.lock().unwrap().published_root(3));
}

#[test]
fn the_example_client_runs_at_another_time_under_faketime() {
    let Ok(output) = Command::new("faketime").arg("--version").output() else {
        eprintln!("skipped: faketime is not installed");
        return;
    };
    assert!(output.status.success());
    let site = Site::new();
    {
        let mut sim = site.sim.lock().unwrap();
        let sim = &mut *sim;
        for head in [&mut sim.root.head, &mut sim.timestamp.head, &mut sim.snapshot.head, &mut sim.targets.head] {
            head.expires = expires("2020-02-01T00:00:00Z");
        }
        sim.next_root();
        sim.add_artifact("targets", "file", b"content");
    }
    assert!(site.init(3));
    let (metadata, targets) = (site.server.url(METADATA), site.server.url(TARGETS));
    let (d, t) = (site.path("D"), site.path("T"));
    let at = |time: &str| {
        let mut faketime = Command::new("faketime");
        faketime.args(["-f", time, program().to_str().unwrap(), "--metadata-url", &metadata, "--metadata-dir", &d]);
        faketime.args(["--target-name", "file", "--target-dir", &t, "--target-base-url", &targets, "download"]);
        let output = faketime.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = at("@2020-02-01 00:00:00");
    assert!(code == Some(1) && said.contains("expired at 2020-02-01T00:00:00Z"), "{said}");
    assert!(site.names("T").is_empty());
    let (code, said) = at("@2020-01-31 23:00:00");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(site.file("T/file").unwrap(), b"content");
    // And back in the present.
    assert!(!site.refresh());
    assert_eq!(site.file("T/file").unwrap(), b"content");
}
