//! Real builds: the node as several releases, and the release that misbehaves.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

/// The versions that are built. They differ as releases do: by nothing but their source of truth.
pub const VERSIONS: [&str; 5] = ["1.0.0", "1.1.0", "1.2.0", "2.0.0", "3.0.0"];

/// What is built, under its own name.
pub struct Product {
    pub name: &'static str,
    /// In which versions.
    versions: &'static [&'static str],
}

/// The node itself.
pub static EXUVIA: Product = Product { name: "exuvia", versions: &VERSIONS };
/// `examples/embedded.rs`.
pub static COUNTER: Product = Product { name: "counter", versions: &[VERSIONS[0], VERSIONS[1]] };

impl Product {
    /// The executable of that version.
    pub fn build(&self, version: &str) -> PathBuf {
        assert!(self.versions.contains(&version), "{} {version} is not built", self.name);
        built().join(version).join(self.name)
    }
}

/// The program that keeps asking while workers change.
pub fn load_generator() -> PathBuf {
    built().join("load-generator")
}

/// The program that has a tracer stop at changes alone.
pub fn only_changes() -> PathBuf {
    built().join("only-changes")
}

/// The executable of `exuvia` in that version.
pub fn exuvia(version: &str) -> PathBuf {
    EXUVIA.build(version)
}

/// A release of that version with that fault (see `bad_node.rs`), written to `path`.
pub fn bad_node(version: &str, fault: &str, path: &Path) {
    fs::copy(built().join("bad-node"), path).unwrap();
    let mut file = File::options().append(true).open(path).unwrap();
    writeln!(file, "\nbad-node {version} {fault}").unwrap();
}

/// The package's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of all builds. Built once for all test processes, and again when a source changes.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let own = std::env::current_exe().unwrap();
        // <target>/<profile>/deps/<this test>
        let (profile, target) = (own.ancestors().nth(2).unwrap(), own.ancestors().nth(3).unwrap());
        let out = target.join("e2e").join(profile.file_name().unwrap());
        fs::create_dir_all(&out).unwrap();
        let lock = File::create(out.join("lock")).unwrap();
        lock.lock().unwrap();
        let (stamp, now) = (out.join("stamp"), stamp_of_sources());
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&now) {
            fs::remove_file(&stamp).ok();
            for version in VERSIONS {
                // Always both: an example's dependencies make another build of the library.
                build(target, profile, &["--bin", "exuvia", "--example", "embedded"], version);
                install(&profile.join("exuvia"), &out.join(version).join("exuvia"));
                install(&profile.join("examples/embedded"), &out.join(version).join("counter"));
            }
            // Ends with the package's own version: other tests run the program where it was built.
            let examples = ["bad-node", "load-generator", "only-changes"];
            let what = [&["--bin", "exuvia"][..], &examples.map(|name| ["--example", name]).concat()].concat();
            build(target, profile, &what, env!("CARGO_PKG_VERSION"));
            for example in examples {
                install(&profile.join("examples").join(example), &out.join(example));
            }
            fs::write(&stamp, now).unwrap();
        }
        out
    })
}

fn build(target: &Path, profile: &Path, what: &[&str], version: &str) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo tells this test about its own package would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if name == "OUT_DIR" || ours.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(&*name);
        }
    }
    cargo.current_dir(root()).args(["build", "--quiet"]).args(what).arg("--target-dir").arg(target);
    match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") => {}
        Some(name) => drop(cargo.args(["--profile", name])),
        None => {}
    }
    cargo.env("EXUVIA_KEYS_DIR", "tests/keys/release").env("EXUVIA_VERSION", version);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{what:?} {version}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A copy, and not a link: the next version is built over the original.
fn install(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let new = to.with_extension("new");
    fs::copy(from, &new).unwrap();
    fs::rename(new, to).unwrap();
}

fn stamp_of_sources() -> String {
    let mut state = Sha256::new();
    let inputs = [
        "src",
        "build.rs",
        "Cargo.toml",
        "Cargo.lock",
        "tests/keys",
        "tests/e2e/bad_node.rs",
        "examples",
        "tests/support/load_generator.rs",
        "tests/crash/only_changes.rs",
        "tests/crash/lab/table.rs",
    ];
    for input in inputs {
        add(&root().join(input), &mut state);
    }
    hex::encode(state.finalize())
}

fn add(path: &Path, state: &mut Sha256) {
    let meta = fs::metadata(path).unwrap();
    if meta.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            add(&entry, state);
        }
    } else {
        let changed = meta.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        state.update(format!("{} {} {changed}\n", path.display(), meta.len()));
    }
}
