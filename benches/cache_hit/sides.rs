use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::ops::Add;
use std::time::{Duration, Instant};

use exuvia::archive::{StagedBinary, VerifiedArchive};
use exuvia::cache::Lookup;
use exuvia::types::ArchiveFormat;
use rustix::time::{ClockId, clock_gettime};
use shake::{ExtendableOutput, Update, XofReader};

use crate::fixture::{self, Release, Site};
use crate::incumbent;

/// What one side cost.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Add for Spent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

/// All sides, measured one after the other.
pub(crate) struct Round {
    pub(crate) copy_verify: Spent,
    pub(crate) shake: Spent,
    pub(crate) extract: Spent,
    pub(crate) decoder: Spent,
    pub(crate) incumbent: Spent,
    /// How many processors other processes kept busy meanwhile, on average.
    pub(crate) others: f64,
}

pub(crate) fn round(site: &Site, release: &Release, gz: &Release, round: usize) -> Round {
    let ((sides, spent), busy) = {
        let before = busy_everywhere();
        (timed(|| sides(site, release, gz, round)), busy_everywhere().saturating_sub(before))
    };
    Round { others: busy.saturating_sub(spent.cpu).as_secs_f64() / spent.wall.as_secs_f64(), ..sides }
}

fn sides(site: &Site, release: &Release, gz: &Release, round: usize) -> Round {
    let floors = || {
        let bytes = fs::read(&release.archive).expect("packed before");
        (timed(|| shake(&bytes)).1, timed(|| decode(release)).1)
    };
    let hit = || {
        let (archive, copy_verify) = timed(|| copy_verify(site, release.version()));
        let (_staged, extract) = timed(|| extract(site, &archive));
        (copy_verify, extract)
    };
    // Every other round the other way round, so that neither side always runs on a warmer machine.
    let ((copy_verify, extract), (shake, decoder)) = if round.is_multiple_of(2) {
        (hit(), floors())
    } else {
        let floors = floors();
        (hit(), floors)
    };
    let incumbent = timed(|| incumbent::hit(site, gz.version())).1;
    Round { copy_verify, shake, extract, decoder, incumbent, others: 0.0 }
}

/// Processor time that the whole machine has spent since its start.
fn busy_everywhere() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("/proc is mounted");
    let all = stat.lines().next().expect("the first line sums all processors");
    let ticks: Vec<u64> = all.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    // user, nice, system, (idle, iowait), irq, softirq, steal; a hundred ticks to the second.
    Duration::from_millis(10 * [0, 1, 2, 5, 6, 7].iter().filter_map(|place| ticks.get(*place)).sum::<u64>())
}

fn timed<T>(side: impl FnOnce() -> T) -> (T, Spent) {
    let cpu = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("time does not run backwards");
    let (wall, before) = (Instant::now(), cpu());
    let outcome = side();
    (outcome, Spent { wall: wall.elapsed(), cpu: cpu().saturating_sub(before) })
}

/// The first half of a hit: look up, copy, verify.
pub(crate) fn copy_verify(site: &Site, version: &str) -> VerifiedArchive {
    match site.cache.lookup(&fixture::id(version), &site.keyring, &site.staging, &site.limits) {
        Ok(Lookup::Hit(archive)) => archive,
        other => panic!("not a hit: {other:?}"),
    }
}

/// The second half.
pub(crate) fn extract(site: &Site, archive: &VerifiedArchive) -> StagedBinary {
    archive.extract(&site.staging, &site.limits, &mut |_| {}).expect("it is a good archive")
}

/// The floor of verification: SHAKE256 over bytes that are in memory already.
fn shake(bytes: &[u8]) {
    let mut state = shake::Shake256::default();
    bytes.chunks(64 << 10).for_each(|piece| state.update(piece));
    let mut digest = [0; 64];
    state.finalize_xof().read(&mut digest);
    std::hint::black_box(digest);
}

/// The floor of extraction: the same library's decoder, into one buffer.
fn decode(release: &Release) {
    let file = BufReader::with_capacity(128 << 10, File::open(&release.archive).expect("packed before"));
    match release.format {
        ArchiveFormat::TarGz => drain(flate2::bufread::GzDecoder::new(file)),
        ArchiveFormat::TarZst => drain(zstd::Decoder::with_buffer(file).expect("memory")),
    }
}

fn drain(mut decoder: impl Read) {
    let mut piece = vec![0; 128 << 10];
    while decoder.read(&mut piece).expect("it is a good archive") > 0 {}
}
