//! A browser without a window, for pages that people look at.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Set it, and tests that need a browser do nothing.
const WITHOUT: &str = "EXUVIA_TEST_WITHOUT_BROWSER";
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
/// Generous: a browser starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Browser(PathBuf);

impl Browser {
    /// `None` only where somebody said that there shall be none.
    pub(crate) fn find() -> Option<Self> {
        if std::env::var_os(WITHOUT).is_some() {
            eprintln!("skipped: {WITHOUT} is set");
            return None;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .flat_map(|folder| NAMES.map(|name| folder.join(name)))
            .find(|program| program.is_file());
        let program = program.unwrap_or_else(|| {
            panic!("there is no chromium: install it (Debian: apt-get install chromium), or set {WITHOUT}=1")
        });
        Some(Self(program))
    }

    /// The page as the browser has it after it loaded, as text.
    pub(crate) fn dom(&self, address: &str) -> String {
        self.run(&["--dump-dom".to_owned()], address)
    }

    /// Writes what a window of that size shows into a PNG file.
    pub(crate) fn screenshot(&self, address: &str, (width, height): (u32, u32), dark: bool, file: &Path) {
        let mut args = vec![format!("--screenshot={}", file.display()), format!("--window-size={width},{height}")];
        if dark {
            args.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        self.run(&args, address);
    }

    fn run(&self, args: &[String], address: &str) -> String {
        let profile = tempfile::tempdir().unwrap();
        let output = profile.path().join("output");
        let mut command = Command::new(&self.0);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(args)
            .arg(address)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&output).unwrap())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        loop {
            match child.try_wait().unwrap() {
                Some(status) => {
                    assert!(status.success(), "the browser ended with {status} at {address}");
                    return std::fs::read_to_string(output).unwrap();
                }
                None if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(50)),
                None => {
                    child.kill().ok();
                    child.wait().ok();
                    panic!("the browser did not finish with {address}");
                }
            }
        }
    }
}

/// Width and height of a PNG file, and how many different values its pixels' bytes take: of one colour
/// alone, hardly any.
pub(crate) fn measure(png: &Path) -> (u32, u32, usize) {
    use std::io::Read;
    let bytes = std::fs::read(png).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{} is no picture", png.display());
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut packed) = (8, Vec::new());
    while at + 8 <= bytes.len() {
        let length = usize::try_from(number(at)).unwrap();
        if &bytes[at + 4..at + 8] == b"IDAT" {
            packed.extend_from_slice(&bytes[at + 8..at + 8 + length]);
        }
        at += 12 + length;
    }
    let mut pixels = Vec::new();
    flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_end(&mut pixels).unwrap();
    let mut seen = [false; 256];
    for byte in pixels {
        seen[usize::from(byte)] = true;
    }
    (number(16), number(20), seen.iter().filter(|seen| **seen).count())
}
