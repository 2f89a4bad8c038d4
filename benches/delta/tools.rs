//! What others make of the same two tars: whole archives, and patches of the tools that are installed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use zstd::stream::raw::CParameter;

/// Length of the archive as gzip -9.
pub(crate) fn gz(tar: &[u8]) -> usize {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(tar).and_then(|()| encoder.finish()).expect("memory takes all").len()
}

/// Length of the archive as it is published: level 19, a window of 2 MiB.
pub(crate) fn zst(tar: &[u8]) -> usize {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 19).expect("a level");
    encoder.set_parameter(CParameter::WindowLog(21)).expect("a window");
    encoder.write_all(tar).and_then(|()| encoder.finish()).expect("memory takes all").len()
}

/// Another tool: its command lines, in a folder with `old`, `new` and the `patch` and `made` of its name.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    program: &'static str,
    make: &'static [&'static str],
    apply: (&'static str, &'static [&'static str]),
}

pub(crate) struct Made {
    pub(crate) length: usize,
    pub(crate) making: Duration,
    pub(crate) applying: Duration,
}

const TOOLS: [Tool; 3] = [
    Tool {
        name: "zstd_patch_from",
        program: "zstd",
        make: &["-q", "-f", "-19", "--long=27", "--patch-from", "old", "new", "-o", "other.patch"],
        apply: ("zstd", &["-q", "-f", "-d", "--long=27", "--patch-from", "old", "other.patch", "-o", "other.made"]),
    },
    Tool {
        name: "bsdiff",
        program: "bsdiff",
        make: &["old", "new", "other.patch"],
        apply: ("bspatch", &["old", "other.made", "other.patch"]),
    },
    Tool {
        name: "xdelta3",
        program: "xdelta3",
        make: &["-f", "-e", "-9", "-S", "djw", "-B", "268435456", "-s", "old", "new", "other.patch"],
        apply: ("xdelta3", &["-f", "-d", "-B", "268435456", "-s", "old", "other.patch", "other.made"]),
    },
];

/// Those that are on this machine. The others are named, and left out.
pub(crate) fn installed() -> impl Iterator<Item = Tool> {
    TOOLS.into_iter().filter(|tool| {
        let there = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool.program).exists()));
        if !there {
            eprintln!("delta: {} is not installed, and left out", tool.program);
        }
        there
    })
}

impl Tool {
    /// Makes a patch and applies it; `None` where the tool fails.
    pub(crate) fn measure(&self, folder: &Path, new: &[u8]) -> Option<Made> {
        let making = run(folder, self.program, self.make)?;
        let applying = run(folder, self.apply.0, self.apply.1)?;
        assert!(fs::read(folder.join("other.made")).ok()? == new, "{} makes something else", self.name);
        let length = fs::read(folder.join("other.patch")).ok()?.len();
        Some(Made { length, making, applying })
    }
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Option<Duration> {
    let start = Instant::now();
    let status = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).status().ok()?;
    let took = start.elapsed();
    status.success().then_some(took)
}
