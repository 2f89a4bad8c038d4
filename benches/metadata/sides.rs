use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use exuvia::sys::Dir;
use exuvia::tuf::{Rules, Store, Updater};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::remote::{Patience, Remote};
use crate::repository::Published;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Python,
}

/// What one update cost.
pub(crate) struct Measured {
    pub(crate) requests: f64,
    pub(crate) bytes: f64,
    pub(crate) seconds: f64,
    /// The same with files that lie in memory, where a flush costs nothing.
    pub(crate) seconds_without_disk: f64,
    /// Of a processor, in seconds: what other processes on the machine do changes little about it.
    pub(crate) cpu: f64,
    /// MiB, of the whole process.
    pub(crate) peak: f64,
}

/// The interpreter that scripts/setup-python makes.
pub(crate) fn python() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    std::env::var_os("EXUVIA_PYTHON").map_or(default, PathBuf::from)
}

fn program(side: Side) -> Command {
    match side {
        Side::Ours => {
            let mut command = Command::new(std::env::current_exe().expect("a running program has a path"));
            command.arg("--child");
            command
        }
        Side::Python => {
            let mut command = Command::new(python());
            command.args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/benches/metadata/client.py")]);
            command
        }
    }
}

/// Seconds, seconds of a processor, and the most memory of that process, in MiB.
fn run(mut command: Command) -> [f64; 3] {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace().map(|word| word.parse::<f64>().expect("numbers"));
    let [seconds, cpu, kib] = [(); 3].map(|()| words.next().expect("three of them"));
    [seconds, cpu, kib / 1024.0]
}

/// The memory of a process that has loaded everything and does nothing.
pub(crate) fn idle(side: Side) -> f64 {
    run(program(side))[2]
}

pub(crate) fn update(published: &Published, side: Side, warm: bool) -> Measured {
    let on_disk = update_in(&std::env::temp_dir(), published, side, warm);
    let in_memory = Path::new("/dev/shm");
    let seconds_without_disk =
        if in_memory.is_dir() { update_in(in_memory, published, side, warm).seconds } else { f64::NAN };
    Measured { seconds_without_disk, ..on_disk }
}

fn update_in(place: &Path, published: &Published, side: Side, warm: bool) -> Measured {
    let dir = tempfile::tempdir_in(place).expect("a temporary folder");
    let root = dir.path().join("first.json");
    std::fs::write(&root, &published.root).expect("it can be written");
    let folder = dir.path().join("metadata");
    std::fs::create_dir(&folder).expect("it is new");
    let once = || {
        let mut command = program(side);
        command.arg(&folder).arg(published.server.url("/")).arg(&root).args(&published.target);
        run(command)
    };
    if warm {
        let _ = once();
    }
    let before = published.server.requests().len();
    let [seconds, cpu, peak] = once();
    let requests = published.server.requests().split_off(before);
    let length = |path: &str| std::fs::metadata(published.dir.path().join(path.trim_start_matches('/')));
    let bytes: u64 = requests.iter().filter_map(|it| length(&it.path).ok()).map(|file| file.len()).sum();
    Measured { requests: requests.len() as f64, bytes: bytes as f64, seconds, seconds_without_disk: seconds, cpu, peak }
}

/// Our side, in its own process.
pub(crate) fn child(arguments: &[String]) {
    let (seconds, cpu) = match arguments {
        [folder, url, root, target @ ..] => refresh(Path::new(folder), url, Path::new(root), target.first()),
        _ => (0.0, 0.0),
    };
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux counts it");
    println!("{seconds} {cpu} {}", peak.trim().trim_end_matches(" kB"));
}

fn refresh(folder: &Path, url: &str, root: &Path, target: Option<&String>) -> (f64, f64) {
    let root = std::fs::read(root).expect("it was written before");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cpu = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("time does not run backwards");
    let (began, before) = (Instant::now(), cpu());
    let store = Store::open(&Dir::open(folder).expect("it is there")).expect("it is ours").expect("nobody else");
    let remote = Remote::new(url, None, Patience::default()).expect("a client");
    let mut updater = Updater::new(remote, store, root, Rules::own());
    runtime.block_on(async {
        let mut refreshed = updater.refresh(Timestamp::now()).await.expect("it is a good repository");
        if let Some(target) = target {
            assert!(refreshed.find(target).await.expect("its bin is there").is_some());
        }
    });
    (began.elapsed().as_secs_f64(), cpu().saturating_sub(before).as_secs_f64())
}
