//! What a number was measured on.

use std::fs;

/// One line: cores, model, kernel, and how busy it was.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "on {cores} cores ({model}), Linux {}, load average at the end {load}",
        read("/proc/sys/kernel/osrelease").trim()
    )
}
