//! Patches between consecutive releases, beside whole archives and beside other tools.
//!
//! `scripts/bench-deltas [--check]`: sizes, the time to make and to apply, and the memory of applying, of a process of
//! its own above an idle one. What another tool makes of the same two tars is measured in the same run, where that
//! tool is installed.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads and writes files of its own")]

#[path = "../cache_hit/report.rs"]
mod report;
mod tools;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use exuvia::archive::{Limits, Tar, UntrustedArchive, tar_limit};
use exuvia::crypto::{Context, Keyring, Release, SecretKey};
use exuvia::delta::{UntrustedPatch, make};
use exuvia::sys::Dir;
use exuvia::types::{Packing, ReleaseId, Target};
use report::{Goal, Report};

/// Applications of one patch; the median counts.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [child, folder] = &arguments[..]
        && child == "--child"
    {
        self::child(Path::new(folder));
        return ExitCode::SUCCESS;
    }
    let (check, pairs): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| *argument == "--check");
    if pairs.is_empty() || pairs.len() % 3 != 0 {
        eprintln!("delta: give NAME OLD NEW for each pair of binaries, and --check where goals must hold");
        return ExitCode::from(2);
    }
    let mut report = Report::default();
    for pair in pairs.chunks_exact(3) {
        eprintln!("delta: {}", pair[0]);
        measure(pair[0], Path::new(pair[1]), Path::new(pair[2]), &mut report);
    }
    print!("{}", report.table());
    report.write(Path::new("target/bench-deltas.json"));
    if check.is_empty() || report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn id() -> ReleaseId {
    let (product, version) = ("pair".parse().expect("a name"), "1.0.0".parse().expect("a version"));
    ReleaseId { product, version, target: Target::of_this_build() }
}

fn tar(binary: &Path) -> Vec<u8> {
    let bytes = fs::read(binary).unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "pair", bytes.as_slice()).expect("memory takes all");
    tar.into_inner().expect("memory takes all")
}

#[allow(clippy::cast_precision_loss, reason = "lengths of files")]
fn measure(name: &str, old: &Path, new: &Path, report: &mut Report) {
    let (old, new) = (tar(old), tar(new));
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("room");
    write("old", &old);
    write("new", &new);
    let name = |part: &str| format!("delta.{name}.{part}");
    let mib = |bytes: usize| bytes as f64 / 1e6;
    let (gz, zst) = (tools::gz(&new), tools::zst(&new));
    report.add(name("tar"), mib(new.len()), "MB", Goal::None);
    report.add(name("full_gz"), mib(gz), "MB", Goal::None);
    report.add(name("full_zst"), mib(zst), "MB", Goal::None);

    let start = Instant::now();
    let patch = make(&old, &new, 19).expect("both can be patched");
    report.add(name("patch"), mib(patch.len()), "MB", Goal::None);
    report.add(name("make"), start.elapsed().as_secs_f64(), "s", Goal::None);
    report.add(name("patch_of_full_zst"), patch.len() as f64 / zst as f64, "x", Goal::AtMost(0.40));
    report.add(name("patch_of_full_gz"), patch.len() as f64 / gz as f64, "x", Goal::AtMost(0.30));

    let key = SecretKey::<Release>::generate().expect("randomness");
    write("key", key.public().to_pem().as_bytes());
    write("patch", &patch);
    let base = Tar::of_private_file(fs::File::open(folder.path().join("old")).expect("written")).expect("readable");
    let sign = |context: &Context<Release>, bytes: &[u8]| key.sign(context, &mut &*bytes).expect("memory can be read");
    write("patch.sig", sign(&Context::patch(&id(), base.digest()), &patch).as_bytes());
    write("new.sig", sign(&Context::tar(&id()), &new).as_bytes());

    let mut rounds: Vec<_> = (0..ROUNDS).map(|_| apply(folder.path())).collect();
    rounds.sort();
    let (applying, verifying) = rounds[ROUNDS / 2];
    report.add(name("apply"), applying.as_secs_f64(), "s", Goal::None);
    report.add(name("apply_speed"), mib(new.len()) / applying.as_secs_f64(), "MB/s", Goal::AtLeast(150.0));
    report.add(name("verify_patch_and_result"), verifying.as_secs_f64(), "s", Goal::None);
    let peak = (peak(folder.path()) - peak(Path::new("idle"))).max(0.0);
    report.add(name("apply_memory_above_idle"), peak, "MiB", Goal::None);
    report.add(name("apply_memory_of_tar"), peak * 1_048_576.0 / new.len() as f64, "x", Goal::AtMost(1.2));

    for tool in tools::installed() {
        if let Some(made) = tool.measure(folder.path(), &new) {
            report.add(name(&format!("{}.patch", tool.name)), mib(made.length), "MB", Goal::None);
            report.add(name(&format!("{}.make", tool.name)), made.making.as_secs_f64(), "s", Goal::None);
            report.add(name(&format!("{}.apply", tool.name)), made.applying.as_secs_f64(), "s", Goal::None);
            report.add(
                name(&format!("ours_of_{}", tool.name)),
                patch.len() as f64 / made.length as f64,
                "x",
                Goal::None,
            );
        }
    }
}

/// As a node does it: how long applying took, and verifying the patch and what comes out.
fn apply(folder: &Path) -> (Duration, Duration) {
    let open = |name: &str| fs::File::open(folder.join(name)).expect("written before");
    let signature = |name: &str| {
        exuvia::crypto::Signature::from_bytes(&fs::read(folder.join(name)).expect("written before"))
            .expect("one of ours")
    };
    let pem = fs::read_to_string(folder.join("key")).expect("written before");
    let keys = Keyring::<Release>::from_pems([pem.as_str()]).expect("one of ours");
    let staging = Dir::open(folder).expect("a folder");
    let base = Tar::of_private_file(open("old")).expect("it can be read");
    let start = Instant::now();
    let patch = UntrustedPatch::from_private_file(open("patch")).expect("it can be read");
    let patch = patch.verify(&id(), base.digest(), &signature("patch.sig"), &keys).expect("it is signed");
    let verified = start.elapsed();
    let start = Instant::now();
    let made = patch.apply(&base, &staging, tar_limit(&Limits::default())).expect("it fits");
    let applying = start.elapsed();
    let start = Instant::now();
    let made = UntrustedArchive::from_private_file(made, Packing::Tar).expect("it can be read");
    made.verify(&id(), &signature("new.sig"), &keys).expect("it is what was signed");
    (applying, verified + start.elapsed())
}

/// Applies in a process of its own, and returns the most memory that it ever held, in MiB.
fn peak(folder: &Path) -> f64 {
    let this = std::env::current_exe().expect("a running program has a path");
    let output = Command::new(this).arg("--child").arg(folder).output().expect("it runs again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kib: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a child prints a number");
    kib / 1024.0
}

fn child(folder: &Path) {
    if folder != Path::new("idle") {
        apply(folder);
    }
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux counts it");
    println!("{}", peak.trim().trim_end_matches(" kB"));
}
