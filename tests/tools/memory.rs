use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::{TARGET, test_key};

/// Runs a program to its end and returns the most memory that it ever held, in KiB, as the kernel
/// counts it (`VmHWM`). Libraries and the program's own pages are included.
fn peak(program: &str, args: &[&str], dir: &Path) -> u64 {
    let mut child = Command::new(program).args(args).current_dir(dir).stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Ok(text) = fs::read_to_string(&status)
            && let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))
        {
            peak = line.trim().trim_end_matches(" kB").parse().unwrap();
        }
        if let Some(code) = child.try_wait().unwrap() {
            assert!(code.success());
            assert!(peak > 0, "the program ended before it was looked at");
            return peak;
        }
        sleep(Duration::from_millis(5));
    }
}

fn sparse(path: &Path, length: u64) {
    File::create(path).unwrap().set_len(length).unwrap();
}

#[test]
fn a_gibibyte_is_signed_and_verified_in_16_mebibytes() {
    let dir = tempfile::tempdir().unwrap();
    sparse(&dir.path().join("f"), 1 << 30);
    let (key, public) = (test_key("a.key"), test_key("release/a.pem"));
    let id = ["--product", "exuvia", "--version", "1.0.0", "--target", TARGET, "f"];
    for args in [["sign", "--key", &key], ["verify", "--key", &public]] {
        let peak = peak(env!("CARGO_BIN_EXE_exuvia-keygen"), &[&args[..], &id].concat(), dir.path());
        assert!(peak <= 16 * 1024, "{} took {peak} KiB", args[0]);
    }
}

#[test]
fn packing_takes_the_same_memory_for_a_small_and_a_large_binary() {
    let dir = tempfile::tempdir().unwrap();
    let key = test_key("a.key");
    let pack = |version: &str, length: u64| {
        // One random-looking block in sixteen: a plausible program to an extractor, and quick to pack.
        let mut state = 1u64;
        let mut file = std::io::BufWriter::new(File::create(dir.path().join("binary")).unwrap());
        for n in 0..length / 512 {
            let mut block = [0; 512];
            if n % 16 == 0 {
                for bytes in block.chunks_mut(8) {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    bytes.copy_from_slice(&state.rotate_left(29).to_le_bytes());
                }
            }
            file.write_all(&block).unwrap();
        }
        file.into_inner().unwrap();
        let args = ["pack", "--binary", "binary", "--product", "exuvia", "--version", version, "--target", TARGET];
        let args = [&args[..], &["--key", &key, "--out", "site", "--level", "3", "--patches", "0"]].concat();
        peak(env!("CARGO_BIN_EXE_exuvia-release"), &args, dir.path())
    };
    let (small, large) = (pack("1.0.0", 32 << 20), pack("1.0.1", 256 << 20));
    assert!(large <= small + 2 * 1024, "{small} KiB for 32 MiB, {large} KiB for 256 MiB");
}
